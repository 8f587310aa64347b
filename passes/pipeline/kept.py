"""Options that a file keeps when it is tagged again: its tags are carried as before, unless the text says otherwise."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from typing import Any

from modelexport.ir.errors import PipelineError
from modelexport.passes.pipeline.base import Pass
from modelexport.passes.pipeline.text import Element, Pipeline

KEPT = "attribute-embedding"
_RECORDED = re.compile(r"(?:^|,)\s*(attribute-embedding\s*(?:\{[^{}]*\})?)\s*(?:,|$)")
_LONGEST = 64 * 1024  # characters of a recorded pipeline that are read


def recorded_step(recorded: str | None) -> Pass | None:
    """The attribute-embedding of the pipeline that a file records; None where it has none that can be read.

    No other pass that is named there is loaded.
    """
    if not recorded or len(recorded) > _LONGEST:
        return None
    found = _RECORDED.search(recorded)
    if found is None:
        return None
    try:
        return Pipeline.parse(found[1]).passes[0]
    except PipelineError:
        return None


def with_kept_options(pipeline: Pipeline, recorded: str | None) -> Pipeline:
    """``pipeline`` with the embedding options that ``recorded`` has, but for those that its text spells out.

    A pass that was not parsed is as its maker wants it.
    """
    held = recorded_step(recorded)
    if held is None:
        return pipeline
    elements = tuple(_kept(element, held) for element in pipeline.elements)
    if elements == pipeline.elements:
        return pipeline
    return Pipeline(tuple(element.step for element in elements), elements, pipeline.text)


def _kept(element: Element, held: Pass) -> Element:
    if element.column is None or element.step.name != KEPT or type(element.step) is not type(held):
        return element
    options: dict[str, Any] = {
        field.name: getattr(held, field.name) for field in fields(held) if field.name not in element.written
    }
    return replace(element, step=replace(element.step, **options))
