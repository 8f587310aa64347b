"""Which module computes which value, found by another way than the code under test.

An eager run with global module hooks and both of torch's modes gives every value an operator made, with the module
that was running; onnxruntime gives the value of every node. A node whose value was made by exactly one module is
decided. The others are not: shapes, constants, views that two modules made, steps of an operator that ONNX spells out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

Values = list[tuple[str, np.ndarray]]


def eager_values(model: torch.nn.Module, example: Any) -> Values:
    """(module path, value) for every float tensor that an operator made."""
    names = {id(module): name for name, module in model.named_modules()}
    stack: list[str] = []
    made: Values = []

    def note(result: Any) -> None:
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, torch.Tensor) and tensor.is_floating_point() and tensor.numel() > 3:
                made.append((stack[-1] if stack else "", tensor.detach().clone().numpy()))

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

    def enter(module: torch.nn.Module, args: Any) -> None:
        stack.append(names.get(id(module), stack[-1] if stack else ""))

    def leave(module: torch.nn.Module, args: Any, result: Any) -> None:
        stack.pop()

    from torch.nn.modules import module as hooks

    handles = [hooks.register_module_forward_pre_hook(enter), hooks.register_module_forward_hook(leave)]
    try:
        with torch.no_grad(), Functions(), Kernels():
            call(model, example)
    finally:
        for handle in handles:
            handle.remove()
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


def paths_in(path: Path) -> dict[str, tuple[str, str]]:
    """Module path and operator by first output, of every node of the main graph."""
    found = {}
    for node in onnx.load(path).graph.node:
        entries = {entry.key: entry.value for entry in node.metadata_props}
        found[node.output[0]] = entries["htp.path"], node.op_type
    return found
