"""What a file says of the pipeline that tagged it. Its text is read, never run: no pass or file it names is loaded."""

from __future__ import annotations

import re

from modelexport.ir.errors import PipelineError
from modelexport.ir.io import embedded_tags
from modelexport.ir.model import Model
from modelexport.passes.attribute_embedding import AttributeEmbedding
from modelexport.passes.pipeline.registry import PASSES, Registry
from modelexport.passes.pipeline.text import Pipeline

_ELEMENT = re.compile(re.escape(AttributeEmbedding.name) + r"\s*(\{[^{}]*\})?")


def recorded_embedding(model: Model) -> AttributeEmbedding | None:
    """The attribute-embedding that wrote the file's tags, with its options; None for a file without tags of ours."""
    text = embedded_tags.pipeline_of(model.metadata)
    if text is None:
        return None
    found = _ELEMENT.search(text)
    if found is None:
        return AttributeEmbedding()
    name = AttributeEmbedding.name
    try:
        step = Pipeline.parse(found[0], registry=Registry({name: PASSES[name]})).passes[0]
    except PipelineError:  # another version's options: its tags are written again with today's defaults
        return AttributeEmbedding()
    assert isinstance(step, AttributeEmbedding)
    return step
