"""Modules carried from the nodes before a tool to the nodes after it, at every depth.

A node that kept its name or its first output keeps its attribution as it is. A new node is told by what it does: one
that only reads weights and constants is its reader's, one that changes the form of a value (quantisers, casts) its
maker's, a fused one its name's, its output's, or that of what it replaced.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files

from modelexport.ir.attribution import Attribution, Source
from modelexport.ir.graph import Graph
from modelexport.ir.model import Model
from modelexport.ir.node import Node
from modelexport.ir.operators import Category, category
from modelexport.passes.evidence.records.node_names import name_decides, shorter_names
from modelexport.passes.pipeline.base import PassContext

_PREFIX = "fused "
_MOST = 3  # nodes that an attribution names as its evidence
_FORMS = (Category.QUANTIZE, Category.CAST)
# Not measured but chosen. A rule that bench/tools.py measures has its number in confidence.json, which goes before.
CHOSEN: dict[str, float] = {
    "weight-reader": 0.99,
    "weight-readers": 0.95,
    "value-maker": 0.99,
    "input-readers": 0.95,
    "fused-name": 0.97,
    "fused-output": 0.97,
    "replaced": 0.9,
}
_FILE = files("modelexport.passes.tools") / "confidence.json"
MEASURED: dict[str, float] = json.loads(_FILE.read_text(encoding="utf-8"))["rules"]
_INHERITED = frozenset({"weight-reader", "weight-readers", "input-readers", "replaced"})


class Before:
    """What is known of the nodes before the tool.

    Args:
        keys: node metadata that a kept node gets back.
    """

    def __init__(self, model: Model, keys: tuple[str, ...]) -> None:
        self.keys = frozenset(keys)
        self.by_name: dict[str, list[Node]] = {}
        self.by_output: dict[str, list[Node]] = {}
        self.makers: dict[str, list[Node]] = {}
        self.readers: dict[str, list[Node]] = {}
        self.main = model.main
        self.extras: dict[Node, dict[str, str]] = {}  # what of ``keys`` a node has
        for node in model.nodes():
            if (node.patch and not self.keys.isdisjoint(node.patch)) or not self.keys.isdisjoint(node.source_keys()):
                self.extras[node] = dict(node.metadata_of(self.keys))
            if node.name:
                self.by_name.setdefault(node.name, []).append(node)
            if node.first_output:
                self.by_output.setdefault(node.first_output, []).append(node)
            for value in node.outputs:
                if value:
                    self.makers.setdefault(value, []).append(node)
            for value in node.inputs:
                if value:
                    self.readers.setdefault(value, []).append(node)

    def same(self, node: Node) -> Node | None:
        """The node from before that ``node`` is: the one of its name, else of its first output."""
        named = self.by_name.get(node.name) if node.name else None
        if named is not None:
            return _best(named, node)
        made = self.by_output.get(node.first_output) if node.first_output else None
        old = _best(made, node) if made is not None else None
        if old is not None and name_decides(node.name, node.first_output):  # as where the file is read
            said = self.said(node)
            if said is not None and _path(said[1]) != _path(old):
                return None
        return old

    def said(self, node: Node) -> tuple[str, Node] | None:
        """What the name of a node says that it was made of: the name or value, and the node of that."""
        name = node.name.removeprefix(_PREFIX)
        for said in (name, *shorter_names(name)) if name else ():
            found = self.by_name.get(said) or self.makers.get(said)
            if found is not None and (best := _best(found, node)).attribution is not None:
                return said, best
        return None

    def maker(self, value: str, node: Node) -> Attribution | None:
        """The attribution of what made ``value`` before; ``node`` says in which scope."""
        makers = self.makers.get(value)
        return _best(makers, node).attribution if makers is not None else None


def _path(node: Node) -> str | None:
    return node.attribution.path if node.attribution is not None else None


def _best(candidates: list[Node], node: Node) -> Node:
    """The candidate that is most like ``node``: its output, its scope, its operator."""
    if len(candidates) == 1:
        return candidates[0]
    return max(
        candidates,
        key=lambda each: (
            each.first_output == node.first_output,
            each.graph.scope == node.graph.scope,
            each.op_type == node.op_type,
        ),
    )


@dataclass(slots=True)
class Carried:
    """How many nodes were kept and are new."""

    kept: int = 0
    new: int = 0


def carry(model: Model, before: Before, ctx: PassContext) -> Carried:
    """Attribute the nodes of ``model``, which a tool made of the nodes of ``before``; some may stay open."""
    return _Carrier(model, before, ctx).go()


class _Carrier:
    def __init__(self, model: Model, before: Before, ctx: PassContext) -> None:
        self.model, self.before, self.ctx = model, before, ctx
        self.report = Carried()
        self.gone: set[Node] = {node for nodes in before.makers.values() for node in nodes}
        self.constant: dict[object, set[str]] = {}

    def go(self) -> Carried:
        new: list[tuple[Graph, Node]] = []
        for graph in self.model.graphs():
            for node in graph.nodes:
                old = self.before.same(node)
                if old is None:
                    new.append((graph, node))
                    continue
                if old.op_type == node.op_type or old.name == node.name != "":  # else only its value is still there
                    self.gone.discard(old)
                self.report.kept += 1
                if old.attribution is not None:
                    node.attribute_to(old.attribution)
                self._put_back(old, node)
        self.report.new = len(new)
        self._values(new)
        return self.report

    def _put_back(self, old: Node, node: Node) -> None:
        extras = self.before.extras.get(old)
        if extras:
            node.patch_metadata(extras)

    def _values(self, new: list[tuple[Graph, Node]]) -> None:
        """Decide the new nodes: makers before readers for values, readers before makers for weights."""
        weights = [(graph, node) for graph, node in new if self._reads_only_constants(graph, node)]
        others = [(graph, node) for graph, node in new if node.first_output not in self._constants(graph)]
        for graph, node in others:
            if category(node.op_type, node.domain) not in _FORMS:
                self._fused(graph, node)
        for graph, node in others:
            if node.attribution is None and category(node.op_type, node.domain) in _FORMS:
                self._form(graph, node)
        for graph, node in others:
            if node.attribution is None and category(node.op_type, node.domain) not in _FORMS:
                self._replaced(graph, node)
        for graph, node in reversed(weights):
            self._weight(graph, node)

    def _constants(self, graph: Graph) -> set[str]:
        return self.constant.setdefault(graph, set())

    def _reads_only_constants(self, graph: Graph, node: Node) -> bool:
        """Whether a new node reads only initializers and constants; called in file order."""
        if node.bodies or any(value and not self._is_constant(graph, value) for value in node.inputs):
            return False
        self._constants(graph).update(value for value in node.outputs if value)
        return True

    def _is_constant(self, graph: Graph, value: str) -> bool:
        scope = graph.find(value)
        if scope is None:
            return False
        if value in scope.initializers_set or value in self.constant.get(scope, ()):
            return True
        producer = scope.producer(value)
        return producer is not None and category(producer.op_type) is Category.CONSTANT

    def _weight(self, graph: Graph, node: Node) -> None:
        readers = [reader for value in node.outputs if value for reader in _readers(graph, value)]
        self._common(node, readers, "weight-reader", "weight-readers")

    def _form(self, graph: Graph, node: Node) -> None:
        """A quantiser, dequantiser or cast: back along others of its kind to the value whose form they change."""
        value, seen = self._data(graph, node), set[str]()
        while value and value not in seen:
            seen.add(value)
            scope = graph.find(value)
            maker = self.before.maker(value, node)
            if maker is not None:
                return self._give(node, maker.path, "value-maker", value)
            producer = scope.producer(value) if scope is not None else None
            if producer is None:
                return self._of_input(node, value)
            if producer.attribution is not None:
                return self._give(node, producer.attribution.path, "value-maker", value)
            value = self._data(graph, producer)
        return None

    def _data(self, graph: Graph, node: Node) -> str:
        """The first input that is no constant."""
        return next((value for value in node.inputs if value and not self._is_constant(graph, value)), "")

    def _of_input(self, node: Node, value: str) -> None:
        self._common(node, self.before.readers.get(value, ()), "input-readers")

    def _fused(self, graph: Graph, node: Node) -> None:
        """What its name says; else whose output it makes, under the old name or in the old place of a reader."""
        said = self.before.said(node)
        if said is not None and (origin := self._computing(node, said[1]).attribution) is not None:
            return self._give(node, origin.path, "fused-name", said[0])
        for value in node.outputs:
            maker = self.before.maker(value, node) if value else None
            if maker is not None:
                return self._give(node, maker.path, "fused-output", value)
        made = [old for value in node.outputs if value and (old := self._formerly(graph, value)) is not None]
        return self._common(node, made, "fused-output", "replaced")

    def _computing(self, node: Node, named: Node) -> Node:
        """Which one does what ``node`` does: ``named``, or where that was folded into the weights of an operator like
        ``node`` which made what it read, that operator. One that does the other besides is from ``named``."""
        if node.attributes.get("activation") in (named.op_type, named.op_type.encode()):
            return named
        found = named
        while found.op_type != node.op_type:
            read = (maker for value in found.inputs for maker in self.before.makers.get(value, ()))
            made = [maker for maker in read if maker in self.gone and maker.attribution is not None]
            if found not in self.gone or len(made) != 1:
                return named
            found = made[0]
        return found

    def _formerly(self, graph: Graph, value: str) -> Node | None:
        """What made that which a kept reader of ``value`` read in the same place before, where that is gone."""
        for reader in graph.consumers(value):
            old = self.before.same(reader)
            if old is None or len(old.inputs) != len(reader.inputs):
                continue
            for was, now in zip(old.inputs, reader.inputs, strict=True):
                makers = self.before.makers.get(was, ()) if now == value and was else ()
                maker = next((each for each in makers if each in self.gone), None)
                if maker is not None and maker.attribution is not None:
                    return maker
        return None

    def _replaced(self, graph: Graph, node: Node) -> None:
        """The common module of what is gone and read what this one reads; where its readers are from such, of these."""
        read = [reader for value in node.inputs for reader in self.before.readers.get(value, ())]
        gone = [reader for reader in read if reader in self.gone]
        if len({*map(_path, gone)}) > 1:
            now = {_path(reader) for value in node.outputs if value for reader in graph.consumers(value)}
            gone = [reader for reader in gone if _path(reader) in now] or gone
        self._common(node, gone, "replaced")

    def _common(self, node: Node, others: Iterable[Node], rule: str, of_several: str = "") -> None:
        """The module of other nodes, or the innermost around all of theirs; nothing where these have none."""
        paths: dict[str, Node] = {}
        for each in others:
            if each.attribution is not None:
                paths.setdefault(each.attribution.path, each)
        if paths:
            path = next(iter(paths)) if len(paths) == 1 else self.model.modules.common(list(paths))
            names = [each.name or each.first_output for each in paths.values()][:_MOST]
            self._give(node, path, of_several or rule if len(paths) > 1 else rule, *names)

    def _give(self, node: Node, path: str, rule: str, *evidence: str) -> None:
        source = Source.INHERITED if rule in _INHERITED else Source.REFERENCE
        share = MEASURED.get(rule, CHOSEN[rule])
        self.ctx.attribute(node, path, source, rule, tuple(filter(None, evidence)), confidence=share)


def _readers(graph: Graph, value: str) -> Iterable[Node]:
    """Who reads a value, in bodies too."""
    for reader in graph.consumers(value):
        if value in reader.inputs:
            yield reader
        for body in reader.bodies:
            if not body.defines(value) and isinstance(body, Graph):
                yield from _readers(body, value)
