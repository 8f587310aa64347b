"""ONNX text with comments that say what ONNX text can't: scopes, metadata, modules. Read by ``passes.testing``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

import onnx
import onnx.parser

HEADER = '<ir_version: 10, opset_import: ["" : 18]>\n'
_DIRECTIVE = re.compile(r"\s*(scope|meta|module|model-meta):(.*)")


@dataclass(frozen=True, slots=True)
class Directive:
    """One comment that says something; ``line`` is its source line, for messages."""

    kind: str
    value: str
    line: str


def read_text(text: str) -> tuple[onnx.ModelProto, list[tuple[int, Directive]], list[Directive]]:
    """The proto with its metadata, the scopes with the index of their node in text order, and the modules.

    Raises:
        ValueError: the text is not ONNX text, or a directive has no node.
    """
    plain, found, node_count = _scan(text)
    if not plain.lstrip().startswith("<"):
        plain = HEADER + plain
    try:
        proto = onnx.parser.parse_model(plain)
    except onnx.parser.ParseError as error:
        raise ValueError(f"not ONNX text: {error}") from None
    owners: list[onnx.GraphProto | onnx.FunctionProto] = [proto.graph, *proto.functions]
    nodes = [node for owner in owners for node in _nodes(owner)]
    if len(nodes) != node_count:
        raise ValueError(f"found {node_count} nodes in the text, the parser {len(nodes)}: write one node per line")
    scopes: list[tuple[int, Directive]] = []
    modules: list[Directive] = []
    for index, directive in found:
        if directive.kind == "module":
            modules.append(directive)
        elif directive.kind == "model-meta":
            _add_metadata(proto, directive)
        elif index < 0:
            raise ValueError(f"no node stands before {directive.line.strip()!r}")
        elif directive.kind == "meta":
            _add_metadata(nodes[index], directive)
        else:
            scopes.append((index, directive))
    return proto, scopes, modules


def _scan(text: str) -> tuple[str, list[tuple[int, Directive]], int]:
    """The text without directives, each directive with the index of the node that began last, the number of nodes.

    A node begins where ``=`` stands directly inside the braces of a graph: not in an attribute list, and not in the
    braces of data, which follow an ``=``.
    """
    plain: list[str] = []
    found: list[tuple[int, Directive]] = []
    open_brackets: list[str] = []
    nodes = 0
    previous = ""
    for token in re.finditer(r'"(?:\\.|[^"\\])*"|#[^\n]*|=>|[\w.:/-]+|\s+|.', text):
        piece = token.group()
        directive = _DIRECTIVE.fullmatch(piece[1:]) if piece[0] == "#" else None
        if directive is not None:
            start = text.rfind("\n", 0, token.start()) + 1
            line = text[start : token.end()]
            found.append((nodes - 1, Directive(directive.group(1), directive.group(2).strip(), line)))
            continue
        plain.append(piece)
        if piece.isspace() or piece[0] == "#":
            continue
        if piece in ("{", "<", "(", "["):
            open_brackets.append("data" if piece == "{" and previous == "=" else piece)
        elif piece in ("}", ">", ")", "]"):
            if open_brackets:
                open_brackets.pop()
        elif piece == "=" and open_brackets and open_brackets[-1] == "{":
            nodes += 1
        previous = piece
    return "".join(plain), found, nodes


def _nodes(owner: onnx.GraphProto | onnx.FunctionProto) -> Iterator[onnx.NodeProto]:
    for node in owner.node:
        yield node
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs) if attribute.HasField("g") else attribute.graphs:
                yield from _nodes(body)


def _add_metadata(owner: onnx.NodeProto | onnx.ModelProto, directive: Directive) -> None:
    value = directive.value
    if value.startswith("{"):
        entries = json.loads(value)
    else:
        key, equals, rest = value.partition("=")
        if not equals:
            raise ValueError(f"metadata is KEY=VALUE or a JSON object, not {directive.line.strip()!r}")
        entries = {key.strip(): rest.strip()}
    for key, text in entries.items():
        owner.metadata_props.add(key=key, value=text)
