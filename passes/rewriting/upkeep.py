"""What passes that change names or structure do about tags: read the file's, fill gaps, embed again."""

from __future__ import annotations

from collections import Counter

from modelexport.ir.errors import ConfigError
from modelexport.ir.io import embedded_tags
from modelexport.ir.io.own_records import take_tags
from modelexport.ir.model import Model
from modelexport.ir.node import Node
from modelexport.passes.attribute_embedding import AttributeEmbedding
from modelexport.passes.context_inheritance import ContextInheritance
from modelexport.passes.fallback_tagging import FallbackTagging
from modelexport.passes.pipeline.base import PassContext
from modelexport.passes.recorded import recorded_embedding


def has_attributions(model: Model, by: str, warnings: list[str]) -> bool:
    """Whether any node is attributed: by the pipeline, else now by the tags that the file carries."""
    if any(node.attribution is not None for node in model.nodes()):
        return True
    return take_tags(model, by, warnings)


def need_attributions(model: Model, by: str, warnings: list[str]) -> None:
    """Read the file's tags where nothing is attributed. Raises ConfigError where there are none either."""
    if not has_attributions(model, by, warnings) and any(True for _ in model.nodes()):
        raise ConfigError(f"{by}: no node has a module, neither from a pass nor in the file: put htp before it")


def embedding_of(model: Model, ctx: PassContext) -> AttributeEmbedding | None:
    """The pass that embedded the tags which the file carries now, of this pipeline or of an earlier run's; None where
    it carries none."""
    if not embedded_tags.own_keys(model.metadata) and not any(_carries(node) for node in model.nodes()):
        return None
    for step in reversed(ctx.done):
        if isinstance(step, AttributeEmbedding):
            return step
    return recorded_embedding(model) or AttributeEmbedding(table=bool(embedded_tags.packed_tables(model.metadata)))


def _carries(node: Node) -> bool:
    return embedded_tags.PATH in node.metadata or embedded_tags.tag_in_doc(node.doc_string) is not None


def fill_gaps(model: Model, ctx: PassContext) -> dict[str, int]:
    """Attribute what is left as context-inheritance and fallback-tagging do. Returns the count of each rule."""
    if all(node.attribution is not None for node in model.nodes()):
        return {}
    before = Counter(ctx.counts)
    ContextInheritance().attribute(model, ctx)
    FallbackTagging().attribute(model, ctx)
    return dict(ctx.counts - before)


def embed_again(model: Model, ctx: PassContext, embedding: AttributeEmbedding | None) -> None:
    """Let the file say what the IR says, where it did before."""
    if embedding is not None:
        embedding.run(model, ctx)
