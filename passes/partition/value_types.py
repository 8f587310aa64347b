"""Types and shapes of boundary values: from the file, else inferred, else from onnxruntime; never from a run.

A dynamic dimension keeps its name. Only an element type that nobody knows is an error; a shape may stay unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import onnx

from modelexport.ir.arrays import is_element_type
from modelexport.ir.errors import InputError
from modelexport.ir.io.overlay import assemble
from modelexport.ir.model import Model
from modelexport.ir.proto.inference import inferred_copy
from modelexport.ir.text import shown, text

_SMALL = 1024  # elements up to which inference may need an initializer's values: shapes, axes, repeats
_RUNTIME_TYPE = re.compile(r"(?P<kind>tensor|seq|optional)\((?P<inner>.*)\)")


class ValueTypes:
    """Descriptions of values of the main graph, looked up where they are cheapest first."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._source = assemble(model)
        graph = self._source.graph
        self._known: dict[str, onnx.ValueInfoProto] = {}
        for entry in (*graph.value_info, *graph.output, *graph.input):
            self._known[text(entry.name)] = entry
        for tensor in graph.initializer:
            described = onnx.helper.make_tensor_value_info(text(tensor.name), tensor.data_type, list(tensor.dims))
            self._known.setdefault(text(tensor.name), described)
        self._inferred = False

    def of(self, values: Sequence[str]) -> list[onnx.ValueInfoProto]:
        """A description of each value; one without shape where nobody knows it.

        Raises:
            InputError: the element type of a value is not known.
        """
        if any(not _is_whole(self._known.get(value)) for value in values):
            self._infer()
        lacking = [value for value in values if not _is_whole(self._known.get(value))]
        if lacking:
            self._ask_runtime(lacking)
        found: list[onnx.ValueInfoProto] = []
        for value in values:
            entry = self._known.get(value)
            if entry is None or not _has_type(entry):
                raise InputError(
                    f"{self._model.path or '<model>'}: the element type of value {shown(value)!r} is not known: "
                    "neither the file nor onnx's inference has it, nor onnxruntime where that is installed"
                )
            found.append(entry)
        return found

    def _learn(self, entries: Iterable[onnx.ValueInfoProto]) -> None:
        for entry in entries:
            name = text(entry.name)
            known = self._known.get(name)
            if known is None or (not _is_whole(known) and (_is_whole(entry) or not known.type.WhichOneof("value"))):
                self._known[name] = entry

    def _infer(self) -> None:
        if self._inferred:
            return
        self._inferred = True
        result, problem = inferred_copy(without_weights(self._source))
        if result is None:
            self._model.warnings.append(problem)
            return
        self._learn(result.graph.value_info)
        self._learn(result.graph.output)

    def _ask_runtime(self, values: Sequence[str]) -> None:
        """The types that onnxruntime finds when it loads the model with these values as further outputs."""
        from modelexport.passes.running.outputs import output_types

        made = [value for value in values if self._model.main.producer(value) is not None]
        for name, (kind, shape) in output_types(self._model, made).items():
            entry = _runtime_value(name, kind, shape)
            if entry is not None:
                self._learn([entry])


def _has_type(entry: onnx.ValueInfoProto) -> bool:
    """Whether the kind of a value is known, and of a tensor the element type, which is one of ONNX's."""
    if entry.type.HasField("tensor_type"):
        return is_element_type(entry.type.tensor_type.elem_type)
    return entry.type.WhichOneof("value") is not None


def _is_whole(entry: onnx.ValueInfoProto | None) -> bool:
    """Whether type and rank are known. Of sequences and optional values there is nothing more to know than the type."""
    if entry is None or not _has_type(entry):
        return False
    return not entry.type.HasField("tensor_type") or entry.type.tensor_type.HasField("shape")


def without_weights(source: onnx.ModelProto) -> onnx.ModelProto:
    """A model for shape inference: large initializers are inputs, so that their bytes are never copied."""
    light = onnx.ModelProto(ir_version=source.ir_version)
    light.opset_import.extend(source.opset_import)
    light.functions.extend(source.functions)
    graph = light.graph
    graph.name = source.graph.name or "graph"
    graph.node.extend(source.graph.node)
    graph.input.extend(source.graph.input)
    graph.output.extend(source.graph.output)
    graph.value_info.extend(source.graph.value_info)
    listed = {text(value.name) for value in source.graph.input}
    for tensor in source.graph.initializer:
        elements = 1
        for dim in tensor.dims:
            elements *= dim
        if elements <= _SMALL and tensor.data_location != onnx.TensorProto.EXTERNAL:
            graph.initializer.append(tensor)
        elif text(tensor.name) not in listed:
            name = text(tensor.name)
            graph.input.append(onnx.helper.make_tensor_value_info(name, tensor.data_type, list(tensor.dims)))
    return light


def _runtime_value(name: str, kind: str, shape: Sequence[int | str | None] | None) -> onnx.ValueInfoProto | None:
    found = _type_proto(kind, shape)
    return onnx.helper.make_value_info(name, found) if found is not None else None


def _type_proto(kind: str, shape: Sequence[int | str | None] | None) -> onnx.TypeProto | None:
    matched = _RUNTIME_TYPE.fullmatch(kind)
    if matched is None:
        return None
    inner = matched["inner"]
    if matched["kind"] == "tensor":
        number = onnx.TensorProto.DataType.DESCRIPTOR.values_by_name.get(inner.upper())
        if number is None:
            return None
        return onnx.helper.make_tensor_type_proto(number.number, list(shape) if shape is not None else None)
    element = _type_proto(inner, None)
    if element is None:
        return None
    if matched["kind"] == "seq":
        return onnx.helper.make_sequence_type_proto(element)
    return onnx.helper.make_optional_type_proto(element)
