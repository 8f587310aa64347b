"""What differs of the models themselves: opsets, IR version, inputs, outputs, functions; and how types are spelled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import onnx

from modelexport.analysis.difference.attributes import attribute_value
from modelexport.analysis.difference.dtypes import dtype_text
from modelexport.analysis.difference.result import ModelChange
from modelexport.ir.model import Model
from modelexport.ir.text import readable, text

Described = Mapping[str, onnx.ValueInfoProto]


def model_changes(a: Model, b: Model, *, shapes: bool = True) -> Iterator[ModelChange]:
    """Rows for what is neither a node's nor a weight's."""
    yield from _rows("opset", opsets(a), opsets(b))
    if a.proto.ir_version != b.proto.ir_version:
        yield ModelChange("ir_version", "", a.proto.ir_version, b.proto.ir_version)
    for what in ("input", "output"):
        yield from _rows(what, _boundary(a, what, shapes), _boundary(b, what, shapes))
    yield from _rows("function", _functions(a), _functions(b))


def opsets(model: Model) -> dict[str, int]:
    """Version by domain; the default domain is ``""``."""
    return {_domain(text(entry.domain)): entry.version for entry in model.proto.opset_import}


def _rows(what: str, a: Mapping[str, object], b: Mapping[str, object]) -> Iterator[ModelChange]:
    for key in dict.fromkeys((*a, *b)):
        if a.get(key) != b.get(key):
            yield ModelChange(what, key, a.get(key), b.get(key))


def _domain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def _boundary(model: Model, what: str, shapes: bool) -> dict[str, str]:
    weights = model.main.initializers_set
    values = getattr(model.proto.graph, what)
    return {
        text(value.name): type_text(value) if shapes else _element(value)
        for value in values
        if what == "output" or text(value.name) not in weights
    }


def _functions(model: Model) -> dict[str, str]:
    found: dict[str, str] = {}
    for function in model.proto.functions:
        overload = f":{text(function.overload)}" if text(function.overload) else ""
        found.setdefault(f"{text(function.domain)}::{text(function.name)}{overload}", _signature(function))
    return found


def _signature(function: onnx.FunctionProto) -> str:
    """What a function takes and gives, what its operators are defined by, and its attributes with their defaults."""
    inputs, outputs = len(function.input), len(function.output)
    versions = sorted((_domain(text(entry.domain)), entry.version) for entry in function.opset_import)
    defaults = {text(each.name): f" = {attribute_value(each)}" for each in function.attribute_proto}
    names = sorted({*map(text, function.attribute), *defaults})
    parts = [
        f"{inputs} input{'' if inputs == 1 else 's'}",
        f"{outputs} output{'' if outputs == 1 else 's'}",
        *(f"opset {domain} {version}".replace("  ", " ") for domain, version in versions),
        *(f"attribute {name}{defaults.get(name, '')}" for name in names),
    ]
    return readable(", ".join(parts))


def described(values: Iterable[onnx.ValueInfoProto]) -> dict[str, onnx.ValueInfoProto]:
    """Descriptions by value name."""
    return {text(value.name): value for value in values}


def type_text(value: onnx.ValueInfoProto) -> str:
    """``float32[2,batch]``; unknown dimensions are ``?``, and a tensor of unknown rank has no brackets."""
    dims = dimensions(value)
    return _element(value) + ("" if dims is None else f"[{','.join('?' if d is None else str(d) for d in dims)}]")


def dimensions(value: onnx.ValueInfoProto) -> list[int | str | None] | None:
    """Sizes, names and None; None as a whole where the rank is unknown or it is no tensor."""
    if not value.type.HasField("tensor_type") or not value.type.tensor_type.HasField("shape"):
        return None
    return [
        d.dim_value if d.HasField("dim_value") else text(d.dim_param) or None for d in value.type.tensor_type.shape.dim
    ]


def _element(value: onnx.ValueInfoProto) -> str:
    if value.type.HasField("tensor_type"):
        return dtype_text(value.type.tensor_type.elem_type)
    return str(value.type.WhichOneof("value") or "").removesuffix("_type")


def types_differ(a: onnx.ValueInfoProto, b: onnx.ValueInfoProto) -> bool:
    """Whether two descriptions of one value contradict each other. Names of dimensions are free, as value names are."""
    left, right = _element(a), _element(b)
    if not left or not right:
        return False
    if left != right:
        return True
    one, other = dimensions(a), dimensions(b)
    if one is None or other is None:
        return False
    if len(one) != len(other):
        return True
    return any(
        x is not None and y is not None and x != y and (isinstance(x, int) or isinstance(y, int))
        for x, y in zip(one, other, strict=True)
    )
