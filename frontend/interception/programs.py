"""Tagging an ONNXProgram in memory: its graph as a proto without weights, and metadata carried back to its nodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import onnx

SMALL = 1024  # bytes; smaller initializers stay where they are
_LOCATION = "weights"


@contextmanager
def without_weights(model: Any) -> Iterator[None]:
    """References stand meanwhile in the place of an onnx_ir model's larger initializers, and of those without values.

    The tensors themselves are not read, and put back.
    """
    import onnx_ir

    kept: list[tuple[Any, Any]] = []
    try:
        for name, value in model.graph.initializers.items():
            tensor = value.const_value
            if tensor is None or (tensor.nbytes <= SMALL and not _is_fake(tensor)):
                continue
            stand_in = onnx_ir.ExternalTensor(
                _LOCATION, 0, tensor.nbytes, tensor.dtype, shape=tensor.shape, name=name, base_dir=""
            )
            kept.append((value, tensor))
            value.const_value = stand_in
        yield
    finally:
        for value, tensor in kept:
            value.const_value = tensor


def carry_metadata(proto: onnx.ModelProto, model: Any) -> None:
    """Give the nodes of an onnx_ir model, and the model itself, the metadata and doc strings of its serialization.

    Raises:
        ValueError: ``proto`` is not of this model.
    """
    if len(proto.functions) != len(model.functions):
        raise ValueError("the functions of the program and of its serialization differ")
    pairs: list[tuple[Any, Any]] = [
        (proto.graph, model.graph),
        *zip(proto.functions, model.functions.values(), strict=True),
    ]
    while pairs:
        source, graph = pairs.pop()
        for node, target in zip(source.node, graph, strict=True):
            if node.op_type != target.op_type:
                raise ValueError(f"{node.name}: {node.op_type} is {target.op_type} in the program")
            _carry(node, target)
            for attribute in node.attribute:
                if attribute.type == onnx.AttributeProto.GRAPH and not attribute.ref_attr_name:
                    pairs.append((attribute.g, target.attributes[attribute.name].value))
                elif attribute.type == onnx.AttributeProto.GRAPHS and not attribute.ref_attr_name:
                    pairs += zip(attribute.graphs, target.attributes[attribute.name].value, strict=True)
    _carry(proto, model)


def remove_marks(program: Any) -> dict[str, str]:
    """Take the marks of ``FxMarks`` out of an ONNXProgram: module path by output."""
    import torch

    from modelexport.frontend.torch.fx_marks import KEY

    found: dict[str, str] = {}
    graphs: list[Any] = [program.model.graph, *program.model.functions.values()]
    for graph in graphs:
        for node in graph.all_nodes() if hasattr(graph, "all_nodes") else graph:
            path = node.metadata_props.pop(KEY, None)
            if path is not None:
                found.update((value.name, path) for value in node.outputs if value.name)
    exported = program.exported_program
    for module in exported.graph_module.modules() if exported is not None else ():
        if isinstance(module, torch.fx.GraphModule):
            for fx_node in module.graph.nodes:
                fx_node.meta.pop(KEY, None)
    return found


def _carry(source: onnx.NodeProto | onnx.ModelProto, target: Any) -> None:
    metadata: Mapping[str, str] = target.metadata_props
    changed = {entry.key: entry.value for entry in source.metadata_props if metadata.get(entry.key) != entry.value}
    target.metadata_props.update(changed)
    if source.doc_string != (target.doc_string or ""):
        target.doc_string = source.doc_string


def _is_fake(tensor: Any) -> bool:
    from torch._subclasses.fake_tensor import FakeTensor

    return isinstance(getattr(tensor, "raw", None), FakeTensor)
