"""sort-nodes: nodes in the order that ONNX asks for, each once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx

from modelexport.ir.editing.topology import sorted_anew
from modelexport.ir.errors import GraphError
from modelexport.ir.graph import Graph
from modelexport.ir.io.overlay import assemble
from modelexport.ir.io.reader import from_proto
from modelexport.ir.model import Model
from modelexport.ir.node import Node
from modelexport.passes.pipeline.base import Pass, PassContext, PassResult
from modelexport.passes.rewriting.upkeep import embed_again, embedding_of

_PLACE = "modelexport.place"


@dataclass(frozen=True)
class SortNodes(Pass):
    """Put nodes behind what makes their inputs, at every depth; of nodes equal in all but metadata the first stays.

    Some converters leave nodes out of order, or twice (onnxruntime's ``float16`` does both with the casts around what
    it keeps in float), which onnx.checker refuses, and some runtimes too. A graph that is in order stays as it is.
    """

    name: ClassVar[str] = "sort-nodes"
    metadata_only: ClassVar[bool] = False

    def run(self, model: Model, ctx: PassContext) -> PassResult:
        """See the class.

        Raises:
            GraphError: the nodes of a graph depend on each other in a circle.
        """
        embedding = embedding_of(model, ctx)
        copy = onnx.ModelProto()
        copy.CopyFrom(assemble(model))
        sorted_model = from_proto(copy, path=model.path)
        before = list(model.nodes())
        for place, node in enumerate(sorted_model.nodes()):
            _proto(node).metadata_props.add(key=_PLACE, value=str(place))
        graphs = list(sorted_model.graphs())[::-1]  # bodies before the graphs that they are copied with
        counts = [_sort(graph) for graph in graphs]
        moved, removed = (sum(each) for each in zip(*counts, strict=True))
        if not moved and not removed:
            return PassResult(notes={"moved": 0, "removed": 0})
        made = from_proto(assemble(sorted_model), path=model.path)
        for node in made.nodes():
            attribution = before[int(_proto(node).metadata_props.pop().value)].attribution
            if attribution is not None:
                node.attribute_to(attribution)
        made.modules = model.modules
        made.data_home, made.gathers_data = model.data_home, model.gathers_data
        stale = {*sorted_model.warnings} - {*made.warnings}  # of values that are defined once now
        made.warnings = [line for line in made.warnings if line not in model.warnings]
        model.become(made)
        model.warnings = [line for line in model.warnings if line not in stale]
        embed_again(model, ctx, embedding)
        return PassResult(moved + removed, True, {"moved": moved, "removed": removed})


def _sort(graph: Graph) -> tuple[int, int]:
    """Sort the nodes of one graph's proto. Returns how many have another place, and how many are gone."""
    nodes = list(graph.nodes)
    seen: dict[tuple[object, ...], Node] = {}
    for node in nodes:
        seen.setdefault(_content(node) if any(node.outputs) else (node.id,), node)
    kept = set(seen.values())
    order = [node for node in sorted_anew(graph) if node in kept] if not graph.is_sorted else list(seen.values())
    if order == nodes:
        return 0, 0
    if graph.proto is None or isinstance(graph.proto, onnx.ModelProto):
        raise GraphError(f"{graph.scope}: its nodes can't be put in another order")
    copies = []
    for node in order:
        copies.append(onnx.NodeProto())
        copies[-1].CopyFrom(_proto(node))
    del graph.proto.node[:]
    graph.proto.node.extend(copies)
    stayed = [node for node in nodes if node in kept]
    return sum(one is not other for one, other in zip(order, stayed, strict=True)), len(nodes) - len(order)


def _content(node: Node) -> tuple[object, ...]:
    attributes = tuple(each.SerializeToString(deterministic=True) for each in node.attribute_protos())
    return node.op_type, node.domain, node.overload, node.name, node.inputs, node.outputs, attributes


def _proto(node: Node) -> onnx.NodeProto:
    assert node.proto is not None  # of a model that was just read
    return node.proto
