"""Optimisations of an exported file that keep every tag: constants are folded, and merged inside their module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

OPTIMIZATIONS = ("constant-folding", "constant-deduplication")


def optimize_file(result: dict[str, Any], *, embed: bool = True, torch_nn: bool = True) -> list[str]:
    """Optimise the file that ``result`` describes, in place, and its sidecar with it.

    Args:
        result: what an exporter returned; its counts are brought up to date.
        embed, torch_nn: as they were for the export.

    Returns:
        names of the passes that changed something; empty when the file is as it was.

    Raises:
        ModelExportError: a pass or writing failed; the file is as it was.
    """
    from modelexport.ir import save_model
    from modelexport.ir.facts import Fact
    from modelexport.ir.io.embedded_tags import pipeline_of
    from modelexport.ir.io.sidecar import write_sidecar
    from modelexport.ir.io.tag_rows import tagged_model
    from modelexport.passes import PassContext, PassManager
    from modelexport.passes.report import model_summary

    path = Path(result["output_path"])
    model = tagged_model(path)
    recorded = pipeline_of(model.metadata) or ""
    embedding = "attribute-embedding" if torch_nn else "attribute-embedding{torch-nn=false}"
    steps = [*OPTIMIZATIONS, *([embedding] if embed else [])]
    context = PassContext(pipeline=",".join(filter(None, (recorded, *OPTIMIZATIONS))))
    manager = PassManager(",".join(steps), context=context, assume={Fact.SCOPED, Fact.INHERITED, Fact.TAGGED})
    run = manager.run(model)
    applied = [each.name for each in run.runs if each.name in OPTIMIZATIONS and each.result.changed]
    if not applied:
        return []
    save_model(model, path)
    if result.get("sidecar_path"):
        write_sidecar(model, result["sidecar_path"], torch_nn=torch_nn)
    summary = model_summary(tagged_model(path), str(path))
    result.update({key: summary[key] for key in ("total_operations", "tagged_operations", "by_source")})
    return applied
