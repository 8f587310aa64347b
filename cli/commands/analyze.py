"""``modelexport analyze``: what a model's tags say, in numbers."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from modelexport.cli.common import format_option, talk_options
from modelexport.cli.output import module_tree, put, put_json, source_table, summary_text, table, warn

_COLUMNS = {
    "module": ("module", "nodes", "with inner"),
    "source": ("source", "nodes"),
    "op": ("operator", "nodes"),
}


@click.command("analyze", short_help="Count a tagged model's nodes by module, operator or source.")
@click.argument("model", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--filter-tag", metavar="PATTERN", help="Only nodes whose tag contains this, or matches it where it has"
              " * or ?. path:, tag: or source: in front say what is matched; auxiliary means all auxiliary"
              " nodes.")  # fmt: skip
@click.option("--depth", type=click.IntRange(min=0), help="Levels of the module tree; the root is 0.")
@click.option("--by", type=click.Choice(["module", "source", "op"]), help="Only this count.")
@format_option("table", "json", "csv")
@talk_options
def command(model: Path, filter_tag: str | None, depth: int | None, by: str | None, fmt: str) -> None:
    """Count a tagged model's nodes by module, operator or source.

    csv has one line per node, or per row of --by. The exit code is 1 when --filter-tag matches nothing.

    \b
    Examples:
      modelexport analyze model.onnx
      modelexport analyze model.onnx --filter-tag "*.0/*" --by op
      modelexport analyze model.onnx --by module --depth 2
      modelexport analyze model.onnx --format json
      modelexport analyze model.onnx --format csv > nodes.csv
    """
    if fmt == "csv" and by is None:
        found = _nodes_csv(model, filter_tag)
    else:
        summary = summarize(model, filter_tag, depth)
        found = summary["total_operations"]
        if fmt == "json":
            put_json(summary)
        elif fmt == "csv":
            put(_rows_csv(summary, str(by)))
        else:
            put(_text(summary, by))
    if filter_tag is not None and not found:
        warn(f"no node matches {filter_tag!r}")
        click.get_current_context().exit(1)


def summarize(path: Path, filter_tag: str | None = None, depth: int | None = None) -> dict[str, Any]:
    """The keys of ``analyze.schema.json``. A filter leaves out nodes that don't match, and modules without any."""
    from modelexport.core.tag_rows import best_rows, tagged_model
    from modelexport.core.tag_utils import matching
    from modelexport.ir.io.sidecar import node_keys
    from modelexport.passes.report import model_summary

    model = tagged_model(path)
    if filter_tag is None:
        summary = model_summary(model, str(path))
    else:
        keys = {row.key for row, _ in matching(best_rows(model, path)[0], filter_tag)}
        summary = model_summary(model, str(path), nodes=[node for key, node in node_keys(model) if key in keys])
        summary["modules"] = [module for module in summary["modules"] if module["total_nodes"]]
    for line in dict.fromkeys(model.warnings):
        warn(line)
    if depth is not None:
        summary["modules"] = _down_to(summary["modules"], depth)
    return summary


def _down_to(modules: list[dict[str, Any]], depth: int) -> list[dict[str, Any]]:
    levels: dict[str, int] = {}
    for module in modules:
        levels[module["path"]] = 0 if module["parent"] is None else levels.get(module["parent"], 0) + 1
    return [module for module in modules if levels[module["path"]] <= depth]


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
        rows = [(module["tag"], module["nodes"], module["total_nodes"]) for module in summary["modules"]]
    else:
        rows = list(summary["by_source" if by == "source" else "operations"].items())
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([_COLUMNS[by], *rows])
    return text.getvalue().rstrip("\n")


def _nodes_csv(path: Path, filter_tag: str | None) -> int:
    """One line per node. Returns their number."""
    from modelexport.core import tag_utils
    from modelexport.core.tag_rows import best_rows
    from modelexport.ir import load_model

    rows, _ = best_rows(load_model(path), path)
    if filter_tag is not None:
        rows = [row for row, _ in tag_utils.matching(rows, filter_tag)]
    tag_utils.write_csv(rows, _Lines())
    return len(rows)


class _Lines:
    """What csv writes to: each line is a result."""

    def write(self, line: str) -> None:
        put(line.rstrip("\n"))
