"""The passes of an export: the pipeline that was asked for, fitted to where the tags come from."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from modelexport.ir.facts import Fact
from modelexport.passes.pipeline.text import Element, Pipeline

if TYPE_CHECKING:
    from modelexport.frontend.settings import Settings

SCOPES, EMBEDDING, VALUES = "scope-attribution", "attribute-embedding", "value-attribution"
_INSTEAD_OF_SCOPES = {"trace": "value-attribution,parameter-attribution", "parameter": "parameter-attribution"}


@dataclass(frozen=True, slots=True)
class Plan:
    """A pipeline that is ready to run.

    Attributes:
        assume: facts that hold without a pass: where the exporter's records are not to be used, none is unread.
        torch_nn: whether tags name torch.nn modules, as the settings and the text say.
    """

    pipeline: Pipeline
    assume: frozenset[Fact] = frozenset()
    torch_nn: bool = True

    @property
    def annotates_only(self) -> bool:
        """Whether no pass reads the weights or changes the graph."""
        return all(step.metadata_only and not step.reads_weights for step in self.pipeline)

    def recorded(self) -> str:
        """The text that files carry."""
        return self.pipeline.recorded()


def build_pipeline(settings: Settings, *, traced: bool = True) -> Plan:
    """Parse the pipeline, put other evidence in the place of scopes, leave the embedding out, pass ``torch_nn`` on.

    Args:
        traced: whether there is a trace for value-attribution, where tags come from one.

    Raises:
        PipelineError: the text does not parse, or its order can't work.
    """
    elements: list[Element] = []
    assume: frozenset[Fact] = frozenset()
    asked = Pipeline.parse(settings.pipeline)
    for element in asked.elements:
        if element.step.name == SCOPES and settings.evidence != "scope":
            instead = Pipeline.parse(_INSTEAD_OF_SCOPES[settings.evidence])
            elements += [
                Element(step, element.named, element.column) for step in instead if traced or step.name != VALUES
            ]
            assume = frozenset({Fact.SCOPED})
        elif element.step.name == EMBEDDING and not settings.embed:
            continue
        else:
            elements.append(Element(element.step.fitted(torch_nn=settings.torch_nn), element.named, element.column))
    pipeline = Pipeline(tuple(element.step for element in elements), tuple(elements))
    return Plan(pipeline, assume, settings.torch_nn and keeps_torch_nn(asked))


def keeps_torch_nn(pipeline: Pipeline) -> bool:
    """Whether the tags that a pipeline writes name torch.nn modules."""
    return all(getattr(step, "torch_nn", True) for step in pipeline)


def has_onnxruntime() -> bool:
    """Whether graphs can be run here."""
    return find_spec("onnxruntime") is not None
