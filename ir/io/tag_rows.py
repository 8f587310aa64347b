"""One row per node, read from a model's own tags or from its sidecar, whichever size they have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from modelexport.ir.attribution import Attribution
from modelexport.ir.errors import InputError, SidecarNotFoundError
from modelexport.ir.identity.file_kinds import told
from modelexport.ir.io import embedded_tags
from modelexport.ir.io.embedded_tags import tag_in_doc
from modelexport.ir.io.json_stream import JsonStream
from modelexport.ir.io.merged_tags import Parts, parts_of
from modelexport.ir.io.own_records import take_tags
from modelexport.ir.io.reader import load_model
from modelexport.ir.io.sidecar import node_keys, read_sidecar, sidecar_path
from modelexport.ir.model import Model
from modelexport.ir.modules import Module
from modelexport.ir.node import Node
from modelexport.ir.operators import role
from modelexport.ir.text import shown

_MOST = 2**31 - 1  # of a count that can be embedded again


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
    """Rows of a model in memory: what its nodes carry, or, where none carries anything, the embedded table."""
    record_of = _lookup(model, parts_of(model, model.warnings))
    for key, node in node_keys(model):
        found = record_of(node)
        about = role(node.op_type, node.domain)
        if found is None:
            yield TagRow(key, node.op_type, (), None, "", "", 0.0, about)
        else:
            tags = (found.tag,) if found.tag else ()
            yield TagRow(key, node.op_type, tags, found.path, str(found.source), found.rule, found.confidence, about)


def attributed_rows(model: Model) -> Iterator[TagRow]:
    """Rows of a model in memory, from the attributions of its nodes."""
    for key, node in node_keys(model):
        found, about = node.attribution, role(node.op_type, node.domain)
        if found is None:
            yield TagRow(key, node.op_type, (), None, "", "", 0.0, about)
        else:
            tags = (model.modules.tag(found.path),)
            share = round(found.confidence, 2)
            yield TagRow(key, node.op_type, tags, found.path, str(found.source), found.rule, share, about)


def _own_record(node: Node, parts: Parts) -> embedded_tags.Record | None:
    """The tag in the node's metadata, else in its doc string."""
    metadata = node.metadata
    if embedded_tags.PATH not in metadata and node.doc_string:
        metadata = tag_in_doc(node.doc_string) or metadata
    found = embedded_tags.read_node(metadata)
    return None if found is None else parts.own(node, found, metadata)


def _lookup(model: Model, parts: Parts) -> Callable[[Node], embedded_tags.Record | None]:
    """Finds what nodes carry, or, where none carries anything, what the embedded table says of them.

    The table is what optimisers leave when they drop node metadata.
    """
    if any(_own_record(node, parts) is not None for node in model.nodes()):
        return lambda node: _own_record(node, parts)
    tables = parts.tables()
    if tables is None:
        return lambda node: None

    def lookup(node: Node) -> embedded_tags.Record | None:
        found = tables.find(node)
        return found[0] if found is not None else None

    return lookup


def sidecar_rows(path: str | PathLike[str]) -> Iterator[TagRow]:
    """Rows of the sidecar that belongs to the model at ``path``; the file is streamed.

    Raises:
        SidecarNotFoundError: there is no sidecar; the message has its expected name.
        InputError: it is not a sidecar.
    """
    where = existing_sidecar(path)
    try:
        with where.open(encoding="utf-8") as stream:
            document = JsonStream(stream)
            for member in document.members():
                if member != "node_tags" or not document.at_object():
                    document.skip()
                    continue
                for key in document.members():
                    yield _row(key, document.value(), where)
    except (ValueError, RecursionError) as error:
        why = str(error) or "nested too deeply"
        raise InputError(f"{where}: not a sidecar{told(where, f': {why}')}") from error


def best_rows(model: Model, path: str | PathLike[str], source: str = "") -> tuple[list[TagRow], str]:
    """Rows and where they are from, ``model`` or ``sidecar``: the one asked for, else the model where it has tags."""
    if source != "sidecar":
        rows = list(rows_of(model))
        if source == "model" or any(row.tags for row in rows) or not sidecar_path(Path(path)).is_file():
            return rows, "model"
    return list(sidecar_rows(path)), "sidecar"


def tagged_model(path: str | PathLike[str], source: str = "") -> Model:
    """The model with the attributions that are on record for its nodes, and the module table where there is one.

    Args:
        source: ``model`` or ``sidecar``; by default the model where it has tags, else the sidecar where there is one.

    Raises:
        SidecarNotFoundError: the sidecar was asked for, and there is none.
        InputError: a file can't be read.
    """
    model = load_model(path)
    alone = source == "model" or not sidecar_path(Path(path)).is_file()
    if source != "sidecar" and (take_tags(model, "record", model.warnings) or alone):
        return model
    where = existing_sidecar(path)
    entries = read_sidecar(where).get("modules", [])
    _add_modules(model, [entry for entry in entries if isinstance(entry, dict)])
    by_key = {row.key: row for row in sidecar_rows(path)}
    shared: dict[tuple[str, str, str, float], Attribution] = {}
    for key, node in node_keys(model):
        row = by_key.get(key)
        if row is None or row.path is None or not row.tags:
            continue
        what = (row.path, row.source, row.rule, row.confidence)
        if what not in shared:
            record = embedded_tags.record(row.path, row.tag, row.source, row.rule, row.confidence)
            if record is None:
                raise InputError(f"{path}: node {shown(key)}: its tag is damaged")
            if record.path not in model.modules:
                model.modules.add(Module(record.path, tag=record.tag))
            shared[what] = record.attribution("record", where.name)
        node.attribute_to(shared[what])
    return model


def _add_modules(model: Model, entries: list[dict[str, Any]]) -> None:
    rows = Counter(str(entry.get("tag", "")) for entry in entries)
    for entry in entries:
        calls, aliases, same_as = entry.get("calls", 1), entry.get("aliases", []), entry.get("same_as")
        parameters = entry.get("parameters", 0)
        model.modules.add(
            Module(
                str(entry.get("path", "")),
                str(entry.get("class", "")),
                _count(calls, 1),
                tuple(map(str, aliases)) if isinstance(aliases, list) else (),
                _count(parameters, 0),
                tag=own_tag(entry, rows),
                same_as=same_as if isinstance(same_as, str) else None,
            )
        )


def own_tag(entry: Mapping[str, Any], rows: Mapping[str, int]) -> str:
    """The tag in a sidecar's row of a module; "" where it has to be computed: it is that of a module around it.

    Args:
        rows: how many rows have each tag. Several have one where torch.nn modules are not named.
    """
    tag = str(entry.get("tag", ""))
    return "" if entry.get("class") and rows[tag] > 1 else tag


def existing_sidecar(path: str | PathLike[str]) -> Path:
    """Path of a model's sidecar. Raises FileNotFoundError naming the expected file."""
    where = sidecar_path(Path(path))
    if not where.is_file():
        raise SidecarNotFoundError(f"{path}: no sidecar: expected {where.name} beside it")
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
        str(entry.get("source") or ""),
        str(entry.get("rule") or ""),
        _number(entry.get("confidence")),
        str(entry.get("role") or role(op_type)),
    )


def _count(value: Any, otherwise: int) -> int:
    return value if isinstance(value, int) and 0 <= value <= _MOST else otherwise


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return 0.0
