"""The module graph as text that other programs draw: DOT for Graphviz, Mermaid for documents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modelexport.ir.text import shown
from modelexport.views.data import ROOT, ViewData
from modelexport.views.levels import Box, Edge, module_graph
from modelexport.views.overlays import Overlay

MERMAID_EDGES, MERMAID_TEXT = 500, 50_000  # what Mermaid draws unless it is configured otherwise
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _.-,:/%+()")


def dot(data: ViewData, depth: int = 2, overlays: Sequence[Overlay] = ()) -> str:
    """The module graph as DOT; modules above ``depth`` are clusters, edges to them end at their border."""
    graph = module_graph(data, depth)
    lines = [
        f"digraph {_quoted(shown(data.title))} {{",
        "  compound=true; rankdir=TB; fontname=Helvetica; color=gray60; style=rounded;",
        '  node [shape=box, style="rounded,filled", fillcolor="#eef3f8", color=gray50, fontname=Helvetica];',
        "  edge [color=gray40, fontname=Helvetica];",
    ]
    lines += _dot_box(graph.root, data, overlays)
    lines += [_dot_edge(edge) for edge in graph.edges]
    return "\n".join([*lines, "}", ""])


def _dot_box(root: Box, data: ViewData, overlays: Sequence[Overlay]) -> Iterator[str]:
    stack: list[tuple[Box | None, int]] = [(root, 1)]
    while stack:
        box, level = stack.pop()
        indent = "  " * level
        if box is None:
            yield f"{indent}}}"
        elif box.boxes:
            yield f"{indent}subgraph cluster_{box.number} {{"
            yield f"{indent}  label={_lines(_label(box, data, overlays))};"
            stack.append((None, level))
            stack.extend((inner, level + 1) for inner in reversed(box.boxes))
        else:
            yield f"{indent}{box.number} [label={_lines(_label(box, data, overlays))}];"


def _dot_edge(edge: Edge) -> str:
    options = [f'tooltip="{edge.values} value{"" if edge.values == 1 else "s"}"']
    if edge.source.boxes:
        options.append(f"ltail=cluster_{edge.source.number}")
    if edge.target.boxes:
        options.append(f"lhead=cluster_{edge.target.number}")
    if edge.faint:
        options.append("style=dashed, color=gray70")
    return f"  {edge.ends[0].number} -> {edge.ends[1].number} [{', '.join(options)}];"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _lines(lines: Sequence[str]) -> str:
    return '"' + "\\n".join(_quoted(line)[1:-1] for line in lines) + '"'


def mermaid(data: ViewData, depth: int = 2, overlays: Sequence[Overlay] = ()) -> str:
    """The module graph as a Mermaid flowchart; see :func:`mermaid_warning` for what Mermaid refuses."""
    graph = module_graph(data, depth)
    lines = ["flowchart TB"]
    stack: list[tuple[Box | None, int]] = [(graph.root, 1)]
    while stack:
        box, level = stack.pop()
        indent = "  " * level
        if box is None:
            lines.append(f"{indent}end")
            continue
        label = "<br/>".join(_entities(line) for line in _label(box, data, overlays))
        if box.boxes:
            lines.append(f'{indent}subgraph {box.number}["{label}"]')
            stack.append((None, level))
            stack.extend((inner, level + 1) for inner in reversed(box.boxes))
        else:
            lines.append(f'{indent}{box.number}["{label}"]')
    for edge in graph.edges:
        lines.append(f"  {edge.source.number} {'-.->' if edge.faint else '-->'} {edge.target.number}")
    return "\n".join([*lines, ""])


def mermaid_warning(data: ViewData, depth: int, text: str) -> str:
    """Why Mermaid will refuse the picture, and which depth fits; ``""`` where it will not."""
    edges = len(module_graph(data, depth).edges)
    if edges <= MERMAID_EDGES and len(text) <= MERMAID_TEXT:
        return ""
    what = f"{edges} edges" if edges > MERMAID_EDGES else f"{len(text)} characters"
    limit = MERMAID_EDGES if edges > MERMAID_EDGES else MERMAID_TEXT
    for smaller in range(depth - 1, -1, -1):
        if len(module_graph(data, smaller).edges) <= MERMAID_EDGES and len(mermaid(data, smaller)) <= MERMAID_TEXT:
            return f"{what}: Mermaid draws at most {limit} unless it is configured otherwise; --depth {smaller} fits"
    return f"{what}: Mermaid draws at most {limit} unless it is configured otherwise"


def _entities(text: str) -> str:
    return "".join(letter if letter in _PLAIN else f"#{ord(letter)};" for letter in text)


def _label(box: Box, data: ViewData, overlays: Sequence[Overlay]) -> list[str]:
    module = box.module
    if box.own:
        return ["(own)", _nodes(module.own)]
    name = shown(module.name) if module.parent >= 0 else ROOT
    about = [shown(module.class_name)] if module.class_name else []
    lines = [name, ", ".join([*about, _nodes(module.inside)])]
    for overlay in overlays:
        value = overlay.modules.get(module.index)
        if value is not None:
            lines.append(f"{shown(overlay.name)} {overlay.text(value)}")
    return lines


def _nodes(count: int) -> str:
    return f"{count} node{'' if count == 1 else 's'}"
