"""What this project writes into a file, and how it reads it back: the one place that knows the names and the forms.

- Node metadata ``htp.*``: path, tag, source, rule and confidence, and under ``htp.added`` which keys were written for
  other tools (viewers' namespaces, torch's name scopes, winml's hierarchy tags).
- The same in a node's doc string: JSON after a marker, behind whatever stood there before.
- Two tables in the model's metadata, of modules and of nodes, which survive optimisers that drop node metadata.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from modelexport.ir.attribution import Attribution, Source
from modelexport.ir.model import Model
from modelexport.ir.modules import Module
from modelexport.ir.modules.module import is_path
from modelexport.ir.node import Node

TAG, PATH, SOURCE, RULE, CONFIDENCE = "htp.tag", "htp.path", "htp.source", "htp.rule", "htp.confidence"
ADDED = "htp.added"
NODE_KEYS = (TAG, PATH, SOURCE, RULE, CONFIDENCE)
MODEL = "htp.model"  # on a node: the digest in the keys of the model that it is from
SCHEMA, PIPELINE, MODULES, NODES = "htp.schema", "htp.pipeline", "htp.modules", "htp.nodes"
MODEL_KEYS = (SCHEMA, PIPELINE, MODULES, NODES)
CUT = "torch-nn=false"  # in a recorded pipeline: tags stop at the module that uses those of torch.nn
OLD_NAME, OLD_NAMES = "htp.name", "htp.names"  # written by node-naming, the second with a digest behind it
PLACEMENT, OLD_PLACEMENT = "layer_ann", "htp.placement"  # written by layer-annotation
SCHEMA_VERSION = "1"
_OLD_NAMES_KEY = re.compile(r"htp\.names(?:\.[0-9a-f]{8})?")
_KEYED = re.compile(r"htp\.(?:pipeline|modules|nodes)\.[0-9a-f]{8}")

_BASE_BYTES, _BYTES_PER_NODE, _CHUNK = 16 * 1024 * 1024, 512, 1 << 20
_VERSIONS = {"modules": 2, "nodes": 1, "names": 1, "values": 1}
_SOURCES = {str(source): source for source in Source}

NAMESPACE = "namespace"
NAME_SCOPES, CLASS_HIERARCHY = "pkg.torch.onnx.name_scopes", "pkg.torch.onnx.class_hierarchy"
WINML_TAG, WINML_DEPTH = "winml.hierarchy.tag", "winml.hierarchy.depth"
VIEWER_KEYS = (NAMESPACE, NAME_SCOPES, CLASS_HIERARCHY, WINML_TAG, WINML_DEPTH)
Interop = Literal["none", "namespace", "torch", "winml"]

_MARKER = "\n@htp "  # in a doc string, between what stood there and our JSON
_ABSENT = "absent"  # there was no doc string at all
_MAX_DOC, _MAX_TAG = 64 * 1024, 8192


class BadTable(ValueError):
    """A table that is not what attribute-embedding writes; it is ignored with a warning."""


@dataclass(frozen=True, slots=True)
class Record:
    """One earlier tag."""

    path: str
    tag: str
    source: Source
    rule: str
    confidence: float

    def attribution(self, by: str, key: str) -> Attribution:
        """The attribution it stands for; ``key`` says where it was read, as evidence."""
        return Attribution(self.path, self.source, self.rule, self.confidence, (key, self.tag), by)


class Table(NamedTuple):
    """One table as it was written: modules, name of the graph, and rows of scope, node name, first output, record."""

    modules: list[Module]
    graph: str
    rows: list[tuple[str, str, str, Record]]


def read_node(metadata: Mapping[str, str]) -> Record | None:
    """The tag in a node's metadata; None when it has none or it is damaged."""
    path = metadata.get(PATH)
    if path is None:
        return None
    said = metadata.get
    return _read_record(path, said(TAG, ""), said(SOURCE, ""), said(RULE, ""), said(CONFIDENCE, ""))


@lru_cache(4096)  # nodes of one module stand together
def _read_record(path: str, tag: str, source: str, rule: str, confidence: str) -> Record | None:
    return record(path, tag, source, rule, confidence)


