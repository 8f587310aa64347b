"""Where a node that an edit made is from: what the nodes it stands for agree on."""

from __future__ import annotations

from collections.abc import Sequence

from modelexport.ir.attribution import Attribution, Source
from modelexport.ir.node import Node
from modelexport.ir.text import shown

_STRENGTH = {source: rank for rank, source in enumerate(Source)}
_CONFIDENCE_KEPT = 0.9  # of the weakest, where the nodes are from different modules


def inherit(node: Node, sources: Sequence[Node]) -> None:
    """Give ``node`` the attribution and the metadata that ``sources`` have in common.

    Where their attributions differ it is from their lowest common module, with the weakest source, the rule ``edit``
    and a lower confidence. Metadata keys are carried where all sources have the same value.
    """
    if not sources:
        return
    attribution = _common(sources)
    if attribution is not None:
        node.attribute_to(attribution)
    shared = dict(sources[0].metadata)
    for source in sources[1:]:
        other = source.metadata
        shared = {key: value for key, value in shared.items() if other.get(key) == value}
    if shared:
        node.patch_metadata(shared)


def _common(sources: Sequence[Node]) -> Attribution | None:
    found = [source.attribution for source in sources if source.attribution is not None]
    if not found:
        return None
    if all(other == found[0] for other in found[1:]):
        return found[0]
    weakest = max(found, key=lambda attribution: _STRENGTH[attribution.source])
    return Attribution(
        path=sources[0].graph.model.modules.common(attribution.path for attribution in found),
        source=weakest.source,
        rule="edit",
        confidence=round(_CONFIDENCE_KEPT * min(attribution.confidence for attribution in found), 4),
        evidence=tuple(shown(source.name or source.first_output) for source in sources),
        by="edit",
    )
