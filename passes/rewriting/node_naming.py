"""node-naming: names that say where a node is from, and the old ones back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from modelexport.ir.graph import Graph
from modelexport.ir.io import embedded_tags
from modelexport.ir.model import Model
from modelexport.ir.modules.tags import encode
from modelexport.ir.node import Node
from modelexport.passes.evidence.records.old_names import OldNames
from modelexport.passes.layer_annotation import called_chain
from modelexport.passes.pipeline.base import Pass, PassContext, PassResult
from modelexport.passes.rewriting.upkeep import embed_again, embedding_of, need_attributions


@dataclass(frozen=True)
class NodeNaming(Pass):
    """Name nodes after their modules, ``/blocks.0/proj/MatMul``, so that tools that know nodes by name can be told.

    A name has one segment per called module from below the root to the node's own, then the operator; a second node of
    that name gets ``_1``. The file keeps the old names, and ``undo`` gives them back.

    Attributes:
        keep_scoped: whether names that start with ``/`` already and are unique stay.
        values: whether values that renamed nodes make are renamed too; never inputs, outputs and initializers.
        undo: give every node and value that still has its new name the old one back.
    """

    name: ClassVar[str] = "node-naming"
    metadata_only: ClassVar[bool] = False

    keep_scoped: bool = True
    values: bool = False
    undo: bool = False

    def run(self, model: Model, ctx: PassContext) -> PassResult:
        """See the class. Tags that the file carries are embedded again, with the new names.

        Raises:
            ConfigError: no node is attributed.
        """
        revision = model.revision
        old = OldNames.read(model, ctx.warnings)
        if not self.undo:
            need_attributions(model, self.name, ctx.warnings)
        embedding = embedding_of(model, ctx)
        nodes, values = self._undo(model, old) if self.undo else self._rename(model, old)
        if nodes or values:
            embed_again(model, ctx, embedding)
        return PassResult(nodes, model.revision != revision, {"renamed nodes": nodes, "renamed values": values})

    def _rename(self, model: Model, old: OldNames) -> tuple[int, int]:
        count = Counter(node.name for node in model.nodes())
        open_nodes = [
            node
            for node in model.nodes()
            if node.attribution is not None
            and not (self.keep_scoped and node.name.startswith("/") and count[node.name] == 1)
        ]
        chosen = set(open_nodes)
        taken = {node.name for node in model.nodes() if node not in chosen}
        changed = 0
        for node, name in zip(
            open_nodes, _numbered((self._base(model, node) for node in open_nodes), taken), strict=True
        ):
            if node.name != name:
                old.node_renamed(node, name)
                node.rename(name)
                changed += 1
        renamed = _rename_values(model, open_nodes, old) if self.values else 0
        if changed or renamed:
            old.write(model)
        return changed, renamed

    def _base(self, model: Model, node: Node) -> str:
        assert node.attribution is not None
        segments, above = [""], ""
        for path in called_chain(model, node.attribution.path):
            segments.append(encode(path[len(above) + 1 if above else 0 :]))
            above = path
        return "/".join([*segments, encode(node.op_type)])

    def _undo(self, model: Model, old: OldNames) -> tuple[int, int]:
        nodes = 0
        for node in model.nodes():
            if node in old.nodes:
                node.rename(old.nodes[node])
                nodes += 1
            if embedded_tags.OLD_NAME in node.metadata:
                node.patch_metadata({embedded_tags.OLD_NAME: None})
        values = 0
        for graph in model.graphs():
            for new, name in old.values.get(graph, {}).items():
                if not graph.defines(name):
                    graph.rename_value(new, name)
                    values += 1
        if keys := embedded_tags.old_names_keys(model.metadata):
            model.patch_metadata(dict.fromkeys(keys))
        return nodes, values


def _numbered(bases: Iterator[str], taken: set[str]) -> Iterator[str]:
    """Each name as it is where nothing else has it, else with the next number that is free."""
    following: dict[str, int] = {}
    for base in bases:
        number = following.get(base, 0)
        name = f"{base}_{number}" if number else base
        while name in taken:
            number += 1
            name = f"{base}_{number}"
        following[base] = number + 1
        taken.add(name)
        yield name


def _rename_values(model: Model, nodes: list[Node], old: OldNames) -> int:
    graphs: dict[object, Graph] = {graph: graph for graph in model.graphs()}
    taken = {value for graph in graphs.values() for value in (*graph.inputs, *graph.outputs, *graph.initializers)}
    taken.update(value for node in model.nodes() for value in node.outputs)
    renamed = 0
    for node in nodes:
        graph = graphs[node.graph]
        for place, value in enumerate(node.outputs):
            name = f"{node.name}_output_{place}"
            if not value or value == name or value in graph.outputs or graph.producer(value) is not node:
                continue
            if name in taken:
                name = next(_numbered(iter([name]), taken))
            taken.add(name)
            old.value_renamed(graph, value, name)
            graph.rename_value(value, name)
            renamed += 1
    return renamed