def record(path: object, tag: object, source: object, rule: object, confidence: object) -> Record | None:
    """A record made from untrusted fields, or None when one of them can't be."""
    if not isinstance(path, str) or not isinstance(tag, str) or not is_path(path) or len(tag) > _MAX_TAG:
        return None
    known = _SOURCES.get(source) if isinstance(source, str) else None
    if known is None or not isinstance(rule, str) or len(rule) > 64 or not rule.isprintable() or not tag.isprintable():
        return None
    try:
        share = float(confidence) if isinstance(confidence, (str, int, float)) else -1.0
    except (ValueError, OverflowError):
        return None
    if not 0.0 <= share <= 1.0:
        return None
    return Record(path, tag, known, rule, share)


def digest_of(*parts: str) -> str:
    """What the keys of one tagged model carry, so that models can be merged: 8 hexadecimal digits."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "backslashreplace")).hexdigest()[:8]


def own_keys(metadata: Mapping[str, str]) -> list[str]:
    """The keys of a model's metadata that are ours, with a digest or without."""
    return [key for key in metadata if key in MODEL_KEYS or _KEYED.fullmatch(key)]


def old_names_keys(metadata: Mapping[str, str]) -> list[str]:
    """The keys of a model's metadata that hold old names, one for each model that a file was merged of."""
    return [key for key in metadata if _OLD_NAMES_KEY.fullmatch(key)]


def pipeline_of(metadata: Mapping[str, str]) -> str | None:
    """The text of the pipeline that tagged a model; of merged models the first one's. None for a file without tags."""
    return next((metadata[key] for key in own_keys(metadata) if key.startswith(PIPELINE)), None)


def is_of_several(metadata: Mapping[str, str]) -> bool:
    """Whether more than one model that was tagged is in the file, with a table or without, as each one's pipeline
    tells."""
    return sum(key.startswith(PIPELINE) for key in own_keys(metadata)) > 1


