"""Tags carried in a node's doc string: our JSON after a marker, behind whatever stood there before."""

from __future__ import annotations

import json
from collections.abc import Mapping

from modelexport.ir.node import Node

MARKER = "\n@htp "
_ABSENT = "absent"
_MAX = 64 * 1024


def original(node: Node) -> str | None:
    """The doc string without our part; None where there was no doc string at all."""
    doc = node.doc_string
    cut = doc.rfind(MARKER)
    fields = _fields(doc[cut + len(MARKER) :]) if cut >= 0 else None
    if fields is None:
        return doc if node.has_doc_string else None
    return None if fields.get(_ABSENT) is True and not cut else doc[:cut]


def carried(node: Node) -> Mapping[str, str] | None:
    """The tag in the doc string as metadata would hold it; None where there is none."""
    doc = node.doc_string
    cut = doc.rfind(MARKER)
    if cut < 0:
        return None
    fields = _fields(doc[cut + len(MARKER) :])
    return None if fields is None else {key: value for key, value in fields.items() if isinstance(value, str)}


def with_tag(before: str | None, tag: Mapping[str, str]) -> str:
    """The doc string ``before`` with a tag behind it."""
    fields: dict[str, object] = dict(tag)
    if before is None:
        fields[_ABSENT] = True
    return f"{before or ''}{MARKER}{json.dumps(fields, separators=(',', ':'))}"


def _fields(text: str) -> dict[str, object] | None:
    if len(text) > _MAX or not text.startswith("{"):
        return None
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) and "htp.path" in fields else None
