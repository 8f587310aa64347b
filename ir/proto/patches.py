"""Metadata and doc string patches, applied to the source proto in place.

Applying is idempotent, and removing what was added gives the bytes from before: entries of other keys keep their order,
their duplicates and their presence bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx

from modelexport.ir.model import Model
from modelexport.ir.node import Absent, Node
from modelexport.ir.proto import wire
from modelexport.ir.proto.pieces import has_unknown
from modelexport.ir.text import text

_DOC = onnx.NodeProto.DESCRIPTOR.fields_by_name["doc_string"].number
_METADATA = onnx.NodeProto.DESCRIPTOR.fields_by_name["metadata_props"].number
_BEHIND = [field.name for field in onnx.NodeProto.DESCRIPTOR.fields if field.number > _METADATA]
_NAME = onnx.NodeProto.DESCRIPTOR.fields_by_name["name"].number
Patch = Mapping[str, str | None]


def apply_patches(model: Model, tails: dict[int, bytes] | None = None) -> None:
    """Write every patch of ``model`` into its source proto.

    Args:
        model: the model.
        tails: takes, by position of a node in the main graph, what is written behind the node's own bytes, where a
            patch only adds metadata. It is not in the source then.
    """
    blocks: dict[int, bytes] = {}  # by identity: equal attributions share one patch, which no one changes
    for graph in model.graphs():
        behind = tails if graph is model.main else None
        for position, node in enumerate(graph.nodes):
            patch = node.patch
            proto = node.proto
            if proto is None:
                continue
            if patch and node.applied is not patch:
                block = blocks.get(id(patch))
                if block is None:
                    block = blocks[id(patch)] = wire.metadata(onnx.NodeProto, patch)
                keys = node.source_keys()
                adds = patch.keys().isdisjoint(keys)
                if adds and behind is not None and _ends_with_metadata(proto):
                    behind[position] = block
                else:
                    node.applied = patch
                    if not adds:
                        _change(proto, patch, keys, block)
                    elif block:
                        proto.MergeFromString(block)
                    node.forget_source_keys()
            if node.doc_patch is not None:
                _set_doc(proto, node.doc_patch)
            if node.name_patch is not None:
                _set_name(proto, node.name_patch)
    if model.patch:
        _set_or_replace(model.proto, model.patch)


def patch_new(node: Node, proto: onnx.NodeProto) -> None:
    """Write the patches of a node that has no source into the proto made for it."""
    if node.patch:
        proto.MergeFromString(wire.metadata(onnx.NodeProto, node.patch))
    if node.doc_patch is not None:
        _set_doc(proto, node.doc_patch)


def _ends_with_metadata(proto: onnx.NodeProto) -> bool:
    """Whether nothing is written behind a node's metadata: fields with higher numbers, or such as aren't known here."""
    for name in _BEHIND:
        if getattr(proto, name):
            return False
    return not has_unknown(proto)


def _change(proto: onnx.NodeProto, patch: Patch, keys: Sequence[str], block: bytes) -> None:
    if block:
        _set_or_replace(proto, patch)
    else:
        _remove(proto, [place for place, key in enumerate(keys) if key in patch])


def _remove(proto: onnx.NodeProto, places: list[int]) -> None:
    entries = proto.metadata_props
    if places[-1] - places[0] == len(places) - 1:
        del entries[places[0] : places[-1] + 1]
        return
    for place in reversed(places):
        del entries[place]


def _set_or_replace(proto: onnx.NodeProto | onnx.ModelProto, patch: Patch) -> None:
    entries = proto.metadata_props
    found: set[str] = set()
    stale: list[int] = []
    for index, entry in enumerate(entries):
        key = text(entry.key)
        if key not in patch:
            continue
        value = patch[key]
        if value is None or key in found:
            stale.append(index)
            continue
        found.add(key)
        if text(entry.value) != value:
            wire.set_value(entry, value)
    for index in reversed(stale):
        del entries[index]
    block = wire.metadata(type(proto), {key: value for key, value in patch.items() if key not in found})
    if block:
        proto.MergeFromString(block)


def _set_name(proto: onnx.NodeProto, name: str | Absent) -> None:
    if isinstance(name, Absent):
        proto.ClearField("name")
    elif not proto.HasField("name") or text(proto.name) != name:
        proto.MergeFromString(wire.string(_NAME, name))


def _set_doc(proto: onnx.NodeProto, doc: str | Absent) -> None:
    if isinstance(doc, Absent):
        proto.ClearField("doc_string")
    elif not proto.HasField("doc_string") or text(proto.doc_string) != doc:
        proto.MergeFromString(wire.string(_DOC, doc))
