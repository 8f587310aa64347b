"""The parts of what is shown: headers, facts, the module tree, coverage by source; each as lines of a given width."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from modelexport.frontend.monitor.config import MonitorConfig
from modelexport.frontend.monitor.data import HTPExportStep
from modelexport.frontend.monitor.screen.text import (
    Line,
    Span,
    cells,
    clean,
    fit,
    number,
    numbered,
    percent,
    seconds,
    wrap,
)
from modelexport.frontend.monitor.screen.view import Row, View
from modelexport.frontend.monitor.spelling import absent, entries, spelled

INDENT = 6
LABEL = 16


def heading(text: str, width: int) -> list[Line]:
    """A title over a double rule."""
    return [[(fit(clean(text), width).rstrip(), "header")], [("━" * width, "rule")]]


def step_header(step: HTPExportStep, took: float, width: int, failed: bool = False) -> Line:
    """``[3/8] Title ------- 0.12 s``: counter green, or red for a failed step."""
    counter = f"[{step.number}/{len(HTPExportStep)}]"
    title = f"{step.label} failed" if failed else step.label
    time = seconds(took)
    title = fit(title, min(cells(title), width - len(counter) - len(time) - 5))
    gap = max(width - len(counter) - len(title) - len(time) - 4, 1)
    style = "error" if failed else "counter"
    title_style = "error" if failed else "header"
    rule: list[Span] = [(" ", ""), ("─" * gap, "rule"), ("  ", "")]
    return [(counter, style), (" ", ""), (title, title_style), *rule, (time, "number")]


def fact(label: str, value: Any, width: int, style: str = "") -> list[Line]:
    """One labelled value; long text goes on below itself."""
    if isinstance(value, bool):
        text = "yes" if value else "no"
    elif isinstance(value, int | float):
        text = number(value) if isinstance(value, int) else f"{value:g}"
    else:
        text = clean(spelled(value))
    return paragraph(text, width, style, label)


def paragraph(text: str, width: int, style: str = "", label: str = "") -> list[Line]:
    """Text wrapped beside a label."""
    shown = clean(label.replace("_", " "))
    column = min(max(LABEL, cells(shown) + 2), width // 2)
    parts = wrap(text, max(width - INDENT - column, 10)) or [""]
    first: Line = [(" " * INDENT, ""), (f"{fit(shown, column - 1)} ", "dim"), *numbered(parts[0], style)]
    return [first, *([(" " * (INDENT + column), ""), *numbered(part, style)] for part in parts[1:])]


def message(text: str, width: int, style: str) -> list[Line]:
    """Text of any number of lines, wrapped and indented; numbers stand out."""
    room = width - INDENT
    parts = [part for line in text.splitlines() for part in wrap(clean(line), room)]
    return [[(" " * INDENT, ""), *numbered(part, style)] for part in parts]


def details(values: Mapping[str, Any], width: int, rows: int) -> Iterator[Line]:
    """Step-specific data: scalars as facts, lists of scalars and one-level mappings as short texts."""
    for label, value in values.items():
        if absent(value):
            continue
        if isinstance(value, Mapping):
            yield from listed(label, [f"{key}: {_brief(entry)}" for key, entry in entries(value)], width, rows)
        elif isinstance(value, list | tuple | set | frozenset):
            yield from listed(label, [_brief(entry) for entry in value], width, rows)
        else:
            yield from fact(label, value, width)


def listed(label: str, entries: Sequence[str], width: int, rows: int, style: str = "") -> Iterator[Line]:
    """Entries one per line beside a label, at most ``rows``; what is left out is said."""
    for position, entry in enumerate(entries[:rows]):
        yield from paragraph(clean(entry), width, style, label if not position else "")
    if len(entries) > rows:
        yield from paragraph(f"... {number(len(entries) - rows)} more", width, "dim", "" if rows else label)


def _brief(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(_brief(entry) for _, entry in entries(value) if entry is not None)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_brief(entry) for entry in value)}]"
    return spelled(value)


def tree(view: View, config: MonitorConfig, width: int) -> Iterator[Line]:
    """The module tree with the parameters and, where known, the nodes of each module and everything below it."""
    rows, too_deep, too_many = _chosen(view, config)
    guides = _guides(rows, width // 2)
    names = [_label(row) for row in rows]
    columns = [("parameters", 15)] if not view.has_nodes else [("nodes", 10), ("parameters", 15)]
    amounts = sum(size for _, size in columns)
    longest = max((cells(before) + cells(name) for before, name in zip(guides, names, strict=True)), default=0)
    room = min(width - INDENT - amounts, max(longest + 2, 40))
    margin: Span = (" " * INDENT, "")
    titles = "".join(f"{title:>{size}}" for title, size in columns)
    yield [margin, (fit("module", room), "header"), (titles, "header")]
    yield [margin, ("─" * (room + amounts), "rule")]
    for row, before, name in zip(rows, guides, names, strict=True):
        lead = fit(before, min(cells(before), room - 1))
        line: Line = [margin, (lead, "rule"), (fit(name, room - cells(lead)), "")]
        if view.has_nodes:
            line.append((f"{number(row.all_nodes):>10}", "number"))
        yield [*line, (f"{number(row.all_parameters):>15}", "number")]
    if too_deep:
        yield [margin, (f"... {number(too_deep)} more below depth {config.max_tree_depth}", "dim")]
    if too_many:
        yield [margin, (f"... {number(too_many)} more modules", "dim")]


def _label(row: Row) -> str:
    calls = f" x{row.info.calls}" if row.info.calls > 1 else ""
    name, kind = clean(row.name), clean(row.info.class_name)
    return (f"{name}: {kind}" if name and kind else name or kind or "(root)") + calls


def _chosen(view: View, config: MonitorConfig) -> tuple[list[Row], int, int]:
    """Rows to show: level by level from the top until the limit, so that a cut takes the deepest modules."""
    levels: dict[int, int] = {}
    for depth in view.depths:
        levels[depth] = levels.get(depth, 0) + 1
    left = config.max_display_nodes
    quota: dict[int, int] = {}
    for depth in sorted(levels):
        if depth <= config.max_tree_depth:
            quota[depth] = min(levels[depth], left)
            left -= quota[depth]
    rows = []
    for row in view.rows() if quota else ():
        if quota.get(row.depth, 0):
            quota[row.depth] -= 1
            rows.append(row)
    too_deep = sum(count for depth, count in levels.items() if depth > config.max_tree_depth)
    return rows, too_deep, len(view) - too_deep - len(rows)


def _guides(rows: Sequence[Row], room: int) -> list[str]:
    deepest = max((row.depth for row in rows), default=0)
    step = 3 if deepest * 3 <= room // 2 else 2 if deepest * 2 <= room // 2 else 1
    bar, branch, corner = (part[:step] for part in ("│  ", "├─ ", "└─ "))
    result: list[str] = []
    open_levels: set[int] = set()
    for row in reversed(rows):
        last = row.depth not in open_levels
        open_levels = {level for level in open_levels if level < row.depth} | {row.depth}
        bars = "".join(bar if level in open_levels else " " * step for level in range(1, row.depth))
        result.append(bars + (corner if last else branch) if row.depth else "")
    return result[::-1]


def coverage(view: View, width: int) -> Iterator[Line]:
    """Nodes by the source of their tag, with their share of all nodes as a bar."""
    margin: Span = (" " * INDENT, "")
    yield [margin, (f"{'source':<{LABEL}}{'nodes':>10}{'share':>9}", "header")]
    bar_room = min(max(width - INDENT - LABEL - 22, 0), 40)
    total = view.total_nodes
    yield [margin, ("─" * min(LABEL + 19 + 2 + bar_room, width - INDENT), "rule")]
    rows: list[tuple[str, int]] = list(view.by_source.items())
    known = sum(view.by_source.values())
    if view.tagged_nodes > known:
        rows.append(("not said", view.tagged_nodes - known))
    if total > view.tagged_nodes:
        rows.append(("untagged", total - view.tagged_nodes))
    for source, count in rows:
        share = count / total if total else 0.0
        bar = "█" * max(round(share * bar_room), 1) if count else ""
        style = "warning" if source in ("fallback", "untagged") else "good"
        yield [*_amount(clean(source), count, share), ("  ", ""), (bar, style)]
    yield _amount("tagged", view.tagged_nodes, view.coverage)


def _amount(label: str, count: int, share: float) -> Line:
    amounts = f"{number(count):>10}{percent(share):>9}"
    return [(" " * INDENT, ""), (fit(label, LABEL), ""), (amounts, "number")]


def doubtful(view: View, count: int, width: int) -> Iterator[Line]:
    """The nodes of lowest confidence, at most ``count``."""
    rows, more = view.least_certain(count)
    if not rows and not more:
        return
    margin: Span = (" " * INDENT, "")
    room = width - INDENT - 18
    left = room // 2
    titles = f"{fit('least certain nodes', left)}{fit('module', room - left)}{'source':>10}{'conf.':>8}"
    yield [margin, (titles, "header")]
    yield [margin, ("─" * (width - INDENT), "rule")]
    for confidence, key, record in rows:
        where = clean(record["path"] if record["path"] else record["tag"] or "")
        yield [
            margin,
            (fit(clean(key), left - 1) + " ", ""),
            (fit(where, room - left), "dim"),
            (f"{clean(record['source'] or ''):>10}", ""),
            (f"{confidence:>8.2f}", "number"),
        ]
    if more:
        yield [margin, (f"... {number(more)} more below confidence 1.00", "dim")]


def separated(blocks: Iterable[Iterable[Line]]) -> Iterator[list[Line]]:
    """The blocks that are not empty, each but the first with a blank line before it."""
    first = True
    for block in blocks:
        lines = list(block)
        if lines:
            yield lines if first else [[], *lines]
            first = False
