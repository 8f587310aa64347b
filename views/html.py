"""A model as one HTML page that needs nothing else: no server, no network, no other file."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from modelexport.views.data import ViewData
from modelexport.views.overlays import Overlay
from modelexport.views.page_data import page_data

PAGE = Path(__file__).parent / "page"
SCRIPTS = ("vendor/dagre.min.js", "model.js", "colours.js", "layout.js", "graph.js", "tree.js", "details.js", "page.js")


def html_page(data: ViewData, overlays: Sequence[Overlay] = (), *, selector: str = "") -> str:
    """The page as text. Names from the model are data in it, never markup.

    Args:
        selector: what the picture is limited to, to be shown; ``""`` where it is the whole model.
    """
    script = "\n".join(_read(name) for name in SCRIPTS)
    style = _read("page.css")
    policy = f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'"
    policy += "; base-uri 'none'; form-action 'none'"
    parts = {
        "title": html.escape(data.title),
        "policy": policy,
        "style": style,
        "licence": html.escape(_read("vendor/dagre.LICENSE.txt")).replace("--", "- -"),
        "data": _embedded(page_data(data, overlays, selector=selector)),
        "script": script,
    }
    return "".join(_filled(_read("page.html"), parts))


def _read(name: str) -> str:
    return (PAGE / name).read_text(encoding="utf-8")


def _filled(template: str, parts: dict[str, str]) -> Iterator[str]:
    """The template with each ``{{name}}`` replaced, once; what is put in is not looked at again."""
    head, *rest = template.split("{{")
    yield head
    for piece in rest:
        name, _, text = piece.partition("}}")
        yield parts[name]
        yield text


def _hash(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode("utf-8")).digest()).decode("ascii")


def _embedded(content: Any) -> str:
    """JSON for a script element: no character that could end the element or open a comment in it."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
