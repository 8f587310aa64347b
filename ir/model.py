"""A model being worked on: the source proto, its scopes, and the module table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import onnx

from modelexport.ir.graph import Graph
from modelexport.ir.modules import ModuleTable
from modelexport.ir.node import Node, text


class Model:
    """An ONNX model with what is known about its nodes.

    ``proto`` is the source and stays the truth for everything that no pass changed; it is not to be edited.

    Attributes:
        path: the file it was read from, or None.
        modules: what is known of the modules; empty for a foreign graph until a pass fills it.
        warnings: findings of the reader and of passes that a user should see, one line each.
    """

    def __init__(self, proto: onnx.ModelProto, path: Path | None = None) -> None:
        self.proto = proto
        self.path = path
        self.modules = ModuleTable()
        self.warnings: list[str] = []
        self.main: Graph = Graph(self, proto.graph, "main", "main")
        self.functions: list[Graph] = []
        self.patch: dict[str, str | None] = {}

    def __repr__(self) -> str:
        return f"<Model {self.path or 'in memory'}: {sum(len(graph) for graph in self.graphs())} nodes>"

    @property
    def base_dir(self) -> Path | None:
        """Folder that external data locations are relative to; None for a model without a file."""
        return self.path.parent if self.path is not None else None

    def graphs(self) -> Iterator[Graph]:
        """Every scope: the main graph, then its bodies depth first, then local functions with theirs."""
        stack = [self.main, *self.functions][::-1]
        while stack:
            graph = stack.pop()
            yield graph
            if graph.bodies:
                order = graph.nodes if graph.edits is not None else [graph.node(i) for i in sorted(graph.bodies)]
                stack.extend([body for node in order for body in node.bodies][::-1])

    def nodes(self) -> Iterator[Node]:
        """Every node at every depth, scope by scope."""
        for graph in self.graphs():
            yield from graph.nodes

    def function(self, domain: str, name: str, overload: str = "") -> Graph | None:
        """The local function a call resolves to; None for an operator."""
        if not self.functions:
            return None
        return self._function_index().get((domain, name, overload))

    def _function_index(self) -> dict[tuple[str, str, str], Graph]:
        return {
            (text(graph.proto.domain), text(graph.proto.name), text(graph.proto.overload)): graph
            for graph in self.functions
            if isinstance(graph.proto, onnx.FunctionProto)
        }

    @property
    def metadata(self) -> Mapping[str, str]:
        """Model metadata as it will be written: the source's entries under the patch."""
        merged: dict[str, str] = {text(entry.key): text(entry.value) for entry in self.proto.metadata_props}
        for key, value in self.patch.items():
            if value is None:
                merged.pop(key, None)
            else:
                merged[key] = value
        return merged

    def patch_metadata(self, changes: Mapping[str, str | None]) -> None:
        """Set keys, or remove those given as None."""
        self.patch.update(changes)
