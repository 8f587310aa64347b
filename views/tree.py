"""The module tree as text, with overlays as columns."""

from __future__ import annotations

from collections.abc import Sequence

from modelexport.ir.text import shown
from modelexport.passes.report import model_summary
from modelexport.views.data import ViewData
from modelexport.views.overlays import Overlay


def tree(data: ViewData, overlays: Sequence[Overlay] = (), *, depth: int | None = None) -> str:
    """One line per module: what ``analyze --by module`` prints of it, and its number of each overlay.

    Args:
        depth: levels to show; the root is 0. All unless given.
    """
    whole = len(data.nodes) == data.total
    summary = model_summary(data.model, nodes=None if whole else [node.node for node in data.nodes])
    columns = [_numbers(data, overlay) for overlay in overlays]
    rows: list[tuple[str, ...]] = []
    levels: dict[str, int] = {}
    tags: dict[str, str] = {}
    for module in summary["modules"]:
        path, parent = module["path"], module["parent"]
        level = levels[path] = 0 if parent is None else levels.get(parent, 0) + 1
        tags[path] = module["tag"]
        if (depth is not None and level > depth) or not (whole or module["total_nodes"]):
            continue
        above = tags.get(parent, "") if parent is not None else ""
        segment = module["tag"].removeprefix(above + "/") if above else module["tag"]
        counts = (f"{module['nodes']:,}", f"{module['total_nodes']:,}", f"{module['share']:.1%}")
        sure = "" if module["confidence"] is None else f"{module['confidence']:.2f}"
        rows.append(("  " * level + segment, *counts, sure, *(column.get(path, "") for column in columns)))
    header = ("module", "nodes", "with inner", "share", "confidence", *(_title(overlay) for overlay in overlays))
    return _table([header, *rows])


def _numbers(data: ViewData, overlay: Overlay) -> dict[str, str]:
    return {
        shown(data.modules[index].path): overlay.text(value, unit=False) for index, value in overlay.modules.items()
    }


def _title(overlay: Overlay) -> str:
    return shown(f"{overlay.name} ({overlay.unit})" if overlay.unit and overlay.unit != overlay.name else overlay.name)


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
