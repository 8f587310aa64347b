"""Models that fuzzed commands read, and running a command in this process so that a crash of it is raised."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from modelexport.cli import console, htp_opt, modelexport
from modelexport.ir.errors import ModelExportError, PassError

Arguments = tuple[str, ...]
INPUT = "\0input"  # stands for the file, or for the text itself
MODEL, TAGGED = "model.onnx", "tagged.onnx"


def small_model() -> onnx.ModelProto:
    """Two modules, a body, a weight, a parameter that is read by name."""
    number = onnx.TensorProto.FLOAT
    body = [
        helper.make_graph(
            [helper.make_node(op, ["h"], [f"{op}_out"], name=f"/body/{op}")],
            op,
            [],
            [helper.make_tensor_value_info(f"{op}_out", number, ["batch", 4])],
        )
        for op in ("Relu", "Neg")
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "encoder.weight"], ["h"], name="/encoder/MatMul"),
        helper.make_node("If", ["flag"], ["i"], name="/encoder/If", then_branch=body[0], else_branch=body[1]),
        helper.make_node("Add", ["i", "head.bias"], ["s"], name="/head/Add"),
        helper.make_node("Softmax", ["s"], ["y"], name="/head/Softmax", axis=-1),
    ]
    weights = [
        numpy_helper.from_array(np.ones((4, 4), np.float32), "encoder.weight"),
        numpy_helper.from_array(np.arange(4, dtype=np.float32), "head.bias"),
    ]
    inputs = [
        helper.make_tensor_value_info("x", number, ["batch", 4]),
        helper.make_tensor_value_info("flag", onnx.TensorProto.BOOL, []),
    ]
    outputs = [helper.make_tensor_value_info("y", number, ["batch", 4])]
    graph = helper.make_graph(nodes, "g", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def prepare(folder: Path) -> None:
    """The models that commands read beside what is fuzzed."""
    (folder / MODEL).write_bytes(small_model().SerializeToString())
    run(("htp-opt", str(folder / MODEL), "-o", str(folder / TAGGED), "--sidecar", "-q"))


class Crashed(AssertionError):
    """A command that ended in a way in which none may end."""


def run(arguments: Arguments) -> tuple[int, str, str]:
    """Status, stdout and stderr of a command, in this process. What would be status 3 is raised."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace", write_through=True) for _ in range(2))
    main = htp_opt.main if arguments[0] == "htp-opt" else modelexport.main
    with redirect_stdout(out), redirect_stderr(err), _crashes_raised():
        status = main(list(arguments[1:]))
    return status, *(stream.buffer.getvalue().decode("utf-8", "replace") for stream in (out, err))  # type: ignore[attr-defined]


@contextmanager
def _crashes_raised() -> Iterator[None]:
    before = console.report_error

    def report(error: Exception) -> int:
        if isinstance(error, PassError) and error.__cause__ is not None:
            raise error.__cause__
        if not isinstance(error, (ModelExportError, OSError, MemoryError)) or isinstance(error, PassError):
            raise error
        return before(error)

    console.report_error = report
    try:
        yield
    finally:
        console.report_error = before


def judge(arguments: Arguments) -> int:
    """Run a command. Raises Crashed, or what crashed it."""
    status, _, err = run(arguments)
    said = [line for line in err.splitlines() if line.startswith(("error:", "Error:"))]
    if status not in (0, 1, 2) or (status == 2 and len(said) != 1) or "Traceback" in err:
        raise Crashed(f"{arguments}: status {status}\n{err[:2000]}")
    return status
