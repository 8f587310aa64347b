"""One row per node, read from a model's own tags or from its sidecar, whichever size they have."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from modelexport.core.json_stream import JsonStream
from modelexport.ir.errors import InputError
from modelexport.ir.io.reader import load_model
from modelexport.ir.io.sidecar import node_keys, sidecar_path
from modelexport.ir.model import Model
from modelexport.ir.operators import role


@dataclass(frozen=True, slots=True)
class TagRow:
    """What is recorded about one node. ``tags`` is empty, ``path`` None and ``confidence`` 0.0 where nothing is."""

    key: str
    op_type: str
    tags: tuple[str, ...]
    path: str | None
    source: str
    rule: str
    confidence: float
    role: str

    @property
    def tag(self) -> str:
        """The first tag, or ""."""
        return self.tags[0] if self.tags else ""


def model_rows(path: str | PathLike[str]) -> Iterator[TagRow]:
    """Rows of every node at every depth, from the model's own tags. Raises InputError."""
    return rows_of(load_model(path))


def rows_of(model: Model) -> Iterator[TagRow]:
    """Rows of a model in memory: node metadata, or, where no node has any of ours, the embedded table."""
    for key, node in node_keys(model):
        found = node.metadata
        tag = found.get("htp.tag", "")
        yield TagRow(
            key,
            node.op_type,
            (tag,) if tag else (),
            found.get("htp.path") if tag else None,
            found.get("htp.source", ""),
            found.get("htp.rule", ""),
            _number(found.get("htp.confidence", "")),
            role(node.op_type, node.domain),
        )


def sidecar_rows(path: str | PathLike[str]) -> Iterator[TagRow]:
    """Rows of the sidecar that belongs to the model at ``path``; the file is streamed.

    Raises:
        FileNotFoundError: there is no sidecar; the message has its expected name.
        InputError: it is not a sidecar.
    """
    where = existing_sidecar(path)
    try:
        with where.open(encoding="utf-8") as stream:
            document = JsonStream(stream)
            for member in document.members():
                if member != "node_tags" or not document.at_object():
                    document.value()
                    continue
                for key in document.members():
                    yield _row(key, document.value(), where)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{where}: not a sidecar: {error}") from error


def existing_sidecar(path: str | PathLike[str]) -> Path:
    """Path of a model's sidecar. Raises FileNotFoundError naming the expected file."""
    where = sidecar_path(Path(path))
    if not where.is_file():
        raise FileNotFoundError(f"{path}: no sidecar: expected {where.name} beside it")
    return where


def _row(key: str, entry: Any, where: Path) -> TagRow:
    if not isinstance(entry, dict) or not isinstance(entry.get("tags", []), list):
        raise InputError(f"{where}: node_tags[{key!r}] is not an entry of a sidecar")
    op_type = str(entry.get("op_type", ""))
    path = entry.get("path")
    return TagRow(
        key,
        op_type,
        tuple(str(tag) for tag in entry.get("tags", [])),
        path if isinstance(path, str) else None,
        str(entry.get("source", "")),
        str(entry.get("rule", "")),
        _number(entry.get("confidence", 0.0)),
        str(entry.get("role") or role(op_type)),
    )


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return 0.0
