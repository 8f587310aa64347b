"""Pipelines for exports that somebody else starts: they may only annotate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelexport.ir.errors import ConfigError

if TYPE_CHECKING:
    from modelexport.passes.pipeline.text import Pipeline


def read_pipeline(text: str) -> Pipeline:
    """Parse ``text``.

    Raises:
        PipelineError: it does not parse, or its order can't work.
        ConfigError: one of its passes changes more than metadata.
    """
    from modelexport.passes.pipeline.text import Pipeline

    pipeline = Pipeline.parse(text)
    pipeline.check()
    edits = [step.name for step in pipeline if not step.metadata_only]
    if edits:
        raise ConfigError(
            f"{', '.join(edits)}: changes more than metadata, and a tagged export must stay the one that torch wrote; "
            "run it with htp-opt afterwards"
        )
    return pipeline
