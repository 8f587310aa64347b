"""``modelexport analyze``: what a model's tags say, in numbers."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelexport.cli.console import put, put_json, report_error, warn
from modelexport.cli.options import format_option, talk, talk_options
from modelexport.cli.tables import down_to, module_tree, source_table, summary_text, table

if TYPE_CHECKING:
    from modelexport.ir.model import Model
    from modelexport.ir.node import Node

_COLUMNS = {
    "module": ("module", "nodes", "with inner", "share", "confidence"),
    "source": ("source", "nodes"),
    "op": ("operator", "nodes"),
}


@click.command("analyze", short_help="Count a tagged model's nodes by module, operator or source.")
@click.argument("model", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--filter-tag", metavar="PATTERN", help="Only nodes whose tag contains this, or matches it where it has"
              " * or ?. path:, tag: or source: in front say what is matched; auxiliary means all auxiliary"
              " nodes. --select asks more precisely.")  # fmt: skip
@click.option("--select", "selector", metavar="SELECTOR", help="Only nodes that this selects; see modelexport select.")
@click.option("--depth", type=click.IntRange(min=0), help="Levels of the module tree; the root is 0.")
@click.option("--by", type=click.Choice(["module", "source", "op"]), help="Only this count.")
@format_option("table", "json", "csv")
@talk_options
def command(
    model: Path, filter_tag: str | None, selector: str | None, depth: int | None, by: str | None, fmt: str
) -> None:
    """Count a tagged model's nodes by module, operator or source.

    csv has one line per node, or per row of --by. The exit code is 1 when --filter-tag or --select matches nothing.

    \b
    Examples:
      modelexport analyze model.onnx
      modelexport analyze model.onnx --filter-tag "*.0/*" --by op
      modelexport analyze model.onnx --select "class:LayerNorm and op:Mul" --by module
      modelexport analyze model.onnx --by module --depth 2
      modelexport analyze model.onnx --format json
      modelexport analyze model.onnx --format csv > nodes.csv
    """
    from modelexport.ir.errors import NothingSelectedError

    try:
        found = _report(model, filter_tag, selector, depth, by, fmt)
    except NothingSelectedError as error:
        if fmt == "json":
            _report(model, filter_tag, selector, depth, by, fmt, allow_empty=True)
        click.get_current_context().exit(report_error(error))
    if filter_tag is not None and not found:
        warn(f"no node matches {filter_tag!r}")
        click.get_current_context().exit(1)


def _report(
    model: Path,
    filter_tag: str | None,
    selector: str | None,
    depth: int | None,
    by: str | None,
    fmt: str,
    *,
    allow_empty: bool = False,
) -> int:
    """Print it. Returns the number of nodes in it."""
    if fmt == "csv" and by is None:
        return _nodes_csv(model, filter_tag, selector)
    summary = summarize(model, filter_tag, depth, selector, allow_empty=allow_empty)
    if fmt == "json":
        put_json(summary)
    elif fmt == "csv":
        put(_rows_csv(summary, str(by)))
    else:
        put(_text(summary, by))
    return int(summary["total_operations"])


def summarize(
    path: Path,
    filter_tag: str | None = None,
    depth: int | None = None,
    selector: str | None = None,
    *,
    allow_empty: bool = False,
) -> dict[str, Any]:
    """The keys of ``analyze.schema.json``. A filter or a selector leaves out nodes that don't match, and modules
    without any. Raises NothingSelectedError."""
    from modelexport.core.tag_utils import matching
    from modelexport.ir.identity.keys import node_keys
    from modelexport.ir.io.tag_rows import attributed_rows, best_rows, tagged_model
    from modelexport.passes.report import model_summary

    model = tagged_model(path) if selector is None else _attributed(path, selector)
    nodes = list(model.nodes())
    if selector is not None:
        nodes = _selected(model, selector, allow_empty=allow_empty)
    if filter_tag is not None:
        rows = best_rows(model, path)[0] if selector is None else attributed_rows(model)
        keys = {row.key for row, _ in matching(rows, filter_tag)}
        chosen = set(nodes)
        nodes = [node for key, node in node_keys(model) if key in keys and node in chosen]
    summary = model_summary(model, str(path), nodes=nodes)
    if filter_tag is not None or selector is not None:
        summary["modules"] = [module for module in summary["modules"] if module["total_nodes"]]
    for line in dict.fromkeys(model.warnings):
        warn(line)
    summary["modules"] = down_to(summary["modules"], depth)
    return summary


def _attributed(path: Path, selector: str) -> Model:
    from modelexport.passes.pipeline.attributed import attributed_model
    from modelexport.passes.selection.selection import Selector

    Selector.parse(selector)  # before the model is read
    return attributed_model(path, talk().say)


def _selected(model: Model, selector: str, *, allow_empty: bool = False) -> list[Node]:
    from modelexport.passes.selection.selection import select

    return list(select(model, [selector], allow_empty=allow_empty).nodes)


def _text(summary: Mapping[str, Any], by: str | None) -> str:
    if by is None:
        return summary_text(summary)
    if by == "module":
        return module_tree(summary["modules"])
    if by == "source":
        return source_table(summary)
    return table(_COLUMNS["op"], summary["operations"].items())


def _rows_csv(summary: Mapping[str, Any], by: str) -> str:
    rows: list[tuple[Any, ...]]
    if by == "module":
        keys = ("tag", "nodes", "total_nodes", "share", "confidence")
        rows = [tuple("" if module[key] is None else module[key] for key in keys) for module in summary["modules"]]
    else:
        rows = list(summary["by_source" if by == "source" else "operations"].items())
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([_COLUMNS[by], *rows])
    return text.getvalue().rstrip("\n")


def _nodes_csv(path: Path, filter_tag: str | None, selector: str | None) -> int:
    """One line per node. Returns their number."""
    from modelexport.core import tag_utils
    from modelexport.ir import load_model
    from modelexport.ir.identity.keys import node_keys
    from modelexport.ir.io.tag_rows import attributed_rows, best_rows

    if selector is None:
        rows, _ = best_rows(load_model(path), path)
    else:
        model = _attributed(path, selector)
        chosen = set(_selected(model, selector))
        keys = {key for key, node in node_keys(model) if node in chosen}
        rows = [row for row in attributed_rows(model) if row.key in keys]
    if filter_tag is not None:
        rows = [row for row, _ in tag_utils.matching(rows, filter_tag)]
    tag_utils.write_csv(rows, _Lines())
    return len(rows)


class _Lines:
    """What csv writes to: each line is a result."""

    def write(self, line: str) -> None:
        put(line.rstrip("\n"))