def packed_tables(metadata: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Digest, packed modules and packed nodes of every table in a model's metadata."""
    digests = [key[len(MODULES) :] for key in own_keys(metadata) if key.startswith(MODULES)]
    return [
        (digest.removeprefix("."), metadata[MODULES + digest], metadata[NODES + digest])
        for digest in digests
        if NODES + digest in metadata
    ]


def read_table(packed_modules: str, packed_nodes: str, budget: int) -> Table:
    """One table.

    Raises:
        BadTable: it is damaged, of an unknown version, or larger than the graph can account for.
    """
    rows, graph = unpack_named(packed_modules, budget, "modules")
    modules = _modules(rows)
    return Table(modules, graph, _node_rows(unpack(packed_nodes, budget, "nodes"), modules))


def _node_rows(rows: list[Any], modules: list[Module]) -> list[tuple[str, str, str, Record]]:
    """Checked rows of a node table: there is one for every node, and few different records."""
    found: list[tuple[str, str, str, Record]] = []
    known: dict[tuple[Any, ...], Record] = {}
    try:
        for scope, name, output, *said in rows:
            key = tuple(said)
            record = known.get(key)
            if record is None:
                record = known[key] = _row_record(said, modules)
            found.append((scope, name, output, record))
        "".join([text for row in found for text in row[:3]])
        if not {type(row[3]) for row in rows} <= {int}:  # True and 1.0 are equal to 1
            raise BadTable("a row of the node table names no module")
    except (TypeError, ValueError) as error:
        if isinstance(error, BadTable):
            raise
        raise BadTable("a row of the node table is not three names, a module and what was found") from error
    return found


def _row_record(said: list[Any], modules: list[Module]) -> Record:
    """The record of what a row says behind its names. Raises BadTable."""
    if len(said) != 4:
        raise BadTable("a row of the node table is not 7 fields long")
    index, source, rule, share = said
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(modules):
        raise BadTable("a row of the node table names no module")
    module = modules[index]  # which is checked already
    valid = record("", "", source, rule, share) if isinstance(share, (int, float)) else None
    if valid is None or len(module.tag) > _MAX_TAG:
        raise BadTable("a row of the node table has no valid source, rule or confidence")
    return Record(module.path, module.tag, valid.source, valid.rule, valid.confidence)


def read_modules(packed: str, budget: int) -> list[Module]:
    """The modules of one table. Raises BadTable."""
    return _modules(unpack(packed, budget, "modules"))


def table_budget(model: Model) -> int:
    """How many bytes a table of ``model`` may unpack to."""
    return _BASE_BYTES + _BYTES_PER_NODE * sum(len(graph) for graph in model.graphs())


def _modules(rows: Iterable[object]) -> list[Module]:
    modules = []
    for row in rows:
        if not isinstance(row, list) or len(row) not in (4, 6):
            raise BadTable("a row of the module table is not 4 or 6 fields long")
        path, cls, tag, calls, same_as, parameters = (*row, None, 0)[:6]
        if not (isinstance(path, str) and isinstance(cls, str) and isinstance(tag, str) and isinstance(calls, int)):
            raise BadTable("a row of the module table has fields of the wrong type")
        if not isinstance(parameters, int) or not (same_as is None or isinstance(same_as, str)):
            raise BadTable("a row of the module table has fields of the wrong type")
        if not is_path(path) or not 0 <= calls < 2**31 or not cls.isprintable() or not tag.isprintable():
            raise BadTable("a row of the module table is not a module")
        if not 0 <= parameters < 2**63 or not is_path(same_as or ""):
            raise BadTable("a row of the module table is not a module")
        modules.append(Module(path, cls, calls, parameters=parameters, tag=tag, same_as=same_as))
    return modules


def pack(kind: str, rows: list[list[object]], graph: str = "") -> str:
    """Rows as the present version of a table, with the graph's name: JSON, zlib, base64."""
    return pack_all({kind: rows}, _VERSIONS[kind], graph)


def pack_all(tables: Mapping[str, list[list[object]]], version: int = 1, graph: str = "") -> str:
    """Rows of several kinds in one table."""
    content = {"v": version, **tables, **({"graph": graph} if graph else {})}
    return _packed(json.dumps(content, separators=(",", ":")))


def pack_written(kind: str, rows: Iterable[str]) -> str:
    """Rows that are JSON already, each without a space behind commas; the same text as :func:`pack` gives."""
    return _packed(f'{{"v":{_VERSIONS[kind]},"{kind}":[{",".join(rows)}]}}')


def _packed(text: str) -> str:
    return base64.b64encode(zlib.compress(text.encode("ascii"), 1)).decode("ascii")


def unpack(packed: str, budget: int, kind: str) -> list[object]:
    """The rows of a packed table, decompressing at most ``budget`` bytes. Raises BadTable."""
    return unpack_named(packed, budget, kind)[0]


def unpack_named(packed: str, budget: int, kind: str) -> tuple[list[object], str]:
    """The rows of a packed table and the name of its graph. Raises BadTable."""
    if len(packed) > budget:
        raise BadTable(f"the {kind} table is larger than the graph can account for")
    try:
        compressed = base64.b64decode(packed, validate=True)
        decompressor = zlib.decompressobj()
        data = decompressor.decompress(compressed, budget)
    except (binascii.Error, ValueError, zlib.error) as error:
        raise BadTable(f"the {kind} table is damaged") from error
    if decompressor.unconsumed_tail or not decompressor.eof:
        raise BadTable(f"the {kind} table is truncated or larger than the graph can account for")
    try:
        table = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadTable(f"the {kind} table is not JSON") from error
    if (
        not isinstance(table, dict)
        or table.get("v") not in range(1, _VERSIONS[kind] + 1)
        or not isinstance(table.get(kind), list)
    ):
        raise BadTable(f"the {kind} table is of an unknown version")
    rows: list[object] = table[kind]
    graph = table.get("graph", "")
    return rows, graph if isinstance(graph, str) and graph.isprintable() and len(graph) <= 256 else ""


def doc_without_tag(node: Node) -> str | None:
    """The doc string without our part; None where there was no doc string at all."""
    doc = node.doc_string
    cut = doc.rfind(_MARKER)
    fields = _doc_fields(doc[cut + len(_MARKER) :]) if cut >= 0 else None
    if fields is None:
        return doc if node.has_doc_string else None
    return None if fields.get(_ABSENT) is True and not cut else doc[:cut]


def tag_in_doc(doc: str) -> Mapping[str, str] | None:
    """The tag in a doc string as metadata would hold it; None where there is none."""
    cut = doc.rfind(_MARKER)
    if cut < 0:
        return None
    fields = _doc_fields(doc[cut + len(_MARKER) :])
    return None if fields is None else {key: value for key, value in fields.items() if isinstance(value, str)}


def doc_with_tag(before: str | None, tag: Mapping[str, str]) -> str:
    """The doc string ``before`` with a tag behind it."""
    fields: dict[str, object] = dict(tag)
    if before is None:
        fields[_ABSENT] = True
    return f"{before or ''}{_MARKER}{json.dumps(fields, separators=(',', ':'))}"


def _doc_fields(text: str) -> dict[str, object] | None:
    if len(text) > _MAX_DOC or not text.startswith("{"):
        return None
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) and PATH in fields else None
