"""``layer_ann`` in node metadata, which onnxruntime and Olive read, and what stood there before."""

from __future__ import annotations

from collections.abc import Mapping

from modelexport.ir.io.embedded_tags import OLD_PLACEMENT, PLACEMENT

_NONE, _SOME = "-", "="


def placement_before(metadata: Mapping[str, str]) -> str | None:
    """The value that stood there before ours; None where there was none."""
    if OLD_PLACEMENT not in metadata:
        return metadata.get(PLACEMENT)
    before = metadata[OLD_PLACEMENT]
    return before[1:] if before.startswith(_SOME) else None


def placed(metadata: Mapping[str, str], label: str) -> dict[str, str | None]:
    """The changes that set ``label`` and remember what stood there; none where it stands there already."""
    if metadata.get(PLACEMENT) == label:
        return {}
    changes: dict[str, str | None] = {PLACEMENT: label}
    if OLD_PLACEMENT not in metadata:
        before = metadata.get(PLACEMENT)
        changes[OLD_PLACEMENT] = _NONE if before is None else _SOME + before
    return changes
