"""Nodes with bodies that were found by what they make: a head's, where whole models were put into branches.

A decoder that is merged with its version for cached keys is an If whose output has the name of the decoder's. Its
bodies hold the head among all else, so the If can't be of the head.
"""

from __future__ import annotations

from collections.abc import Iterator

from modelexport.ir.attribution import Source
from modelexport.ir.model import Model
from modelexport.ir.node import Node
from modelexport.passes.pipeline.base import PassContext

RULE = "bodies"
_ON_RECORD = (Source.SCOPE, Source.REFERENCE, Source.PARAMETER)


def widen_owners(model: Model, ctx: PassContext, *rules: str) -> None:
    """Give each node with bodies that one of ``rules`` placed the module that has all nodes on record in its bodies."""
    for graph in model.graphs():
        owner, held = graph.owner, graph.owner.attribution if graph.owner is not None else None
        if owner is None or held is None or held.rule not in rules:
            continue
        paths = {held.path, *_inside(owner)}
        common = model.modules.common(paths)
        if common != held.path:
            ctx.attribute(owner, common, held.source, RULE, held.evidence)


def _inside(owner: Node) -> Iterator[str]:
    for body in owner.bodies:
        for node in body.nodes:
            if node.attribution is not None and node.attribution.source in _ON_RECORD:
                yield node.attribution.path
            yield from _inside(node)
