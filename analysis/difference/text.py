"""A difference as a table for people: the modules that differ, with ``+``, ``-`` and ``~``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_SIGNS = {"added": "+", "removed": "-", "changed": "~"}
_CUT = 60
Document = Mapping[str, Any]


def table(diff: Document) -> str:
    """The table of a document that ``diff.schema.json`` describes; ``no differences`` where there are none."""
    if diff["identical"]:
        return "no differences"
    lines = [
        f"~ {' '.join(filter(None, (row['what'], row['key'])))}: {_given(row['a'])} -> {_given(row['b'])}"
        for row in diff["model"]
    ]
    for module in diff["modules"]:
        lines += _module(module)
    return "\n".join([*lines, _summary(diff)])


def _module(module: Document) -> Iterator[str]:
    path, (old, new) = module["path"], module["class"]
    known = old is not None and new is not None and old != new
    name = f"{old} -> {new}" if known else (new or old or "")
    indent = "  " * (path.count(".") + bool(path))
    yield f"{indent}{_SIGNS[module['status']]} {path or '.'}" + (f"  {name}" if name else "")
    inner = f"{indent}    "
    nodes = module["nodes"]
    yield from (f"{inner}- {_node(node)}" for node in nodes["removed"])
    yield from (f"{inner}+ {_node(node)}" for node in nodes["added"])
    yield from (f"{inner}~ {_node(change['a'])}  {_change(change)}" for change in nodes["changed"])
    yield from (f"{inner}~ weight {weight['a']}  {_weight(weight)}" for weight in module["weights"])
    yield from (f"{inner}~ value {row['a']}  {row['type'][0]} -> {row['type'][1]}" for row in module["shapes"])


def _node(node: Document) -> str:
    return f"{node['op_type']} {node['name'] or node['key']}"


def _change(change: Document) -> str:
    said = [f"{name}: {_short(_given(a))} -> {_short(_given(b))}" for name, (a, b) in change["attributes"].items()]
    said += [f"input {row['slot']}: {row['a'] or 'none'} -> {row['b'] or 'none'}" for row in change["inputs"]]
    domains = [change[side]["domain"] or "ai.onnx" for side in ("a", "b")]
    if domains[0] != domains[1]:
        said.append(f"domain: {domains[0]} -> {domains[1]}")
    if change["version"] is not None:
        said.append(f"version: {change['version'][0]} -> {change['version'][1]}")
    return ", ".join(said)


def _weight(weight: Document) -> str:
    if weight["differing"] is None:
        return " -> ".join(f"{kind}{shape}" for kind, shape in zip(weight["dtype"], weight["shape"], strict=True))
    how = f"{weight['differing']} of {weight['elements']} elements"
    named = (("max", weight["max_abs"]), ("relative", weight["rel_l2"]))
    return ", ".join([how, *(f"{name} {value:.3g}" for name, value in named if value is not None)])


def _given(value: object) -> object:
    return "none" if value is None else value


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= _CUT else f"{text[: _CUT - 3]}..."


def _summary(diff: Document) -> str:
    counts = diff["summary"]
    parts = [f"{_many(counts['modules'][status], 'module')} {status}" for status in _SIGNS if counts["modules"][status]]
    if diff["model"]:
        parts.append(f"{_many(len(diff['model']), 'difference')} of the model")
    nodes = sum(number for what, number in counts["nodes"].items() if what != "same")
    return f"{', '.join(parts)}: {_many(nodes, 'node')}, {_many(counts['weights']['changed'], 'weight')}"


def _many(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
