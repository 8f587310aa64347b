"""A model being worked on: the source proto, its scopes, and the module table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx

from modelexport.ir.editing.topology import arranged, cycle_of
from modelexport.ir.graph import Graph
from modelexport.ir.node import Node
from modelexport.ir.scope import Scope
from modelexport.ir.state import ModelState
from modelexport.ir.text import text


class Model(ModelState):
    """An ONNX model with what is known about its nodes.

    Attributes:
        main: the main graph.
        functions: the local functions.
    """

    def __init__(self, proto: onnx.ModelProto, path: Path | None = None) -> None:
        super().__init__(proto, path)
        self.main: Graph = Graph(self, proto.graph, "main", "main")
        self.functions: list[Graph] = []
        self._by_call: dict[tuple[str, str, str], Graph] = {}

    def __repr__(self) -> str:
        return f"<Model {self.path or 'in memory'}: {sum(len(graph) for graph in self.graphs())} nodes>"

    def become(self, other: Model) -> None:
        """Take over everything that ``other`` is; it is not to be used any more. Warnings of both are kept."""
        self.proto, self.path, self.modules = other.proto, other.path, other.modules
        self.main, self.functions, self._by_call = other.main, other.functions, other._by_call
        self.patch, self.key_lists = other.patch, other.key_lists
        self.gathers_data, self.data_home = other.gathers_data, other.data_home
        self.warnings += [warning for warning in other.warnings if warning not in self.warnings]
        self.revision += 1
        self.forget_derived()
        for graph in self.graphs():
            graph.model = self

    def graphs(self) -> Iterator[Graph]:
        """Every scope: the main graph, then its bodies depth first, then local functions with theirs."""
        stack = [self.main, *self.functions][::-1]
        while stack:
            graph = stack.pop()
            yield graph
            if graph.bodies:
                order = [node.id for node in graph.nodes] if graph.edits is not None else sorted(graph.bodies)
                stack.extend([body for node_id in order for body in graph.bodies.get(node_id, ())][::-1])

    def nodes(self) -> Iterator[Node]:
        """Every node at every depth, scope by scope."""
        for graph in self.graphs():
            yield from graph.nodes

    def function(self, domain: str, name: str, overload: str = "") -> Graph | None:
        """The local function a call resolves to; None for an operator."""
        return self._by_call.get((domain, name, overload))

    def callers(self) -> dict[Scope, list[Node]]:
        """The nodes that call each local function, by the function; every function is there."""
        found: dict[Scope, list[Node]] = {function: [] for function in self.functions}
        for node in self.nodes() if found else ():
            callee = self.function(node.domain, node.op_type, node.overload)
            if callee is not None:
                found[callee].append(node)
        return found

    def functions_callers_first(self) -> list[Graph]:
        """The local functions, each after all that call it; those on a cycle of calls are left out."""
        return arranged(self._callers_of_functions(), self._positions().__getitem__)

    def recursion(self) -> list[Graph]:
        """Local functions that call each other in a circle, each before one that it calls; [] where none do."""
        before = self._callers_of_functions()
        return cycle_of(before, arranged(before, self._positions().__getitem__))

    def _positions(self) -> dict[Graph, int]:
        return {function: place for place, function in enumerate(self.functions)}

    def _callers_of_functions(self) -> dict[Graph, set[Graph]]:
        """By function the functions that call it, themselves or in a body."""
        functions: dict[Scope, Graph] = {function: function for function in self.functions}
        return {
            functions[callee]: {functions[home] for node in nodes if (home := node.graph.home) in functions}
            for callee, nodes in self.callers().items()
        }

    def add_function(self, graph: Graph) -> None:
        """Add a local function; of two with the same name the first is the one that is called."""
        proto = graph.proto
        assert isinstance(proto, onnx.FunctionProto)
        self.functions.append(graph)
        call = (text(proto.domain), text(proto.name), text(proto.overload))
        if self._by_call.setdefault(call, graph) is not graph:
            self.warnings.append(f"{graph.scope}: the function is defined twice")
