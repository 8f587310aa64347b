"""Runs the passes of a pipeline over a model, in order, with instruments around each."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType

from modelexport.ir.errors import CoverageValidationError, GraphError, ModelExportError, PassError, VerifyError
from modelexport.ir.facts import Fact
from modelexport.ir.io.embedded_tags import pipeline_of
from modelexport.ir.limits import check_memory
from modelexport.ir.model import Model
from modelexport.ir.node import Node
from modelexport.passes.pipeline.base import Pass, PassContext, PassResult
from modelexport.passes.pipeline.instruments import Verifier
from modelexport.passes.pipeline.kept import with_kept_options
from modelexport.passes.pipeline.run import Instrument, PassRun, RunReport
from modelexport.passes.pipeline.text import Element, Pipeline


class PassManager:
    """Runs a pipeline.

    Args:
        pipeline: a Pipeline, its text, or passes.
        instruments: called around each pass, in this order.
        verify_each: check the IR and the facts that passes establish after each pass.
        context: what the passes are given besides the model; a run works on a copy.
        keep_going: record a failed coverage validation and go on.
        assume: facts that hold before the first pass.

    Raises:
        PipelineError: the text does not parse, or a pass requires what no earlier pass establishes.
    """

    def __init__(
        self,
        pipeline: Pipeline | str | Iterable[Pass],
        instruments: Sequence[Instrument] = (),
        *,
        verify_each: bool = True,
        context: PassContext | None = None,
        keep_going: bool = False,
        assume: Iterable[Fact] = (),
    ) -> None:
        if isinstance(pipeline, str):
            pipeline = Pipeline.parse(pipeline)
        self.pipeline = pipeline if isinstance(pipeline, Pipeline) else Pipeline(tuple(pipeline))
        self.assume = frozenset(assume)
        self.pipeline.check(self.assume)
        for step in self.pipeline:
            step.check_ready()
        self.instruments: tuple[Instrument, ...] = tuple(instruments)
        if verify_each:
            self.instruments = (Verifier(self.assume), *self.instruments)
        self.context = context
        self.keep_going = keep_going

    def run(self, model: Model) -> RunReport:
        """Run every pass on ``model``, in place.

        Raises:
            PassError: a pass crashed or left the model inconsistent.
            ModelExportError: what a pass raised on purpose, unchanged.
        """
        given = self.context or PassContext()
        pipeline = with_kept_options(self.pipeline, pipeline_of(model.metadata))
        ctx = replace(given, pipeline=given.pipeline or pipeline.recorded(), warnings=list(given.warnings), done=[])
        report = RunReport(str(pipeline), warnings=ctx.warnings, facts=dict.fromkeys(self.assume, ""))
        for instrument in self.instruments:
            instrument.start(model, pipeline)
        try:
            with _frozen_heap():
                for index, element in enumerate(pipeline.elements):
                    self._run_one(model, element, ctx, PassRun(element.step, index), report)
        finally:
            model.forget_derived()
            model.warnings.extend(line for line in ctx.warnings if line not in model.warnings)
        return report

    def _run_one(self, model: Model, element: Element, ctx: PassContext, run: PassRun, report: RunReport) -> None:
        try:
            for instrument in self.instruments:
                instrument.before(model, run)
            check_memory(ctx.memory_limit_mb, f"before {run.name}")
            ctx.optional = bool(element.named)
            started = time.perf_counter()
            try:
                run.result = element.step.run(model, ctx)
            except CoverageValidationError as finding:
                if not self.keep_going:
                    raise
                report.findings.append(finding)
                run.result = PassResult(notes={"failed": str(finding)})
            finally:
                run.seconds = time.perf_counter() - started
            if not isinstance(run.result, PassResult):
                raise TypeError(f"run() returned {type(run.result).__name__}, not a PassResult")
            for instrument in self.instruments:
                instrument.after(model, run)
        except Exception as error:  # any code may run in a pass: what it did not raise on purpose gets the pass's name
            if isinstance(error, ModelExportError) and not isinstance(error, (GraphError, VerifyError)):
                self._tell_failed(model, run, error)
                raise
            failure = _crash(run, error, tuple(each.name for each in report.runs))
            self._tell_failed(model, run, failure)
            raise failure from error
        except BaseException as error:
            self._tell_failed(model, run, error)
            raise
        report.runs.append(run)
        ctx.done.append(element.step)
        step = element.step
        report.facts = {fact: by for fact, by in report.facts.items() if fact not in step.invalidates}
        report.facts.update(dict.fromkeys(step.establishes, step.name))

    def _tell_failed(self, model: Model, run: PassRun, error: BaseException) -> None:
        for instrument in self.instruments:
            instrument.failed(model, run, error)


@contextmanager
def _frozen_heap() -> Iterator[None]:
    """Spare the collector what is there already: it would walk the whole model again and again, a fifth of the time.

    Cyclic garbage made meanwhile is collected as usual. A heap that somebody else froze is left alone.
    """
    if gc.get_freeze_count():
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _crash(run: PassRun, error: Exception, done: tuple[str, ...]) -> PassError:
    node = _node_in(error.__traceback__)
    after = f" (after {', '.join(done)})" if done else ""
    where = f" at {node}" if node else ""
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    return PassError(f"the pass {run.name} crashed{where}{after}: {reason}", run.name, done, node)


def _node_in(traceback: TracebackType | None) -> str:
    """The node that the innermost frame with a Node in a local variable was working on; ``""`` when none was."""
    found = ""
    while traceback is not None:
        variables = traceback.tb_frame.f_locals
        candidates = [variables.get("node"), *variables.values()]
        node = next((value for value in candidates if isinstance(value, Node)), None)
        if node is not None:
            found = node.described
        traceback = traceback.tb_next
    return found
