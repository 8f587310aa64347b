"""What naming schemes found, as inference sees it: which of their modules compute with weights."""

from __future__ import annotations

from modelexport.ir.model import Model
from modelexport.ir.node import Node
from modelexport.passes.evidence.inference.situation import nameless_weights
from modelexport.passes.evidence.names.schemes.interface import ORDER
from modelexport.passes.evidence.names.slots import weights_of


def weighing(model: Model) -> set[str]:
    """Modules that a naming scheme found and whose nodes compute with weights."""
    by_scheme = [
        (node, node.attribution.path)
        for node in model.nodes()
        if node.attribution is not None and node.attribution.rule.startswith("scheme-")
    ]
    weights = nameless_weights(model, frozenset()) if by_scheme else frozenset()
    return {path for node, path in by_scheme if any(value in weights for value in weights_of(node)) or is_counted(node)}


def is_counted(node: Node) -> bool:
    """Whether all that a node's module is known by is its number among its like, which only layers have."""
    return node.attribution is not None and node.attribution.rule.endswith(f"-{ORDER}")
