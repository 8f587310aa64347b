"""The report: a text that says what was exported, how, and how well each node's module is known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from modelexport.frontend.monitor import facts
from modelexport.frontend.monitor.data import HTPExportStep
from modelexport.frontend.monitor.files import text_output
from modelexport.frontend.monitor.record import ExportRecord
from modelexport.frontend.monitor.screen import screens
from modelexport.frontend.monitor.screen.text import Line, clean, number, percent, plain, seconds, size
from modelexport.frontend.monitor.screen.view import View
from modelexport.frontend.monitor.spelling import absent, spelled
from modelexport.frontend.monitor.writers import StepAwareWriter

WIDTH = 100


class HTPReportWriter(StepAwareWriter):
    """Writes the report when the export is over, line by line."""

    def start(self, record: ExportRecord) -> None:
        """Take the record."""
        self._record = record

    def get_report(self) -> str:
        """What the file would say now."""
        return "".join(f"{line}\n" for line in report_lines(self._record))

    def finish(self) -> Path | None:
        """Write the file."""
        path = self._record.report_path
        with text_output(path) as stream:
            stream.writelines(f"{line}\n" for line in report_lines(self._record))
        return path


def report_lines(record: ExportRecord) -> Iterator[str]:
    """The report of ``record``, line by line."""
    view = record.view()
    sections: tuple[tuple[str, Iterable[str]], ...] = (
        ("What was exported", _what(record, view)),
        ("How", _how(record)),
        ("Steps", _steps(record)),
        ("Modules", _modules(view)),
        ("Coverage by source", _texts(screens.coverage(view, WIDTH)) if view.total_nodes else ()),
        ("Lowest confidence", _doubtful(record, view)),
        ("Warnings", _warnings(record)),
        ("Files", _files(record)),
    )
    yield f"HTP export report: {clean(record.data.model_name or record.data.model_class or record.output_path.name)}"
    yield "=" * WIDTH
    yield from _outcome(record)
    for title, lines in sections:
        yield ""
        yield title
        yield "-" * WIDTH
        empty = True
        for line in lines:
            empty = False
            yield line
        if empty:
            yield "  none"


def _texts(lines: Iterable[Line]) -> Iterator[str]:
    return (plain(line)[screens.INDENT - 2 :] for line in lines)


def _fact(label: str, value: object) -> Iterator[str]:
    if not absent(value):
        yield from _texts(screens.fact(label, value, WIDTH))


def _outcome(record: ExportRecord) -> Iterator[str]:
    outcome = record.outcome
    at = f"[{outcome.step.number}/{len(HTPExportStep)}] {outcome.step}" if outcome.step else "no step"
    if outcome.status == "failed":
        yield f"Outcome: failed at {at}"
        for step, message in record.failures:
            yield f"  {step}:"
            yield from (f"    {clean(line)}" for line in message.splitlines() or [""])
    elif outcome.status == "incomplete":
        yield f"Outcome: incomplete; the last step was {at}"
    else:
        yield f"Outcome: success in {seconds(record.seconds)}"


def _what(record: ExportRecord, view: View) -> Iterator[str]:
    data = record.data
    yield from _fact("model", data.model_name)
    yield from _fact("class", data.model_class)
    yield from _fact("modules", data.total_modules or len(view))
    yield from _fact("parameters", data.total_parameters)
    yield from _fact("module calls", data.execution_steps)
    yield from _fact("nodes", view.total_nodes)
    for position, text in enumerate(facts.input_texts(data)):
        yield from _fact("" if position else "inputs", text)


def _how(record: ExportRecord) -> Iterator[str]:
    for label, value in facts.how(record).items():
        # An opset is a name made of digits, not an amount.
        yield from _fact(label, None if value is None else spelled(value))
    yield from _fact("tags inside", record.data.embed_hierarchy_attributes)
    yield from _fact("versions", ", ".join(f"{name} {number}" for name, number in facts.versions().items()))
    yield from _fact("platform", facts.system())
    yield from _fact("started", record.generated_at)


def _steps(record: ExportRecord) -> Iterator[str]:
    yield f"  {'step':<42}{'status':<10}{'time':>14}{'memory':>12}"
    for step, state in record.steps.items():
        ran = state.status != "not run"
        took = seconds(state.seconds) if ran else ""
        memory = f"{number(state.memory_mb)} MB" if ran else ""
        name = f"[{step.number}/{len(HTPExportStep)}] {step.label}"
        yield f"  {name:<42}{state.status:<10}{took:>14}{memory:>12}".rstrip()


def _modules(view: View) -> Iterator[str]:
    if not len(view):
        return
    yield f"  {'nodes':>9}{'with children':>15}{'parameters':>15}{'with children':>16}{'calls':>7}  module"
    for row in view.rows():
        own, every = (number(row.nodes), number(row.all_nodes)) if view.has_nodes else ("?", "?")
        amounts = f"{own:>9}{every:>15}{number(row.info.parameters):>15}{number(row.all_parameters):>16}"
        name = " ".join(part for part in (clean(row.info.path) or "(root)", clean(row.info.class_name)) if part)
        yield f"  {amounts}{number(row.info.calls):>7}  {name}"
    if view.unlisted:
        yield f"  {number(view.unlisted):>9} nodes belong to modules that are not in this table"


def _doubtful(record: ExportRecord, view: View) -> Iterator[str]:
    lines = list(_texts(screens.doubtful(view, record.config.max_display_nodes, WIDTH)))
    if lines:
        yield from lines
    elif view.tagged_nodes and view.by_source:
        yield "  every tag has confidence 1.00"


def _warnings(record: ExportRecord) -> Iterator[str]:
    view = record.view()
    if view.total_nodes > view.tagged_nodes:
        share = percent(1 - view.coverage)
        untagged = view.total_nodes - view.tagged_nodes
        yield f"  {number(untagged)} {'node has' if untagged == 1 else 'nodes have'} no tag ({share})"
    for text in facts.warnings(record):
        yield f"  {clean(text)}"
    for failure in record.writer_failures:
        yield f"  {clean(failure)}"


def _files(record: ExportRecord) -> Iterator[str]:
    for role, path in facts.model_files(record):
        held = facts.size(path)
        amount = "missing" if held is None else size(held)
        yield f"  {clean(role):<16}{clean(path.name)} ({amount})"
    for role, path in (
        ("metadata", record.metadata_path),
        ("report", record.report_path),
        ("console log", record.console_path),
    ):
        yield f"  {role:<16}{clean(path.name)}"
