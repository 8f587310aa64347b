"""reference-attribution: carry tags over from another file of the same model, or from the model's own table."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from modelexport.ir.attribution import Source
from modelexport.ir.errors import ConfigError
from modelexport.ir.identity.tables import Tables
from modelexport.ir.io import embedded_tags
from modelexport.ir.io.merged_tags import Parts, parts_of
from modelexport.ir.io.reader import load_model
from modelexport.ir.model import Model
from modelexport.passes.evidence.inference.confidence import confidence
from modelexport.passes.evidence.records.owners import widen_owners
from modelexport.passes.evidence.records.reference_index import ReferenceIndex
from modelexport.passes.pipeline.base import Pass, PassContext, PassResult

OWN_TAG = "own tag"  # how tags that the file itself has are counted


@dataclass(frozen=True)
class ReferenceAttribution(Pass):
    """Attribute nodes as the same nodes of a reference are: by node name, else by output name, else by name prefix.

    Attributes:
        reference: a tagged model, an untagged one (it is attributed first), or a sidecar; without it the file given
            with ``--reference``, else the table embedded in the model itself.
    """

    name: ClassVar[str] = "reference-attribution"

    reference: str | None = field(default=None, metadata={"path": True})

    def run(self, model: Model, ctx: PassContext) -> PassResult:
        """Nodes that are attributed already are left alone.

        Raises:
            InputError: the reference can't be read.
            ConfigError: the pass was asked for by name, no file was given, and the model has no table of its own.
        """
        source = Path(self.reference) if self.reference is not None else ctx.reference
        if source is not None:
            index = self._read(source, ctx)
        else:
            parts = parts_of(model, ctx.warnings)
            tables = parts.tables()
            if tables is None and ctx.optional:
                return PassResult(skipped="no reference was given and the model carries no table")
            if tables is None:
                raise ConfigError(f"{self.name}: give reference=FILE; the model carries no table of its own")
            index = ReferenceIndex.of_table(tables)
            self._restore(model, tables, parts, ctx)
        index.declare(model.modules)
        prefix = index.prefix_in(model)
        for node in model.nodes():
            found = index.find(node, prefix) if node.attribution is None else None
            if found is not None:
                path, rule, share, name = found
                certain = round(min(confidence(rule), share), 2)
                ctx.attribute(node, path, Source.REFERENCE, rule, (name,), confidence=certain)
        widen_owners(model, ctx, "reference-output-name", "reference-prefix")
        notes: dict[str, object] = {
            "by rule": dict(ctx.counts),
            "reference": source.name if source is not None else "embedded",
        }
        return PassResult(changed=ctx.counts.total(), notes=notes)

    def _restore(self, model: Model, tables: Tables, parts: Parts, ctx: PassContext) -> None:
        """Give nodes that the model's own table lists the very tags they had; those in their metadata are as good."""
        for node in model.nodes():
            if node.attribution is not None:
                continue
            record = embedded_tags.read_node(node.metadata) if node.metadata else None
            found = (parts.own(node, record, node.metadata), True) if record is not None else tables.find(node)
            if found is not None and found[1]:
                held, key = found[0], embedded_tags.NODES if record is None else embedded_tags.PATH
                ctx.attribute(
                    node, held.path, held.source, held.rule, (key,), confidence=held.confidence, counted=OWN_TAG
                )

    def _read(self, source: Path, ctx: PassContext) -> ReferenceIndex:
        if source.suffix == ".json":
            from modelexport.ir.io.sidecar import read_sidecar

            return ReferenceIndex.of_sidecar(read_sidecar(source), str(source))
        reference = load_model(source)
        _attribute_fully(reference, ctx)
        return ReferenceIndex.of_model(reference)


def _attribute_fully(reference: Model, ctx: PassContext) -> None:
    """What a reference says of itself: its tags, else its records and what follows from them."""
    from modelexport.passes.context_inheritance import ContextInheritance
    from modelexport.passes.scope_attribution import ScopeAttribution

    inner = PassContext()
    ScopeAttribution().run(reference, inner)
    ContextInheritance().run(reference, inner)
    ctx.warnings.extend(f"reference: {warning}" for warning in inner.warnings)
