"""``modelexport compare``: what two tagged models have in each module."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import click

from modelexport.cli.console import put, put_json
from modelexport.cli.options import format_option, talk, talk_options
from modelexport.cli.tables import table


@dataclass(slots=True)
class Profile:
    """What one module has in one model."""

    nodes: int = 0
    op_types: Counter[str] = field(default_factory=Counter)
    parameters: int = 0

    def as_dict(self) -> dict[str, Any]:
        return {"nodes": self.nodes, "op_types": dict(sorted(self.op_types.items())), "parameters": self.parameters}


@click.command("compare", short_help="Compare two tagged models module by module.")
@click.argument("model1", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("model2", type=click.Path(dir_okay=False, path_type=Path))
@format_option("table", "json")
@talk_options
def command(model1: Path, model2: Path, fmt: str) -> None:
    """Compare two tagged models module by module.

    For each module: its nodes, their operator types, the elements of the weights they read, and what diff tells of it.
    The exit code is that of diff: 1 when nodes, weights or the models themselves differ; tags alone don't count.

    \b
    Examples:
      modelexport compare before.onnx after.onnx
      modelexport compare before.onnx after.onnx --format json
    """
    found = compare(model1, model2, lambda path, line: talk().say(f"{path}: {line}"))
    if fmt == "json":
        put_json(found)
    else:
        _show(found)
    if not found["diff"]["identical"]:
        click.get_current_context().exit(1)


def compare(model1: Path, model2: Path, say: Callable[[Path, str], None] | None = None) -> dict[str, Any]:
    """The dictionary of ``compare_tag_distributions``, ``modules`` (those that differ, with what each model has), and
    ``diff``, the document of the command of that name. ``say`` is told of a file that is attributed in memory."""
    from modelexport.analysis.difference import diff_models
    from modelexport.core import tag_utils
    from modelexport.passes.pipeline.attributed import attributed_model

    first, second = profiles(model1), profiles(model2)
    nothing = Profile()
    models = [attributed_model(path, partial(say, path) if say is not None else None) for path in (model1, model2)]
    return {
        **tag_utils.compare_tag_distributions(model1, model2),
        "modules": [
            {
                "tag": tag,
                "model1": first.get(tag, nothing).as_dict(),
                "model2": second.get(tag, nothing).as_dict(),
            }
            for tag in dict.fromkeys((*first, *second))
            if first.get(tag, nothing) != second.get(tag, nothing)
        ],
        "diff": diff_models(*models).to_dict(),
    }


def profiles(path: Path) -> dict[str, Profile]:
    """What each module has, by tag; nodes without a tag count under "". A weight counts where it is read first."""
    from modelexport.ir import load_model
    from modelexport.ir.io.tag_rows import rows_of
    from modelexport.ir.text import text

    model = load_model(path)
    found: dict[str, Profile] = {}
    tags: dict[tuple[str, int], str] = {}
    for row, node in zip(rows_of(model), model.nodes(), strict=True):
        profile = found.setdefault(row.tag, Profile())
        profile.nodes += 1
        profile.op_types[node.op_type] += 1
        tags[node.graph.scope, node.id] = row.tag
    for graph in model.graphs():
        for tensor in getattr(graph.proto, "initializer", ()):
            readers = graph.consumers(text(tensor.name))
            if readers:
                found[tags[graph.scope, readers[0].id]].parameters += prod(tensor.dims)
    return found


def _show(found: dict[str, Any]) -> None:
    if found["diff"]["identical"]:
        put("no difference")
        return
    changed = {module["path"]: module for module in found["diff"]["modules"]}
    rows = []
    for module in found["modules"]:
        one, two = module["model1"], module["model2"]
        changes = [
            f"{op} {one['op_types'].get(op, 0)} -> {two['op_types'].get(op, 0)}"
            for op in sorted({*one["op_types"], *two["op_types"]})
            if one["op_types"].get(op, 0) != two["op_types"].get(op, 0)
        ]
        parameters = "" if one["parameters"] == two["parameters"] else f"{one['parameters']} -> {two['parameters']}"
        rows.append((module["tag"] or "(no tag)", f"{one['nodes']} -> {two['nodes']}", ", ".join(changes), parameters))
    if rows:
        put(table(("module", "nodes", "operators", "parameters"), rows))
    weights = [(path or ".", len(module["weights"])) for path, module in changed.items() if module["weights"]]
    if weights:
        put(table(("module", "weights that differ"), weights))
    if not rows and not weights:
        put("the models differ in what modelexport diff shows")
