"""``modelexport validate``: is the model valid, do model and sidecar agree, and repair."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import click

from modelexport.cli.console import put, put_json
from modelexport.cli.options import format_option, talk_options

_LISTED = 10


@click.command("validate", short_help="Check a model and its sidecar, and repair what can be repaired.")
@click.argument("model", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--check-consistency", is_flag=True, help="Also compare the model's tags with its sidecar's.")
@click.option("--repair", is_flag=True, help="Convert tags that older tools wrote as invalid attributes, and let model"
              " and sidecar agree again.")  # fmt: skip
@click.option("--repair-from", type=click.Choice(["model", "sidecar"]), help="Which of the two is right [the model when"
              " it has tags]; implies --repair.")  # fmt: skip
@format_option("table", "json")
@talk_options
def command(model: Path, check_consistency: bool, repair: bool, repair_from: str | None, fmt: str) -> None:
    """Check a model and its sidecar, and repair what can be repaired.

    onnx.checker decides whether the model is valid. The exit code is 1 when it is not, or when --check-consistency
    finds a difference.

    \b
    Examples:
      modelexport validate model.onnx
      modelexport validate model.onnx --check-consistency --format json
      modelexport validate model.onnx --check-consistency --repair-from sidecar
    """
    repaired: list[str] = []
    if repair or repair_from:
        from modelexport.cli.repair import repair_model

        repaired = repair_model(model, repair_from)
    found = {**examine(model, check_consistency), "repaired": repaired}
    if fmt == "json":
        put_json(found)
    else:
        _show(found)
    consistency = found["consistency"]
    if not found["valid"] or (consistency is not None and not consistency["consistent"]):
        click.get_current_context().exit(1)


def examine(path: Path, check_consistency: bool) -> dict[str, Any]:
    """The keys of ``validate.schema.json`` but ``repaired``."""
    from modelexport.cli.checking import Written
    from modelexport.core import tag_utils
    from modelexport.ir import load_model
    from modelexport.ir.io.own_records import whole_records
    from modelexport.ir.io.tag_rows import rows_of, sidecar_rows

    model = load_model(path)
    whole = whole_records(model)
    if whole is not None:
        in_model = sum(len(nodes) for record, nodes in whole if record.tag)
    else:
        in_model = sum(bool(row.tags) for row in rows_of(model))
    del whole
    written = Written(model, path.read_bytes() if path.is_file() else None)
    del model
    gc.collect()  # nodes and scopes know each other; at 100,000 nodes this leaves 160 MB more for the checker's copy
    problem = written.check().problem.partition("==>")[0].strip()
    del written
    in_sidecar: int | None
    try:
        in_sidecar = sum(bool(row.tags) for row in sidecar_rows(path))
    except FileNotFoundError:
        in_sidecar = None
    return {
        "model_path": str(path),
        "valid": not problem,
        "checker_error": problem or None,
        "tags_in_model": in_model,
        "tags_in_sidecar": in_sidecar,
        "consistency": tag_utils.validate_tag_consistency(path) if check_consistency else None,
    }


def _show(found: dict[str, Any]) -> None:
    for line in found["repaired"]:
        put(f"repaired: {line}")
    put(f"{found['model_path']}: {'valid' if found['valid'] else 'not valid: ' + found['checker_error']}")
    in_sidecar = "no sidecar" if found["tags_in_sidecar"] is None else f"{found['tags_in_sidecar']} in the sidecar"
    put(f"tags: {found['tags_in_model']} in the model, {in_sidecar}")
    consistency = found["consistency"]
    if consistency is None:
        return
    if consistency["consistent"]:
        put(f"consistent: {consistency['total_onnx_nodes']} nodes")
        return
    put(f"not consistent{': ' + consistency['error'] if 'error' in consistency else ''}")
    mismatches = consistency.get("tag_mismatches", [])
    for row in mismatches[:_LISTED]:
        model, sidecar = (", ".join(row[key]) or "nothing" for key in ("onnx_tags", "sidecar_tags"))
        if model == sidecar:
            model, sidecar = row["onnx_path"], row["sidecar_path"]
        put(f"  {row['node']}: the model says {model}, the sidecar {sidecar}")
    for key, where in (("onnx_only_nodes", "model"), ("sidecar_only_nodes", "sidecar")):
        for node in consistency.get(key, [])[:_LISTED]:
            put(f"  {node}: only in the {where}")
    total = sum(len(consistency.get(key, [])) for key in ("tag_mismatches", "onnx_only_nodes", "sidecar_only_nodes"))
    if total > _LISTED:
        put(f"{total} differences; --format json lists all")
