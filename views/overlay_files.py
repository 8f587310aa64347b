"""The forms that overlay files have: our own, Model Explorer's node data, and reports of our commands as they are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from modelexport.ir.errors import InputError

AGGREGATES = ("sum", "max", "mean")


@dataclass(slots=True)
class Given:
    """One overlay as a document gives it.

    Attributes:
        values: by node name, key or made value, or by ``module:PATH`` where a module's whole number is given.
        graphs: by the graph that a document names, and node name or key in it.
        own: by module path, numbers of a module without those of the modules in it.
        places: module paths of names in ``values`` that need not be in the model: a runtime fuses nodes and adds some,
            and what these take is in the numbers of their modules.
        difference: the document of a diff, which is placed by what it says of nodes.
    """

    name: str
    unit: str = ""
    aggregate: str = "sum"
    values: dict[str, float] = field(default_factory=dict)
    graphs: dict[str, dict[str, float]] = field(default_factory=dict)
    own: dict[str, float] = field(default_factory=dict)
    difference: Mapping[str, Any] | None = None
    places: dict[str, str] = field(default_factory=dict)


def read_document(document: Any, label: str, stem: str) -> Iterator[Given]:
    """The overlays in a JSON document. Raises InputError where it is none of the known forms; a KeyError, TypeError or
    AttributeError where it is damaged."""
    if not isinstance(document, Mapping):
        raise InputError(f"{label}: not an overlay: a JSON object was expected")
    form = document.get("format")
    reports = {
        "modelexport-cost": _cost,
        "modelexport-profile": _profile,
        "modelexport-divergence": _divergence,
        "modelexport-diff": _difference,
    }
    if form in reports:
        yield from reports[str(form)](document)
    elif isinstance(document.get("values"), Mapping):
        yield _own(document, label, stem)
    elif results := dict(_results(document)):
        data = {graph: dict(_node_data(each, label)) for graph, each in results.items()}
        yield Given(stem, values=data.pop("", {}), graphs=data)
    else:
        said = f"format {form!r}" if form is not None else "neither values nor results"
        raise InputError(f"{label}: not an overlay: {said}")


def _own(document: Mapping[str, Any], label: str, stem: str) -> Given:
    aggregate = document.get("aggregate", "sum")
    if aggregate not in AGGREGATES:
        raise InputError(f"{label}: aggregate is {aggregate!r}: one of {', '.join(AGGREGATES)} was expected")
    values: dict[str, float] = {}
    for name, value in document["values"].items():
        if value is None:
            continue
        if not _is_number(value):
            raise InputError(f"{label}: the value of {name!r} is {value!r}, not a number")
        if not math.isnan(value):
            values[name] = value
    name, unit = document.get("name", stem), document.get("unit", "")
    return Given(str(name), str(unit or ""), aggregate, values)


def _results(document: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Model Explorer's node data: of one graph, which is called "" here, or of several by their ids."""
    for graph, each in [("", document)] if isinstance(document.get("results"), Mapping) else document.items():
        if isinstance(each, Mapping) and isinstance(each.get("results"), Mapping):
            yield graph, each["results"]


def _node_data(results: Mapping[str, Any], label: str) -> Iterator[tuple[str, float]]:
    for name, entry in results.items():
        value = entry.get("value") if isinstance(entry, Mapping) else entry
        if _is_number(value) and not math.isnan(value):
            yield name, value
        elif not isinstance(entry, (Mapping, str, type(None))):
            raise InputError(f"{label}: the value of {name!r} is {entry!r}, not a number")


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _cost(document: Mapping[str, Any]) -> Iterator[Given]:
    for what in ("macs", "parameters"):
        values = {f"module:{each['path']}": each["total"][what] for each in document["modules"]}
        values |= {each["node"]: each[what] for each in document.get("nodes") or () if each.get(what) is not None}
        yield Given(what, values={name: value for name, value in values.items() if _is_number(value)})


def _profile(document: Mapping[str, Any]) -> Iterator[Given]:
    values = {f"module:{each['path']}": each["total_us"] for each in document["modules"]}
    values |= {each["node"]: each["us"] for each in document["nodes"]}
    places = {each["node"]: str(each.get("path") or "") for each in document["nodes"]}
    yield Given("us", "us", values={name: value for name, value in values.items() if _is_number(value)}, places=places)


def _divergence(document: Mapping[str, Any]) -> Iterator[Given]:
    """Errors are a module's own: what is around it has the largest one inside. An infinite error is null there."""
    for what in ("introduced", "accumulated"):
        own = {}
        for each in document["modules"]:
            value = each[what]
            if value is None and _is_infinite(each, what):
                value = math.inf
            if _is_number(value):
                own[each["path"]] = value
        yield Given(what, aggregate="max", own=own)


def _is_infinite(module: Mapping[str, Any], what: str) -> bool:
    return module["status"] == "diverges" or (what == "accumulated" and module["status"] == "carries")


def _difference(document: Mapping[str, Any]) -> Iterator[Given]:
    yield Given("changed", difference=document)
