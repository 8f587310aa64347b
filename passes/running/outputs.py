"""Any value of a model as an output: what onnxruntime knows of its type, and what it is in a run."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from modelexport.ir.errors import InputError
from modelexport.ir.io.overlay import assemble
from modelexport.ir.model import Model
from modelexport.passes.running.named_copy import nodes_of
from modelexport.passes.running.session import (
    SessionSettings,
    element_type,
    has_onnxruntime,
    open_session,
    reason,
    run_errors,
)

Shape = list[int | str | None]
# Operators whose results may be no tensors, or leave a graph already.
_NO_LIST_NAMES = (
    "If Loop Scan Identity Constant Optional OptionalGetElement SplitToSequence SequenceConstruct SequenceInsert "
    "SequenceErase SequenceEmpty SequenceMap SequenceAt"
)
_NO_LIST = frozenset(_NO_LIST_NAMES.split())
_FIRST = "\N{SECTION SIGN}first"
_WIDE = "\N{SECTION SIGN}wide"  # follows the name of a value before it is rounded
_BITS = {"INT4": 4, "UINT4": 4, "INT2": 2, "UINT2": 2, "FLOAT4E2M1": 4}


def output_types(model: Model, values: Sequence[str]) -> dict[str, tuple[str, Shape | None]]:
    """Type and shape of values of the main graph as onnxruntime states them when it loads the model.

    Types read ``tensor(float)``; dimensions are sizes, names or None; a shape that it does not know is None, and so is
    one without dimensions, which it does not tell from that. Nothing is run. Empty where onnxruntime is not installed
    or can't load the model.
    """
    if not values or not has_onnxruntime():
        return {}
    try:
        session = open_session(_with_outputs(model, values), SessionSettings(), model.base_dir)
    except InputError:
        return {}
    return {output.name: (output.type, list(output.shape) or None) for output in session.get_outputs()}


def compute(
    model: Model, feeds: Mapping[str, Any], values: Sequence[str], what: str, rounded: Collection[str] = ()
) -> dict[str, Any]:
    """Values of the main graph in a run without optimisations, by name: OrtValues, arrays, lists of arrays or maps.

    Args:
        feeds: as ``session.as_ort_values`` makes them; what this returned can be fed to another model.
        what: what a message calls the model.
        rounded: values that later nodes read in their own type. onnxruntime computes float16 in float32 where it has no
            kernel, and rounds in between only where a value leaves the graph.

    Raises:
        InputError: onnxruntime can't load or run the model.
        MissingExtraError: onnxruntime is not installed.
    """
    wanted = [value for value in values if value not in feeds]
    proto = _with_outputs(model, wanted)
    if rounded:
        _round(proto.graph, rounded)
    session = open_session(proto, SessionSettings(), model.base_dir, what)
    names = {given.name for given in session.get_inputs()}
    given = {name: value for name, value in feeds.items() if name in names}
    try:
        found = _results(session, wanted, given)
    except run_errors() as error:
        raise InputError(f"{what}: the run failed: {reason(error)}") from error
    made = dict(zip(wanted, found, strict=True))
    return {value: made[value] if value in made else feeds[value] for value in values}


def rounded_values(model: Model) -> set[str]:
    """Values of the main graph to be rounded in ``compute``: all, where there are weights, values or casts of float16.

    onnxruntime computes bfloat16 in nothing else, and takes no lists of it.
    """
    graph = assemble(model).graph
    kinds = {tensor.data_type for tensor in graph.initializer}
    described = (*graph.input, *graph.output, *graph.value_info)
    kinds.update(entry.type.tensor_type.elem_type for entry in described)
    kinds.update(a.i for node in graph.node if node.op_type == "Cast" for a in node.attribute if a.name == "to")
    if onnx.TensorProto.FLOAT16 not in kinds:
        return set()
    made = [value for node in model.main.nodes for value in node.outputs if value]
    if onnx.TensorProto.BFLOAT16 not in kinds:
        return set(made)
    types = output_types(model, made)
    return {value for value in made if value in types and "bfloat16" not in types[value][0]}


def same_bits(left: Any, right: Any) -> bool:
    """Whether two values of ``compute`` have one type, one shape and the same bits."""
    if isinstance(left, list) or isinstance(right, list):
        both = isinstance(left, list) and isinstance(right, list) and len(left) == len(right)
        return both and all(same_bits(a, b) for a, b in zip(left, right, strict=True))
    return _content(left) == _content(right)


def _content(value: Any) -> tuple[Any, ...]:
    """Element type, shape and bytes, whether onnxruntime gave a tensor as an OrtValue or as an array."""
    if value is None:
        return ("none",)
    if isinstance(value, dict):
        return ("map", repr(value))
    if not hasattr(value, "data_ptr"):
        array = np.asarray(value)
        if array.dtype.kind in "OUS":
            return (onnx.TensorProto.STRING, array.shape, array.tolist())
        return (onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape, array.tobytes())
    if not value.has_value():
        return ("none",)
    kind = value.data_type()
    shape = tuple(value.shape())
    data = ctypes.string_at(value.data_ptr(), _size(kind, shape)) if math.prod(shape) else b""
    return (element_type(kind), shape, data)


def _size(kind: str, shape: Sequence[int]) -> int:
    number = element_type(kind)
    bits = _BITS.get(onnx.TensorProto.DataType.Name(number))
    if bits is None:
        bits = 8 * (onnx.helper.tensor_dtype_to_np_dtype(number).itemsize)
    return -(-math.prod(shape) * bits // 8)


def _round(graph: onnx.GraphProto, values: Collection[str]) -> None:
    """Put values through a list: nothing computes across one, and none is taken away without optimisations."""
    first = onnx.TensorProto(name=_FIRST, data_type=onnx.TensorProto.INT64, int64_data=[0])
    graph.initializer.append(first)
    nodes = list(graph.node)
    del graph.node[:]
    for node in nodes:
        lists = []
        for slot, value in enumerate(node.output):
            if value in values and node.op_type not in _NO_LIST:
                wide = node.output[slot] = f"{value}{_WIDE}"
                lists.append(onnx.helper.make_node("SequenceConstruct", [wide], [f"{wide}s"]))
                lists.append(onnx.helper.make_node("SequenceAt", [f"{wide}s", _FIRST], [value]))
        graph.node.append(node)
        graph.node.extend(lists)


def _results(session: Any, wanted: Sequence[str], feeds: Mapping[str, Any]) -> list[Any]:
    """Outputs in order. Only ``run`` gives out strings, lists and maps, and takes lists; it can't give out bfloat16."""
    kinds = {output.name: output.type for output in session.get_outputs()}
    told = {name for name, kind in kinds.items() if not kind.startswith("tensor(") or "string" in kind}
    if all(hasattr(value, "has_value") for value in feeds.values()):
        tensors = [name for name in wanted if name not in told]
        found = dict(zip(tensors, session.run_with_ort_values(tensors, feeds) if tensors else (), strict=True))
    else:
        told, found = set(wanted), {}
    others = [name for name in wanted if name in told]
    found.update(zip(others, session.run(others, dict(feeds)) if others else (), strict=True))
    return [found[name] for name in wanted]


def _with_outputs(model: Model, values: Sequence[str]) -> onnx.ModelProto:
    source = assemble(model)
    proto = onnx.ModelProto()
    proto.CopyFrom(source)
    taken: set[str] = set()
    for node in nodes_of(proto.graph):  # onnxruntime refuses two nodes of one name, and takes nodes without
        if node.name in taken:
            node.ClearField("name")
        taken.add(node.name)
    known = {output.name: output for output in proto.graph.output}
    outputs = [known.get(value) or onnx.ValueInfoProto(name=value) for value in values]
    kept = onnx.GraphProto(output=outputs)
    del proto.graph.output[:]
    proto.graph.output.extend(kept.output)
    return proto
