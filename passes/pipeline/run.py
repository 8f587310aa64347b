"""One run of a pipeline as data, and what watches it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from modelexport.ir.errors import CoverageValidationError
from modelexport.ir.facts import Fact
from modelexport.ir.model import Model
from modelexport.passes.pipeline.base import Pass, PassResult
from modelexport.passes.pipeline.text import Pipeline


@dataclass(slots=True)
class PassRun:
    """One pass of one run.

    Attributes:
        step: the pass.
        index: its position in the pipeline, from 0.
        result: what it returned; empty while it has not.
        seconds: wall time of the pass itself, without instruments.
        rss_mb, peak_mb: resident memory after the pass, and the process's peak so far; filled by ``Timing``.
    """

    step: Pass
    index: int
    result: PassResult = field(default_factory=PassResult)
    seconds: float = 0.0
    rss_mb: float | None = None
    peak_mb: float | None = None

    @property
    def name(self) -> str:
        """Name of the pass."""
        return self.step.name

    def told(self) -> str:
        """What the pass did, in one line."""
        result = self.result
        if result.skipped:
            return f"{self.name}: skipped: {result.skipped}"
        said = [f"{result.changed} node{'' if result.changed == 1 else 's'}"]
        if result.structure_changed:
            said.append("edits the graph")
        said += (f"{key}: {text}" for key, value in result.notes.items() if (text := note_text(value)))
        return f"{self.name}: {'; '.join(said)}"


def note_text(value: object) -> str:
    """A note of a pass for people: a mapping as ``name 3, other 1``, nothing for an empty one."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {each}" for key, each in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return str(value)


@dataclass(slots=True)
class RunReport:
    """What a run did.

    Attributes:
        findings: failed coverage validations that the run was told to go on after.
        facts: what holds of the model at the end, each with the name of the pass that established it; "" where it was
            assumed.
    """

    pipeline: str
    runs: list[PassRun] = field(default_factory=list)
    findings: list[CoverageValidationError] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    facts: dict[Fact, str] = field(default_factory=dict)

    @property
    def skipped(self) -> list[str]:
        """One line for each pass that did nothing, with its reason."""
        return [run.told() for run in self.runs if run.result.skipped]

    @property
    def notes(self) -> list[str]:
        """One line for each pass: how many nodes it changed and what it noted, or why it was skipped."""
        return [run.told() for run in self.runs]

    @property
    def changed(self) -> int:
        """Sum of the nodes changed by each pass."""
        return sum(run.result.changed for run in self.runs)

    @property
    def structure_changed(self) -> bool:
        """Whether any pass edited nodes or values."""
        return any(run.result.structure_changed for run in self.runs)


class Instrument:
    """Watches a run. Each method does nothing unless it is overridden; an exception from ``before`` or ``after`` ends
    the run as if the pass had failed."""

    def start(self, model: Model, pipeline: Pipeline) -> None:
        """Called once, before the first pass."""

    def before(self, model: Model, run: PassRun) -> None:
        """Called before each pass."""

    def after(self, model: Model, run: PassRun) -> None:
        """Called after each pass that returned."""

    def failed(self, model: Model, run: PassRun, error: BaseException) -> None:
        """Called when a pass raised, or an instrument after it did."""
