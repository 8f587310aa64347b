"""What tool passes say and leave: nothing on stdout, nothing under -q, a reproducer that fails again."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import onnx
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from alone import TOOLS
from tool_models import calibration, exported

from modelexport.cli import checking
from modelexport.cli.htp_opt import main
from modelexport.ir.io.reader import from_proto
from modelexport.passes.pipeline.registry import Registry


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    calibration("stacked", tmp_path)
    (tmp_path / "m.onnx").write_bytes(exported("stacked", "torchscript"))
    return tmp_path


@pytest.mark.parametrize("tool", TOOLS)
def test_what_a_tool_writes_to_the_descriptors_is_no_output(
    tool: str, folder: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = Registry.default().find(tool.partition("{")[0])
    apply = kind.apply

    def talking(self: object, *arguments: object) -> object:
        os.write(1, b"from C++ to stdout\n")
        os.write(2, b"from C++ to stderr\n")
        sys.stdout.write("from Python\n")
        return apply(self, *arguments)

    monkeypatch.setattr(kind, "apply", talking)
    passes = f"htp,drop-value-info,{tool}"
    assert main(["m.onnx", "-o", "q.onnx", "--passes", passes, "-q"]) == 0
    assert capfdbinary.readouterr() == (b"", b"")
    assert main(["m.onnx", "-o", "q.onnx", "--passes", passes, "-v"]) == 0
    said = capfdbinary.readouterr()
    assert said.out == b"" and all(line in said.err for line in (b"C++ to stdout", b"C++ to stderr", b"from Python"))
    assert main(["m.onnx", "-o", "-", "--passes", passes, "-v"]) == 0
    assert capfdbinary.readouterr().out == (folder / "q.onnx").read_bytes()  # the model and nothing else
    assert main(["m.onnx", "-o", "-", "--passes", passes, "--emit", "json", "-v"]) == 0
    assert json.loads(capfdbinary.readouterr().out)["format"] == "modelexport-hierarchy"


def unknown_to_onnx(operator_inputs: list[str]) -> onnx.ModelProto:
    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2, 4]) for name in "xy")
    scale = onnx.helper.make_tensor("s", onnx.TensorProto.FLOAT, [4], [1.0] * 4)
    node = onnx.helper.make_node("SimplifiedLayerNormalization", operator_inputs, ["y"], axis=-1, name="n")
    graph = onnx.helper.make_graph([node], "g", [x], [y], [scale])
    return onnx.helper.make_model(graph, ir_version=10, opset_imports=[onnx.helper.make_opsetid("", 17)])


def test_a_file_that_only_onnxruntime_knows_is_opened_with_it() -> None:
    found = checking.check_model(from_proto(unknown_to_onnx(["x", "s"])))
    assert (found.problem, found.by) == ("", "onnxruntime")
    assert found.note == "onnx.checker does not know SimplifiedLayerNormalization: opened with onnxruntime instead"
    broken = checking.check_model(from_proto(unknown_to_onnx(["x", "nowhere"])))
    assert broken.by == "onnxruntime" and "nowhere" in broken.problem


def test_without_onnxruntime_it_is_a_note(
    monkeypatch: pytest.MonkeyPatch, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("modelexport.passes.running.session.has_onnxruntime", lambda: False)
    onnx.save(unknown_to_onnx(["x", "s"]), "s.onnx")
    assert main(["s.onnx", "-o", "q.onnx", "--passes", "htp", "--check"]) == 0
    assert "not checked (pip install 'modelexport[ort]'" in capfd.readouterr().err


@pytest.mark.posix
@pytest.mark.parametrize("elsewhere", [False, True])
def test_the_reproducer_of_a_tool_fails_again(elsewhere: bool, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The script works from any folder, with files that the pipeline named relative to the folder of the first run."""
    proto = onnx.load("m.onnx")
    proto.graph.node.append(onnx.helper.make_node("Unheard", [proto.graph.output[0].name], ["z"], name="/head/Unheard"))
    proto.graph.output[0].name = "z"
    onnx.save(proto, "b.onnx")
    (folder / "r").mkdir()
    passes = "htp,quantize-static{calibration=c.npz exclude=path:head}"
    assert main(["b.onnx", "-o", "q.onnx", "--passes", passes, "--reproducer", "r/r.onnx"]) == 3
    first = next(line for line in capfd.readouterr().err.splitlines() if line.startswith("error: "))
    assert first.startswith("error: the pass quantize-static: onnxruntime: ") and not (folder / "q.onnx").exists()
    tool = f"{shlex.quote(sys.executable)} -m modelexport.cli.htp_opt"
    (folder / "tool").write_text(f'#!/bin/sh\nexec {tool} "$@"\n')
    (folder / "tool").chmod(0o755)
    environment = {**os.environ, "HTP_OPT": str(folder / "tool")}
    where = folder / "r" if elsewhere else folder
    script = str(folder / "r" / "r.onnx.sh")
    done = subprocess.run(["sh", script], cwd=where, env=environment, capture_output=True, text=True)
    assert done.returncode == 3 and done.stdout == ""
    assert first.rpartition("Error ")[2] in done.stderr and first[:48] in done.stderr


_SLOW = """
import sys, time
from modelexport.passes.tools.ort_optimize import OrtOptimize
def apply(self, given, names):
    given.file()
    sys.__stderr__.flush()
    open("started", "w").close()
    time.sleep(60)
OrtOptimize.apply = apply
sys.argv = ["htp-opt", "m.onnx", "-o", "q.onnx", "--passes", "htp,ort-optimize"]
from modelexport.cli.htp_opt import main
sys.exit(main())
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_tool_that_is_stopped_leaves_nothing(number: int, code: int, folder: Path) -> None:
    before = sorted(path.name for path in folder.iterdir())
    child = subprocess.Popen([sys.executable, "-c", _SLOW], cwd=folder, stderr=subprocess.PIPE, text=True)
    try:
        end = time.monotonic() + 100
        while not (folder / "started").exists() and time.monotonic() < end:
            time.sleep(0.05)
        assert [path for path in folder.iterdir() if path.name.startswith(".modelexport.")]
        child.send_signal(number)
        _, said = child.communicate(timeout=50)
    finally:
        child.kill()
    assert child.returncode == code and "Traceback" not in said, said
    assert sorted(path.name for path in folder.iterdir()) == sorted([*before, "started"])
