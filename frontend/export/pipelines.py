"""The passes of an export: the pipeline that was asked for, fitted to where the tags come from."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from modelexport.ir.facts import Fact
from modelexport.passes.pipeline.base import Pass
from modelexport.passes.pipeline.text import Element, Pipeline

if TYPE_CHECKING:
    import torch

    from modelexport.frontend.inputs.example_inputs import Inputs
    from modelexport.frontend.settings import Settings

SCOPES, EMBEDDING = "scope-attribution", "attribute-embedding"
_WITHOUT_WEIGHTS = frozenset(
    {SCOPES, EMBEDDING, "context-inheritance", "fallback-tagging", "coverage-validation", "strip-tags"}
)
_INSTEAD_OF_SCOPES = {"trace": "value-attribution,parameter-attribution", "parameter": "parameter-attribution"}


@dataclass(frozen=True, slots=True)
class Plan:
    """A pipeline that is ready to run.

    Attributes:
        assume: facts that hold without a pass: where the exporter's records are not to be used, none is unread.
    """

    pipeline: Pipeline
    assume: frozenset[Fact] = frozenset()

    @property
    def annotates_only(self) -> bool:
        """Whether every pass is one of those that never read the weights or change the graph."""
        return all(step.name in _WITHOUT_WEIGHTS for step in self.pipeline)

    def recorded(self) -> str:
        """The text that files carry."""
        return self.pipeline.recorded()


def build_pipeline(settings: Settings) -> Plan:
    """Parse the pipeline, put other evidence in the place of scopes, leave the embedding out, pass ``torch_nn`` on.

    Raises:
        PipelineError: the text does not parse, or its order can't work.
    """
    elements: list[Element] = []
    assume: frozenset[Fact] = frozenset()
    for element in Pipeline.parse(settings.pipeline).elements:
        if element.step.name == SCOPES and settings.evidence != "scope":
            instead = Pipeline.parse(_INSTEAD_OF_SCOPES[settings.evidence])
            elements += [Element(step, element.named, element.column) for step in instead if _is_usable(step)]
            assume = frozenset({Fact.SCOPED})
        elif element.step.name == EMBEDDING and not settings.embed:
            continue
        else:
            elements.append(Element(_fitted(element.step, settings), element.named, element.column))
    return Plan(Pipeline(tuple(element.step for element in elements), tuple(elements)), assume)


@contextmanager
def trace_file(settings: Settings, model: torch.nn.Module, inputs: Inputs) -> Iterator[Path | None]:
    """The eager trace as a file for value-attribution, while the passes run; None where it is not needed."""
    if settings.evidence != "trace" or not has_onnxruntime():
        yield None
        return
    from modelexport.frontend.trace.value_trace import write_trace

    example = (*inputs.args, inputs.kwargs) if inputs.args and inputs.kwargs else inputs.kwargs or inputs.args
    with tempfile.TemporaryDirectory(prefix="modelexport-") as folder:
        yield write_trace(model, example, Path(folder) / "example.htptrace", twins=())


def has_onnxruntime() -> bool:
    """Whether graphs can be run here."""
    return find_spec("onnxruntime") is not None


def _is_usable(step: Pass) -> bool:
    return step.name != "value-attribution" or has_onnxruntime()


def _fitted(step: Pass, settings: Settings) -> Pass:
    if settings.torch_nn or "torch_nn" not in {entry.name for entry in dataclasses.fields(step)}:
        return step
    return dataclasses.replace(step, torch_nn=False)  # type: ignore[call-arg]
