"""strip-tags: take out everything that attribute-embedding wrote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from modelexport.ir.facts import Fact
from modelexport.ir.io import embedded_tags
from modelexport.ir.io.embedded_tags import VIEWER_KEYS, doc_without_tag, tag_in_doc
from modelexport.ir.model import Model
from modelexport.passes.evidence.records.placement import placement_before
from modelexport.passes.pipeline.base import Pass, PassContext, PassResult

_OURS = frozenset((*embedded_tags.NODE_KEYS, embedded_tags.MODEL, embedded_tags.ADDED, embedded_tags.OLD_NAME))
_OURS |= {embedded_tags.OLD_PLACEMENT}
_BY_VALUE = frozenset((embedded_tags.ADDED, embedded_tags.OLD_PLACEMENT))  # their values say what to do


@dataclass(frozen=True)
class StripTags(Pass):
    """Remove our metadata, tables and doc strings, so that the file is as it was before it was tagged."""

    name: ClassVar[str] = "strip-tags"
    invalidates: ClassVar[frozenset[Fact]] = frozenset({Fact.EMBEDDED})
    reads_weights: ClassVar[bool] = False

    def run(self, model: Model, ctx: PassContext) -> PassResult:
        """A file that was never tagged is left alone."""
        changed = 0
        patches: dict[tuple[str, ...], Mapping[str, str | None]] = {}
        for node in model.nodes():
            touched = False
            told = node.patch is None and _BY_VALUE.isdisjoint(node.source_keys())
            metadata = None if told else node.metadata
            if metadata is None:  # the keys say it all, and nodes have few different lists of them
                own = tuple([key for key in node.source_keys() if key in _OURS])
                if own:
                    if own not in patches:
                        patches[own] = dict.fromkeys(own)
                    node.patch_metadata(patches[own])
                    touched = True
            elif metadata:
                added = metadata.get(embedded_tags.ADDED, "").split(",")
                keys = tuple(key for key in metadata if key in _OURS or (key in added and key in VIEWER_KEYS))
                if embedded_tags.OLD_PLACEMENT in metadata:
                    node.patch_metadata({embedded_tags.PLACEMENT: placement_before(metadata)})
                    touched = True
                if keys:
                    if keys not in patches:
                        patches[keys] = dict.fromkeys(keys)
                    node.patch_metadata(patches[keys])
                    touched = True
            if tag_in_doc(node.doc_string) is not None:
                node.patch_doc(doc_without_tag(node))
                touched = True
            changed += touched
        ours = [*embedded_tags.own_keys(model.metadata), embedded_tags.OLD_NAMES]
        model.patch_metadata({key: None for key in ours if key in model.metadata})
        return PassResult(changed=changed)
