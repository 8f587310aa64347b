"""strip-tags: take out everything that attribute-embedding wrote."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import onnx

from modelexport.ir.facts import Fact
from modelexport.ir.io import embedded_tags
from modelexport.ir.io.embedded_tags import VIEWER_KEYS, doc_without_tag, tag_in_doc
from modelexport.ir.io.overlay import assemble
from modelexport.ir.io.reader import from_proto
from modelexport.ir.model import Model
from modelexport.ir.text import text
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
        model.patch_metadata(dict.fromkeys(_ours(model.metadata)))
        return PassResult(changed=changed)


def stripped_copy(model: Model) -> onnx.ModelProto:
    """A copy of what strip-tags would leave; ``model`` stays as it is.

    Where nothing of ours is in the source yet, what is still to be written is left out, and nothing is taken away.
    """
    kept = [(node, node.patch) for node in model.nodes()]
    model_patch = dict(model.patch)
    rests = _without_ours(model)
    if rests is None:
        copy = _copied(model)
        plain = from_proto(copy, path=model.path)
        StripTags().run(plain, PassContext())
        return assemble(plain)
    try:
        for node, patch in kept:
            node.patch = rests[id(patch)] if patch else patch
        model.patch = {key: value for key, value in model.patch.items() if not _ours((key,))}
        return _copied(model)
    finally:
        for node, patch in kept:
            node.patch = patch
        model.patch = model_patch


def _copied(model: Model) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(assemble(model))
    return copy


def _ours(keys: Iterable[str]) -> list[str]:
    """Those keys of a model's metadata that are ours."""
    metadata = dict.fromkeys(keys, "")
    return [*embedded_tags.own_keys(metadata), *embedded_tags.old_names_keys(metadata)]


def _without_ours(model: Model) -> dict[int, Mapping[str, str | None] | None] | None:
    """By id of a patch, what it has that is not ours; None where the source itself has something of ours."""
    if _ours(text(entry.key) for entry in model.proto.metadata_props):
        return None
    rests: dict[int, Mapping[str, str | None] | None] = {}
    for node in model.nodes():
        patch = node.patch
        if not _OURS.isdisjoint(node.source_keys()) or tag_in_doc(node.doc_string) is not None:
            return None
        if patch and id(patch) not in rests:
            if embedded_tags.OLD_PLACEMENT in patch:  # then what stood there before is in the source or was replaced
                return None
            added = (patch.get(embedded_tags.ADDED) or "").split(",")
            ours = _OURS.union(key for key in added if key in VIEWER_KEYS)
            rests[id(patch)] = {key: value for key, value in patch.items() if key not in ours} or None
    return rests
