"""A model being worked on: the source proto, its scopes, and the module table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import onnx

from modelexport.ir.graph import Graph
from modelexport.ir.modules import ModuleTable
from modelexport.ir.node import Node
from modelexport.ir.text import text


class Model:
    """An ONNX model with what is known about its nodes.

    ``proto`` is the source and stays the truth for everything that no pass changed; it is not to be edited.

    Attributes:
        path: the file it was read from, or None.
        modules: what is known of the modules; empty for a foreign graph until a pass fills it.
        warnings: findings of the reader, of passes and of the writer that a user should see, one line each.
        patch: model metadata to set, or with None to remove; see patch_metadata.
        revision: counts edits of structure.
        verified: the revision that the verifier last found right; the reader's own is 0.
        key_lists: the distinct lists of metadata keys that nodes have; see Node.source_keys.
    """

    def __init__(self, proto: onnx.ModelProto, path: Path | None = None) -> None:
        self.proto = proto
        self.path = path
        self.modules = ModuleTable()
        self.warnings: list[str] = []
        self.main: Graph = Graph(self, proto.graph, "main", "main")
        self.functions: list[Graph] = []
        self._by_call: dict[tuple[str, str, str], Graph] = {}
        self._names: set[str] | None = None
        self.patch: dict[str, str | None] = {}
        self.key_lists: dict[tuple[str, ...], tuple[str, ...]] = {}
        self.revision = 0
        self.verified = 0

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
        return self._by_call.get((domain, name, overload))

    def add_function(self, graph: Graph) -> None:
        """Add a local function; of two with the same name the first is the one that is called."""
        proto = graph.proto
        assert isinstance(proto, onnx.FunctionProto)
        self.functions.append(graph)
        call = (text(proto.domain), text(proto.name), text(proto.overload))
        if self._by_call.setdefault(call, graph) is not graph:
            self.warnings.append(f"{graph.scope}: the function is defined twice")

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
