"""What the commands that report numbers by module share: opening a model, choosing rows, trees of numbers."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from modelexport.cli.console import warn
from modelexport.cli.options import talk
from modelexport.cli.tables import table

if TYPE_CHECKING:
    from modelexport.analysis.module_rows import ModuleRow
    from modelexport.ir.model import Model

_Function = TypeVar("_Function", bound=Callable[..., Any])


def tree_options(function: _Function) -> _Function:
    """``--depth`` and ``--top``."""
    decorators = (
        click.option("--depth", type=click.IntRange(min=0), help="Levels of the module tree; the root is 0."),
        click.option("--top", type=click.IntRange(min=1), help="Only this many rows, the largest ones."),
    )
    for decorate in reversed(decorators):
        function = decorate(function)
    return function


def open_model(path: Path) -> Model:
    """The model with the module of every node; what its reader noticed is said. Raises InputError."""
    from modelexport.passes.pipeline.attributed import attributed_model

    model = attributed_model(path, talk().say)
    for line in dict.fromkeys(model.warnings):
        warn(line)
    return model


def chosen_rows(
    rows: Sequence[ModuleRow], sort: str | None, depth: int | None, top: int | None, top_by: str
) -> list[ModuleRow]:
    """The rows that were asked for: siblings sorted by a total, down to a depth, the ``top`` largest by their own."""
    from modelexport.analysis.module_rows import sorted_rows

    chosen = list(rows) if sort is None else sorted_rows(rows, sort)
    if depth is not None:
        chosen = [row for row in chosen if row.depth <= depth]
    if top is not None:
        largest = sorted(chosen, key=lambda row: -row.own[top_by])[:top]
        chosen = [row for row in largest if row.own[top_by]]
    return chosen


def tree_table(
    rows: Sequence[ModuleRow], header: Sequence[str], cells: Callable[[ModuleRow], Sequence[object]], *, flat: bool
) -> str:
    """Rows as a tree of the segments of their tags, or flat with whole tags. Containers without own numbers are left
    out: they are never called."""
    lines = []
    tags: dict[str, str] = {}
    for row in rows:
        if row.is_container and not any(row.own.values()):
            continue
        above = row.path
        while above and not (above in tags and row.tag.startswith(tags[above] + "/")):
            above = above.rpartition(".")[0]
        tags[row.path] = row.tag
        head = tags.get(above, "") + "/" if row.path and not flat else ""
        lines.append((f"{'' if flat else '  ' * row.depth}{row.tag.removeprefix(head)}", *cells(row)))
    return table(("module", *header), lines)


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Comma-separated lines; nothing for None."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *(["" if c is None else c for c in row] for row in rows)])
    return text.getvalue().rstrip("\n")
