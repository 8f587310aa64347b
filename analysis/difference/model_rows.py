"""What differs of the models themselves: opsets, IR version, inputs, outputs, functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import onnx

from modelexport.analysis.difference.attributes import attribute_value
from modelexport.analysis.difference.dtypes import type_text
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
        text(value.name): type_text(value.type, shapes=shapes)
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
