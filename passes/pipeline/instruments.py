"""The instruments that ship: verification, timing with memory, IR printing, progress."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from itertools import islice

from modelexport.ir.errors import PassError
from modelexport.ir.facts import Fact
from modelexport.ir.limits import memory_mb
from modelexport.ir.model import Model
from modelexport.ir.verify import Violation
from modelexport.passes.pipeline.run import Instrument, PassRun, note_text
from modelexport.passes.pipeline.text import Pipeline

Write = Callable[[str], None]
_SAMPLE = 4096  # nodes of which a fact is checked after a pass: all of nearly every model


class Verifier(Instrument):
    """Checks, after each pass, the IR and the facts that passes have established so far.

    A check is left out only where nothing it looks at can have changed: the IR after an annotating pass that edited
    nothing, a fact when the pass changed no node and does not establish it. In models of many nodes a fact is checked
    for a sample of them.
    """

    def __init__(self, assume: Iterable[Fact] = ()) -> None:
        self._assumed = frozenset(assume)
        self._believed: dict[Fact, str] = {}
        self._done: list[str] = []
        self._revision = 0

    def start(self, model: Model, pipeline: Pipeline) -> None:
        """Begin with what is assumed."""
        self._believed = dict.fromkeys(self._assumed, "")
        self._done = []
        self._revision = model.revision

    def after(self, model: Model, run: PassRun) -> None:
        """Check what may have changed. Raises PassError."""
        from modelexport.ir.verify import verify

        step, result = run.step, run.result
        edited = model.revision != self._revision
        self._revision = model.revision
        if edited and (step.metadata_only or not result.structure_changed):
            said = "is declared metadata_only" if step.metadata_only else "says it did not"
            self._refuse(run, f"edited the structure, though it {said}", [])
        structure_changed = edited or result.structure_changed
        found = verify(model, everything=structure_changed or not step.metadata_only)
        self._refuse_any(run, "left the graph inconsistent", found)
        for fact in step.invalidates:
            self._believed.pop(fact, None)
        changed = structure_changed or result.changed > 0
        for fact, by in self._believed.items():
            if changed and fact not in step.establishes:
                self._refuse_any(
                    run, f"broke {fact.value}{f', which {by} established' if by else ''}", fact.check(model, _SAMPLE)
                )
        for fact in sorted(step.establishes, key=lambda fact: fact.value):
            self._refuse_any(run, f"says it establishes {fact.value}", fact.check(model, _SAMPLE))
            self._believed[fact] = step.name
        self._done.append(step.name)

    def _refuse_any(self, run: PassRun, what: str, violations: Iterable[Violation]) -> None:
        first = list(islice(violations, 4))
        if first:
            self._refuse(run, what, first)

    def _refuse(self, run: PassRun, what: str, violations: list[Violation]) -> None:
        details = "; ".join(map(str, violations[:3])) + ("; and more" if len(violations) > 3 else "")
        message = f"the pass {run.name} {what}" + (f": {details}" if details else "")
        raise PassError(message, run.name, tuple(self._done), violations[0].where if violations else "")


class Timing(Instrument):
    """Notes resident memory after each pass and the process's peak so far, in MB, in the run's record."""

    def after(self, model: Model, run: PassRun) -> None:
        """Fill ``rss_mb`` and ``peak_mb``."""
        run.rss_mb, run.peak_mb = memory_mb()


class IrPrinter(Instrument):
    """Prints the IR around passes.

    Args:
        write: receives the text, with its newline.
        before, after: names of passes; ``all`` is every pass.
        on_change: print after each pass that changed something.
        on_failure: print the model as a failing pass left it.
    """

    def __init__(
        self,
        write: Write,
        *,
        before: Collection[str] = (),
        after: Collection[str] = (),
        on_change: bool = False,
        on_failure: bool = False,
    ) -> None:
        self._write = write
        self._before = frozenset(before)
        self._after = frozenset(after)
        self._on_change = on_change
        self._on_failure = on_failure

    def before(self, model: Model, run: PassRun) -> None:
        """Print if this pass was named."""
        if not self._before.isdisjoint((run.name, "all")):
            self._print("before", model, run)

    def after(self, model: Model, run: PassRun) -> None:
        """Print if this pass was named or changed something."""
        changed = run.result.changed > 0 or run.result.structure_changed
        if not self._after.isdisjoint((run.name, "all")) or (self._on_change and changed):
            self._print("after", model, run)

    def failed(self, model: Model, run: PassRun, error: BaseException) -> None:
        """Print the model as the pass left it."""
        if self._on_failure:
            self._print("at the failure of", model, run)

    def _print(self, when: str, model: Model, run: PassRun) -> None:
        from modelexport.ir.dump import dump

        self._write(f"// IR {when} {run.step}\n{dump(model).rstrip()}\n")


class Progress(Instrument):
    """Says which pass runs and what it did, one line each."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._total = 0

    def start(self, model: Model, pipeline: Pipeline) -> None:
        """Count the passes."""
        self._total = len(pipeline)

    def before(self, model: Model, run: PassRun) -> None:
        """Name the pass."""
        self._write(f"[{run.index + 1}/{self._total}] {run.name}")

    def after(self, model: Model, run: PassRun) -> None:
        """Say what it did."""
        result = run.result
        if result.skipped:
            self._write(f" skipped: {result.skipped}\n")
        else:
            notes = "".join(f"; {key}: {text}" for key, value in result.notes.items() if (text := note_text(value)))
            nodes = f"{result.changed} node{'' if result.changed == 1 else 's'}"
            self._write(f" changed {nodes} in {run.seconds:.2f} s{notes}\n")

    def failed(self, model: Model, run: PassRun, error: BaseException) -> None:
        """End the line."""
        self._write(" failed\n")
