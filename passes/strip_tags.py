"""strip-tags: take out everything that attribute-embedding wrote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from modelexport.ir.facts import Fact
from modelexport.ir.model import Model
from modelexport.passes.evidence.records import doc_carrier, own_tags
from modelexport.passes.evidence.records.interop import ALL_VIEWER_KEYS
from modelexport.passes.pipeline.base import Pass, PassContext, PassResult


@dataclass(frozen=True)
class StripTags(Pass):
    """Remove our metadata, tables and doc strings, so that the file is as it was before it was tagged."""

    name: ClassVar[str] = "strip-tags"
    invalidates: ClassVar[frozenset[Fact]] = frozenset({Fact.EMBEDDED})

    def run(self, model: Model, ctx: PassContext) -> PassResult:
        """See the class. A file that was never tagged is left alone."""
        changed = 0
        patches: dict[tuple[str, ...], Mapping[str, str | None]] = {}
        for node in model.nodes():
            metadata = node.metadata
            touched = False
            if metadata:
                added = metadata.get(own_tags.ADDED, "").split(",")
                keys = tuple(
                    key
                    for key in metadata
                    if key in own_tags.NODE_KEYS or key == own_tags.ADDED or (key in added and key in ALL_VIEWER_KEYS)
                )
                if keys:
                    if keys not in patches:
                        patches[keys] = dict.fromkeys(keys)
                    node.patch_metadata(patches[keys])
                    touched = True
            if doc_carrier.carried(node) is not None:
                node.patch_doc(doc_carrier.original(node))
                touched = True
            changed += touched
        model.patch_metadata({key: None for key in own_tags.MODEL_KEYS if key in model.metadata})
        return PassResult(changed=changed)
