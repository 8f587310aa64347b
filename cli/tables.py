"""Reports as text: tables, the tree of modules, what a pass decided, the list of passes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from modelexport.cli.console import put, put_json


def table(header: Sequence[str], rows: Iterable[Sequence[object]], *, left: int = 1) -> str:
    """Columns under a header: the first ``left`` ones to the left, the others to the right."""
    cells = [tuple(header), *(tuple(map(_cell, row)) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    line = "  ".join(f"%{'-' if column < left else ''}{width}s" for column, width in enumerate(widths))
    return "\n".join([(line % row).rstrip() for row in cells])


def module_tree(modules: Sequence[Mapping[str, Any]], *, depth: int | None = None) -> str:
    """The tree of a summary's ``modules`` with each module's own nodes and those of its whole subtree."""
    depths: dict[str, int] = {}
    tags: dict[str, str] = {}
    rows: list[tuple[str, object, object, str, str]] = []
    for module in modules:
        parent = module["parent"]
        level = depths.get(parent, -1) + 1 if parent is not None else 0
        depths[module["path"]], tags[module["path"]] = level, module["tag"]
        above = tags.get(parent, "") if parent is not None else ""
        segment = module["tag"].removeprefix(above + "/") if above else module["tag"]
        if depth is None or level <= depth:
            sure = module["confidence"]
            shares = (f"{module['share']:.1%}", "" if sure is None else f"{sure:.2f}")
            rows.append((f"{'  ' * level}{segment}", module["nodes"], module["total_nodes"], *shares))
    return table(("module", "nodes", "with inner", "share", "confidence"), rows)


def down_to(modules: list[dict[str, Any]], depth: int | None) -> list[dict[str, Any]]:
    """The rows of a summary's ``modules`` down to this level; the root is 0."""
    if depth is None:
        return modules
    levels: dict[str, int] = {}
    for module in modules:
        levels[module["path"]] = 0 if module["parent"] is None else levels.get(module["parent"], 0) + 1
    return [module for module in modules if levels[module["path"]] <= depth]


def summary_text(summary: Mapping[str, Any], depth: int | None = None) -> str:
    """A summary for people: totals, coverage by source, the module tree."""
    from modelexport.passes.report import confidence_text

    sure = f" ({confidence_text(summary['confidence'])})" if summary["tagged_operations"] else ""
    total, tagged, unique = (summary[key] for key in ("total_operations", "tagged_operations", "unique_tags"))
    parts = [
        f"{summary['model_path']}: {tagged} of {total} nodes tagged{sure}, "
        f"{unique} different {'tag' if unique == 1 else 'tags'}",
        source_table(summary),
    ]
    if summary["modules"]:
        parts.append(module_tree(summary["modules"], depth=depth))
    return "\n\n".join(part for part in parts if part)


def source_table(summary: Mapping[str, Any]) -> str:
    """Coverage by source, the untagged last."""
    total = summary["total_operations"]
    counts = dict(summary["by_source"])
    if total > summary["tagged_operations"]:
        counts["(no tag)"] = total - summary["tagged_operations"]
    return table(("source", "nodes", "share"), [(name, n, f"{n / total:.1%}") for name, n in counts.items()])


def print_report(
    summary: Mapping[str, Any], form: str = "table", *, to_stderr: bool = False, depth: int | None = None
) -> None:
    """Print a summary as ``table`` or ``json``. Raises ReaderGone."""
    if form == "json":
        put_json(summary, to_stderr=to_stderr)
    else:
        put(summary_text(summary, depth), to_stderr=to_stderr)


def explanation_text(
    name: str, skipped: str, notes: Mapping[str, object], decisions: Sequence[Mapping[str, Any]]
) -> str:
    """Every decision of one pass as a table, after what the pass noted."""
    if skipped:
        return f"{name} was skipped: {skipped}"
    from modelexport.passes.pipeline.run import note_text

    said = "".join(f"\n  {key}: {text}" for key, value in notes.items() if (text := note_text(value)))
    head = f"{name} decided {len(decisions)} node{'' if len(decisions) == 1 else 's'}{said}"
    if not decisions:
        return head
    rows = [
        (
            each["node"],
            each["op_type"],
            each["path"] or ".",
            f"{each['source']}/{each['rule']}",
            f"{each['confidence']:.2f}",
            " ".join(each["evidence"][:3]) + (" ..." if len(each["evidence"]) > 3 else ""),
            each["replaced"] or "",
        )
        for each in decisions
    ]
    header = ("node", "operator", "path", "why", "confidence", "evidence", "replaced")
    return f"{head}\n\n{table(header, rows, left=len(header))}"


def listing_text(listing: Mapping[str, Any]) -> str:
    """Passes with their options, then named pipelines."""
    parts = []
    for each in listing["passes"]:
        facts = [f"requires {', '.join(each['requires'])}"] if each["requires"] else []
        facts += [f"establishes {', '.join(each['establishes'])}"] if each["establishes"] else []
        origin = "" if each["origin"] == "modelexport" else f"  [{each['origin']}]"
        lines = [f"{each['name']}{origin}", f"    {each['summary']}"]
        lines += [f"    {'; '.join(facts)}"] if facts else []
        for option in each["options"]:
            default = "must be given" if option["default"] is None else f"default {option['default']}"
            doc = f"\n        {option['doc']}" if option.get("doc") else ""
            lines.append(f"    {option['name']}=<{option['type']}>  {default}{doc}")
        parts.append("\n".join(lines))
    named = [(f"{name} =", text) for name, text in listing["pipelines"].items()]
    parts.append(table(("named pipelines", ""), named, left=2))
    return "\n\n".join(parts)


def _cell(value: object) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
