"""From two models to what differs between them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Any, Literal, get_args

import onnx

from modelexport.analysis.difference.align import Alignment, align
from modelexport.analysis.difference.attributes import attribute_changes
from modelexport.analysis.difference.dtypes import dtype_text, type_text, types_differ
from modelexport.analysis.difference.model_rows import described, model_changes, opsets
from modelexport.analysis.difference.result import (
    ModelChange,
    ModelDiff,
    ModuleDiff,
    NodeChange,
    NodeRef,
    ShapeChange,
    WeightChange,
)
from modelexport.analysis.difference.results import Result, results, rewired
from modelexport.analysis.difference.sources import Constant, Side, SourceFile
from modelexport.analysis.difference.weights import compare
from modelexport.ir.errors import ConfigError
from modelexport.ir.identity.keys import node_keys
from modelexport.ir.limits import without_gc
from modelexport.ir.model import Model
from modelexport.ir.node import Node
from modelexport.ir.operators import definition
from modelexport.ir.scope import Scope
from modelexport.ir.text import readable, text
from modelexport.passes.pipeline.attributed import attributed
from modelexport.passes.selection import Selector

Ignore = Literal["attributes", "weights", "shapes", "connections"]
IGNORED: tuple[Ignore, ...] = get_args(Ignore)


def diff_models(
    a: Model | str | PathLike[str],
    b: Model | str | PathLike[str],
    *,
    select: Selector | str | None = None,
    rename: Mapping[str, str] | None = None,
    ignore: Collection[Ignore] | Ignore = (),
    atol: float = 0.0,
    rtol: float = 0.0,
) -> ModelDiff:
    """What differs between two models, by module; neither is changed.

    Names of nodes and values, the order of nodes, tags, doc strings and producers are no differences.

    Args:
        a, b: models or files; one without attributions is attributed in memory.
        select: only nodes that it, a selector or its text, selects on either side; weights and values count with the
            node that reads or makes them.
        rename: prefixes of paths in ``a`` and what they are called in ``b``.
        ignore: what does not count.
        atol, rtol: tolerance of weights: ``|x - y| <= atol + rtol * |y|``.

    Raises:
        InputError: a file, or the data of a weight that is compared, can't be read.
        SelectorError: the selector does not parse.
        ConfigError: the selector matches nothing in either model, a word of ``ignore`` is none of the four, or a
            tolerance is below zero.
    """
    if isinstance(select, str):
        select = Selector.parse(select)
    ignore = (ignore,) if isinstance(ignore, str) else ignore
    if unknown := [word for word in ignore if word not in IGNORED]:
        raise ConfigError(f"ignore: {unknown[0]!r} is none of {', '.join(IGNORED)}")
    if not (atol >= 0 and rtol >= 0):
        raise ConfigError(f"a tolerance is a number from 0, not {atol if not atol >= 0 else rtol}")
    with without_gc():
        files = _file(a), _file(b)  # before they are read
        sides = (Side(attributed(a), tuple((rename or {}).items()), files[0]), Side(attributed(b), (), files[1]))
        return _Report(sides, select, frozenset(ignore), atol, rtol).made()


def _file(source: Model | str | PathLike[str]) -> SourceFile | None:
    """The file of a model that nobody else holds, and that is therefore still what the file says."""
    return None if isinstance(source, Model) else SourceFile.of(Path(source))


class _Report:
    def __init__(
        self, sides: tuple[Side, Side], select: Selector | None, ignore: frozenset[str], atol: float, rtol: float
    ) -> None:
        self.a, self.b = sides
        self.ignore, self.atol, self.rtol = ignore, atol, rtol
        self.found: Alignment = align(*sides)
        self.given_out = list(results(*sides, self.found))
        self._rewired = rewired(self.given_out, self.found) if "connections" not in ignore else {}
        self.modules: dict[str, ModuleDiff] = {}
        self.same_nodes = self.same_weights = 0
        self._keys: dict[Node, str] = {}
        self._outputs = frozenset(self.a.model.main.outputs)
        self._opsets: dict[tuple[Scope, str], int] = {}
        self._chosen: set[Node] | None = None
        self._types: dict[Any, dict[str, onnx.ValueInfoProto]] = {}
        self._compared: set[tuple[Constant, Constant]] = set()
        if select is not None:
            tests = [(side, select.test(side.model)) for side in sides]
            self._chosen = {node for side, test in tests for node in side.model.nodes() if test(node)}
            if not self._chosen:
                raise ConfigError(f"--select {select}: no node of either model matches")

    def made(self) -> ModelDiff:
        self._nodes()
        of_results = self._results()
        paths = [_modules(self.a, self.b), _modules(self.b, self.a)]
        self._whole_modules(*paths)
        rows = [module for module in self._in_order(*paths) if module.differs]
        everything = dict.fromkeys((*paths[0], *paths[1]))
        counts = [sum(1 for _ in side.model.nodes()) for side in (self.a, self.b)]
        changes: list[ModelChange] = []
        if self._chosen is None:
            changes += model_changes(self.a.model, self.b.model, shapes="shapes" not in self.ignore)
            said = {(row.what, row.key) for row in changes}
            changes += [row for row in of_results if (row.what, row.key) not in said]
        return ModelDiff(
            (_label(self.a), _label(self.b)),
            (counts[0], counts[1]),
            (len(paths[0]), len(paths[1])),
            tuple(changes),
            tuple(rows),
            len(everything) - len(rows),
            self.same_nodes,
            self.same_weights,
        )

    def _nodes(self) -> None:
        for node in _computing(self.a):
            other = self.found.forward.get(node)
            if other is None:
                if self._wanted(node):
                    self._module(self.a.path(node)).removed.append(self._ref(self.a, node))
            elif self._wanted(node, other):
                self._pair(node, other)
        for node in _computing(self.b):
            if node not in self.found.backward and self._wanted(node):
                self._module(self.b.path(node)).added.append(self._ref(self.b, node))

    def _results(self) -> list[ModelChange]:
        """Constants that scopes give out with no node of their own. Those of bodies count for the node that owns them;
        what differs of the main graph's and of functions' results is returned."""
        rows: dict[tuple[str, str], ModelChange] = {}
        for result in self.given_out:
            owner, x, y = result.one.owner, result.x, result.y
            if isinstance(x, Constant) and isinstance(y, Constant):
                if owner is None:
                    self._constant_row(result, x, y, rows)
                elif self._wanted(owner, self.found.forward[owner]):
                    module = self._module(self.b.path(self.found.forward[owner]))
                    self._weight(module, owner, result.place, x, y)
            elif owner is None and "connections" not in self.ignore and result.differs(self.found):
                rows.setdefault(result.key, ModelChange(*result.key, *result.texts))
        return list(rows.values())

    def _constant_row(self, result: Result, x: Constant, y: Constant, rows: dict[tuple[str, str], ModelChange]) -> None:
        if "weights" in self.ignore or (x, y) in self._compared:
            return
        self._compared.add((x, y))
        found = compare(self.a, x, self.b, y, self.atol, self.rtol)
        if found is None:
            self.same_weights += 1
            return
        told, other = result.texts
        how = f", {found.differing} of {found.elements} elements differ" if found.differing is not None else ""
        rows.setdefault(result.key, ModelChange(*result.key, told, other + how))

    def _pair(self, one: Node, other: Node) -> None:
        module = self._module(self.b.path(other))
        alike = self.found.labels.get(one) == self.found.labels.get(other)
        attributes = {} if alike or "attributes" in self.ignore else attribute_changes(one, other)
        attributes |= self._rewired.get(one, {})
        inputs: list[tuple[int, str, str]] = []
        left, right = self.a.sources(one), self.b.sources(other)
        names = [(*one.inputs, *one.captures), (*other.inputs, *other.captures)]
        fixed = min(len(one.inputs), len(other.inputs)) if one.captures or other.captures else None
        for slot in range(max(len(left), len(right)) if fixed is None else fixed):
            x = left[slot] if slot < len(left) else None
            y = right[slot] if slot < len(right) else None
            if isinstance(x, Constant) and isinstance(y, Constant):
                self._weight(module, one, slot, x, y)
            elif "connections" not in self.ignore and self.found.same_source(x, y) is False:
                values = [readable(of[slot]) if slot < len(of) else "" for of in names]
                inputs.append((slot, values[0], values[1]))
        version = self._version(one, other)
        if attributes or inputs or version or not (alike or _domain(one) == _domain(other)):
            change = NodeChange(self._ref(self.a, one), self._ref(self.b, other), attributes, tuple(inputs), version)
            module.changed.append(change)
        else:
            module.same += 1
            self.same_nodes += 1
        if "shapes" not in self.ignore:
            self._shapes(module, one, other)

    def _weight(self, module: ModuleDiff, reader: Node, slot: int, x: Constant, y: Constant) -> None:
        if "weights" in self.ignore or (x, y) in self._compared:
            return
        self._compared.add((x, y))
        found = compare(self.a, x, self.b, y, self.atol, self.rtol)
        if found is None:
            self.same_weights += 1
            return
        module.weights.append(
            WeightChange(
                readable(x.name),
                readable(y.name),
                self._ref(self.a, reader),
                slot,
                (x.shape, y.shape),
                (dtype_text(x.dtype), dtype_text(y.dtype)),
                found.elements,
                found.differing,
                found.max_abs,
                found.rel_l2,
            )
        )

    def _shapes(self, module: ModuleDiff, one: Node, other: Node) -> None:
        given_out = self._given_out(one)
        for left, right in zip(one.outputs, other.outputs, strict=False):
            if left in given_out:
                continue  # said of the model
            x, y = self._type(one, left), self._type(other, right)
            if x is not None and y is not None and types_differ(x.type, y.type):
                module.shapes.append(
                    ShapeChange(readable(left), readable(right), (type_text(x.type), type_text(y.type)))
                )

    def _given_out(self, node: Node) -> frozenset[str]:
        """What the model gives out, for nodes of the main graph."""
        return self._outputs if node.graph.kind == "main" else frozenset()

    def _type(self, node: Node, value: str) -> onnx.ValueInfoProto | None:
        graph = node.graph
        found = self._types.get(graph)
        if found is None:
            proto = graph.proto
            found = described(proto.value_info)
            if isinstance(proto, onnx.GraphProto):
                found.update(described(proto.output))
            self._types[graph] = found
        return found.get(value)

    def _version(self, one: Node, other: Node) -> tuple[int, int] | None:
        if _domain(one) != _domain(other):
            return None
        opsets = self._opset(self.a, one), self._opset(self.b, other)
        if opsets[0] == opsets[1] and one.op_type == other.op_type:
            return None
        versions = [
            _since(node.op_type, _domain(node), opset) for node, opset in zip((one, other), opsets, strict=True)
        ]
        return (versions[0], versions[1]) if versions[0] != versions[1] and all(versions) else None

    def _opset(self, side: Side, node: Node) -> int:
        key = node.graph, node.domain
        found = self._opsets.get(key)
        if found is None:
            found = self._opsets[key] = opsets_of(side.model, node)
        return found

    def _wanted(self, *nodes: Node) -> bool:
        return self._chosen is None or any(node in self._chosen for node in nodes)

    def _module(self, path: str) -> ModuleDiff:
        found = self.modules.get(path)
        if found is None:
            found = self.modules[path] = ModuleDiff(path)
        return found

    def _whole_modules(self, mine: Iterable[str], theirs: Iterable[str]) -> None:
        """Modules that only one side has, and classes."""
        first, second = set(mine), set(theirs)
        classes = [_classes(side) for side in (self.a, self.b)]
        for path in dict.fromkeys((*mine, *theirs)):
            pair = (classes[0].get(path), classes[1].get(path))
            inner = self.modules.get(path)
            if self._chosen is not None and inner is None:
                continue
            if path not in second:
                self._module(path).status = "removed"
            elif path not in first:
                self._module(path).status = "added"
            elif inner is None and (None in pair or pair[0] == pair[1]):
                continue
            self._module(path).classes = pair

    def _in_order(self, mine: Iterable[str], theirs: Iterable[str]) -> list[ModuleDiff]:
        places = {path: number for number, path in enumerate(dict.fromkeys((*theirs, *mine)))}
        return sorted(self.modules.values(), key=lambda module: places.get(module.path, len(places)))

    def _ref(self, side: Side, node: Node) -> NodeRef:
        if node not in self._keys:
            self._keys.update((one, key) for key, one in node_keys(side.model))
        return NodeRef(self._keys[node], readable(node.name), node.op_type, node.domain)


def _computing(side: Side) -> Iterable[Node]:
    for graph in side.model.graphs():
        yield from side.nodes(graph)


def _modules(side: Side, other: Side) -> dict[str, None]:
    """Paths of called modules that have nodes, own or inner ones, by their first node; the root is always there.

    A path that only stands above others, and that this side's table doesn't know, is a module unless the other side
    knows it for a container that is never called: a file without tags has no other way to tell.
    """
    found: dict[str, None] = {"": None}
    table = side.model.modules
    containers = {other.renamed(module.path) for module in other.model.modules if not module.calls}
    for node in side.model.nodes():
        path = node.attribution.path if node.attribution is not None else ""
        own = side.renamed(path)
        if own in found:
            continue
        above: list[str] = []
        while path:
            module, named = table.get(path), side.renamed(path)
            if module.calls if module is not None else named == own or named not in containers:
                above.append(named)
            path = path.rpartition(".")[0]
        found.update(dict.fromkeys(reversed(above)))
    return found


def _classes(side: Side) -> dict[str, str]:
    return {side.renamed(module.path): module.class_name for module in side.model.modules if module.class_name}


def opsets_of(model: Model, node: Node) -> int:
    """The opset that an operator is defined by: its function's, else the model's; 0 where it is not imported."""
    proto = node.graph.home.proto
    if isinstance(proto, onnx.FunctionProto):
        for entry in proto.opset_import:
            if text(entry.domain) in (_domain(node), "ai.onnx" if not _domain(node) else ""):
                return int(entry.version)
    return opsets(model).get(_domain(node), 0)


@cache
def _since(op_type: str, domain: str, opset: int) -> int:
    """The opset that brought the definition of an operator which holds in ``opset``; 0 where onnx doesn't know it."""
    known = definition(op_type, domain, opset) if opset else None
    return 0 if known is None else int(known.since_version)


def _domain(node: Node) -> str:
    return "" if node.domain == "ai.onnx" else node.domain


def _label(side: Side) -> str:
    return str(side.model.path or "")
