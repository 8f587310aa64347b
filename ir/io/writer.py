"""From a Model back to a file: what no pass changed is written as the source bytes."""

from __future__ import annotations

import os
from os import PathLike
from pathlib import Path

import onnx

from modelexport.ir.model import Model


def to_bytes(model: Model) -> bytes:
    """Serialize ``model``, deterministically."""
    for node in model.nodes():
        if node.patch and node.proto is not None:
            _patch(node.proto, dict(node.patch))
    if model.patch:
        _patch(model.proto, dict(model.patch))
    data: bytes = model.proto.SerializeToString(deterministic=True)
    return data


def _patch(proto: onnx.NodeProto | onnx.ModelProto, changes: dict[str, str | None]) -> None:
    kept = [entry for entry in proto.metadata_props if entry.key not in changes]
    if len(kept) != len(proto.metadata_props):
        entries = [(entry.key, entry.value) for entry in kept]
        del proto.metadata_props[:]
        for key, value in entries:
            proto.metadata_props.add(key=key, value=value)
    for key, new in changes.items():
        if new is not None:
            proto.metadata_props.add(key=key, value=new)


def save_model(model: Model, path: str | PathLike[str], *, external_data: str = "copy") -> None:
    """Write ``model`` to ``path`` atomically."""
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    temporary.write_bytes(to_bytes(model))
    temporary.replace(target)
