"""Which module computes which value, found by another way than the code under test.

An eager run with both of torch's modes gives every value an operator made, with the module whose call was running;
onnxruntime gives the value of every node. A node whose value was made by exactly one module is
decided. The others are not: shapes, constants, views that two modules made, steps of an operator that ONNX spells out.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

sys.path.insert(0, str(Path(__file__).parents[2] / "bench" / "accuracy"))
from truth import names_of_calls

del sys.path[0]

Values = list[tuple[str, np.ndarray]]


def eager_values(
    model: torch.nn.Module,
    example: Any,
    calls: set[str] | None = None,
    returned: list[tuple[str, str, np.ndarray]] | None = None,
) -> Values:
    """(module path, value) for every float tensor that an operator made.

    ``calls`` gets the paths that were called, ``returned`` path, class and value of what each call returned.
    """
    called = names_of_calls(model)
    stack: list[str] = [""]
    made: Values = []
    copying = False

    def note(result: Any) -> None:
        for tensor in () if copying else result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, torch.Tensor) and tensor.is_floating_point() and tensor.numel() > 3:
                made.append((stack[-1], tensor.detach().clone().numpy()))

    class Functions(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            with torch._C.DisableTorchFunction():
                note(result)
            return result

    class Kernels(TorchDispatchMode):
        inside = False

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            if not self.inside:
                self.inside = True
                note(result)
                self.inside = False
            return result

    original = torch.nn.Module.__call__

    def watched(self: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        nonlocal copying
        name = called(self, stack[-1])
        stack.append(stack[-1] if name is None else name)
        if calls is not None:
            calls.add(stack[-1])
        try:
            result = original(self, *args, **kwargs)
            copying = True
            for tensor in result if isinstance(result, (tuple, list)) else [result]:
                if returned is not None and isinstance(tensor, torch.Tensor):
                    returned.append((stack[-1], type(self).__name__, tensor.detach().clone().numpy()))
            copying = False
            return result
        finally:
            stack.pop()

    torch.nn.Module.__call__ = watched
    try:
        with torch.no_grad(), Functions(), Kernels():
            call(model, example)
    finally:
        torch.nn.Module.__call__ = original
    return made


def call(model: torch.nn.Module, example: Any) -> Any:
    if isinstance(example, Mapping):
        return model(**example)
    return model(*example) if isinstance(example, tuple) else model(example)


def feeds(session: onnxruntime.InferenceSession, example: Any) -> dict[str, np.ndarray]:
    names = [entry.name for entry in session.get_inputs()]
    if isinstance(example, Mapping):
        return {name: example[name].numpy() for name in names}
    tensors = example if isinstance(example, tuple) else (example,)
    return {name: tensor.numpy() for name, tensor in zip(names, tensors, strict=False)}


def node_values(path: Path, example: Any) -> dict[str, np.ndarray]:
    """Value of every node output of the main graph."""
    model = onnx.load(path)
    known = {output.name for output in model.graph.output}
    for node in model.graph.node:
        for name in node.output:
            if name and name not in known:
                model.graph.output.add(name=name)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    outputs = [entry.name for entry in session.get_outputs()]
    return dict(zip(outputs, session.run(outputs, feeds(session, example)), strict=True))


def makers(value: np.ndarray, values: Values) -> set[str]:
    """Paths of the modules that made ``value``, bit patterns aside."""
    return {
        path
        for path, other in values
        if other.shape == value.shape and other.dtype == value.dtype and np.allclose(other, value, 1e-4, 1e-5)
    }


def paths_in(path: Path) -> dict[str, tuple[str, str, list[str]]]:
    """Module path, operator and inputs by first output, of every node of the main graph."""
    found = {}
    for node in onnx.load(path).graph.node:
        entries = {entry.key: entry.value for entry in node.metadata_props}
        found[node.output[0]] = entries["htp.path"], node.op_type, list(node.input)
    return found


def entries_in(path: Path) -> dict[str, dict[str, str]]:
    """Metadata by first output, of every node of the main graph."""
    nodes = onnx.load(path).graph.node
    return {node.output[0]: {entry.key: entry.value for entry in node.metadata_props} for node in nodes}


class Wrong(NamedTuple):
    """A node that is not from the module that its tag names."""

    op_type: str
    output: str
    path: str
    truth: tuple[str, ...]  # empty where all that is known is that ``path`` was not called
    rule: str
    confidence: float


@dataclass
class Counts:
    """Nodes of one rule, of those that are decided; ``confidence`` is the sum over them."""

    decided: int = 0
    right: int = 0
    confidence: float = 0.0


@dataclass
class Comparison:
    """How many nodes of a file there are, values or calls decide, and are right; and which are wrong."""

    nodes: int = 0
    decided: int = 0
    wrong: list[Wrong] = field(default_factory=list)
    rules: dict[str, Counts] = field(default_factory=dict)

    @property
    def exact(self) -> int:
        return self.decided - len(self.wrong)


def compared(model: torch.nn.Module, example: Any, path: Path) -> Comparison:
    """Compare the tags in the file at ``path`` with the modules that made the values."""
    by_shape: dict[tuple[int, ...], Values] = {}
    by_size: dict[int, Values] = {}
    calls: set[str] = set()
    for maker, value in eager_values(model, example, calls):
        by_shape.setdefault(value.shape, []).append((maker, value))
        by_size.setdefault(value.size, []).append((maker, value.ravel()))
    norms = {
        name for name, module in model.named_modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)
    }
    values = node_values(path, example)
    said = entries_in(path)
    found = Comparison()
    for output, (tagged, op_type, inputs) in paths_in(path).items():
        found.nodes += 1
        if tagged not in calls:
            decide(found, op_type, output, said[output], ())
            continue
        value = values.get(output)
        if not isinstance(value, np.ndarray) or not np.issubdtype(value.dtype, np.floating) or value.size < 4:
            continue
        if any(other in values and np.array_equal(values[other], value) for other in inputs):
            continue  # passed on as it is
        made_by = makers(value, by_shape.get(value.shape, []))
        if len(made_by) == 1 and any(_same(values.get(other), value) for other in inputs):
            # A value that is passed on: whoever has it in another shape may have been who passed it.
            made_by |= makers(value.ravel(), by_size.get(value.size, []))
        if len(made_by) == 1 and op_type in ("Conv", "ConvTranspose", "Gemm") and made_by <= norms:
            made_by = {path for path in calls if f"{path}.weight" == inputs[1]}  # folded: it is that of the weight
        if len(made_by) == 1:
            decide(found, op_type, output, said[output], tuple(made_by))
    return found


def decide(found: Comparison, op_type: str, output: str, entries: Mapping[str, str], truth: tuple[str, ...]) -> None:
    """Count a node with the metadata ``entries`` that is from ``truth``."""
    tagged, rule, confidence = entries["htp.path"], entries["htp.rule"], float(entries["htp.confidence"])
    counts = found.rules.setdefault(rule, Counts())
    found.decided += 1
    counts.decided += 1
    counts.right += truth == (tagged,)
    counts.confidence += confidence
    if truth != (tagged,):
        found.wrong.append(Wrong(op_type, output, tagged, truth, rule, confidence))


def _same(value: np.ndarray | None, other: np.ndarray) -> bool:
    return isinstance(value, np.ndarray) and value.size == other.size and np.array_equal(value.ravel(), other.ravel())
