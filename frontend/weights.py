"""Weights of a TorchScript export as one external data file, each written once, straight from the tensors.

Above 2 GB torch would write one file per tensor. Instead the graph is exported without weights, which torch then lists as
inputs, and the parameters it would have written are taken from the last pass that returns them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import onnx
import torch

from modelexport.frontend.scopes import replaced
from modelexport.ir.errors import ExportError

ALIGNMENT = 4096  # so that a reader can map a tensor
_PASSES = ("_jit_pass_filter_non_tensor_arguments", "_jit_pass_onnx_deduplicate_initializers")


@contextmanager
def captured_parameters() -> Iterator[dict[str, torch.Tensor]]:
    """Fills the dictionary it gives with the parameters that torch is about to write, by value name."""
    found: dict[str, torch.Tensor] = {}

    def capture(original: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        found.clear()
        found.update(result)
        return result

    with ExitStack() as stack:
        for name in _PASSES:
            if hasattr(torch._C, name):
                stack.enter_context(replaced(torch._C, name, capture))
        yield found


def write_external(
    proto: onnx.ModelProto, parameters: dict[str, torch.Tensor], data_file: Path, *, keep_inputs: bool = False
) -> None:
    """Write the weights and turn the graph's inputs of their names into initializers that refer to the file.

    Raises:
        ExportError: a weight has a type that ONNX can't store.
    """
    inputs = list(proto.graph.input)
    with data_file.open("wb") as stream:
        for value in inputs:
            tensor = parameters.get(value.name)
            if tensor is None:
                continue
            entry = proto.graph.initializer.add()
            entry.name = value.name
            entry.data_type = value.type.tensor_type.elem_type
            entry.dims.extend(tensor.shape)
            content = _content(value.name, tensor)
            stream.write(b"\0" * (-stream.tell() % ALIGNMENT))
            offset = stream.tell()
            stream.write(content)
            entry.data_location = onnx.TensorProto.EXTERNAL
            for key, text in (("location", data_file.name), ("offset", offset), ("length", len(content))):
                entry.external_data.add(key=key, value=str(text))
    if not keep_inputs:
        del proto.graph.input[:]
        proto.graph.input.extend(value for value in inputs if value.name not in parameters)


def _content(name: str, tensor: torch.Tensor) -> memoryview:
    try:
        return memoryview(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    except (RuntimeError, TypeError) as error:
        raise ExportError(f"the weight {name} ({tensor.dtype}) can't be stored as external data: {error}") from error
