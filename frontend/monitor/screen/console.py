"""The console: the steps as they happen, in colour on a terminal and as the same plain text elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from modelexport.frontend.monitor import facts
from modelexport.frontend.monitor.data import HTPExportData, HTPExportStep
from modelexport.frontend.monitor.files import text_output
from modelexport.frontend.monitor.record import ExportRecord
from modelexport.frontend.monitor.screen import screens
from modelexport.frontend.monitor.screen.terminal import Terminal, open_terminal
from modelexport.frontend.monitor.screen.text import Line, number, percent, plain, seconds, size
from modelexport.frontend.monitor.writers import StepAwareWriter

if TYPE_CHECKING:
    from rich.console import Console

_OWN_LINES = frozenset({"warnings", "files", "inputs", "file_size"})


class HTPConsoleWriter(StepAwareWriter):
    """Prints the steps when ``verbose``, and keeps the same text as the console log either way."""

    def __init__(self, verbose: bool = True, console: Console | None = None) -> None:
        self._verbose = verbose
        self._console = console
        self._terminal: Terminal | None = None
        self._lines: list[str] = []
        self._tree_has_nodes: bool | None = None
        self._warned: set[str] = set()
        self._failures_said = 0

    def start(self, record: ExportRecord) -> None:
        """Take the record; nothing is printed before the first step."""
        self._record = record

    def get_output(self) -> str:
        """The text so far, without colours."""
        return "".join(f"{line}\n" for line in self._lines)

    def on_model_prep(self, data: HTPExportData) -> None:
        """Which model it is."""
        known = self._facts(
            ("model", data.model_class or data.model_name),
            ("modules", data.total_modules),
            ("parameters", data.total_parameters),
        )
        self._show(HTPExportStep.MODEL_PREP, known)

    def on_input_gen(self, data: HTPExportData) -> None:
        """The inputs with their types and shapes."""
        lines = screens.listed("inputs", facts.input_texts(data), self._width, self._rows)
        self._show(HTPExportStep.INPUT_GEN, lines)

    def on_hierarchy(self, data: HTPExportData) -> None:
        """The module tree."""
        known = self._facts(
            ("modules", len(data.hierarchy) or data.total_modules), ("module calls", data.execution_steps)
        )
        self._show(HTPExportStep.HIERARCHY, known, self._tree())

    def on_node_tagging(self, data: HTPExportData) -> None:
        """The module tree with its nodes, and the nodes that are least certain."""
        view = self._record.view()
        known = self._facts(
            ("nodes", view.total_nodes),
            ("tagged", f"{number(view.tagged_nodes)} ({percent(view.coverage)})" if view.total_nodes else ""),
        )
        self._show(HTPExportStep.NODE_TAGGING, known, self._tree(), screens.doubtful(view, self._rows, self._width))

    def on_save(self, data: HTPExportData) -> None:
        """Where the model is."""
        found = data.details(HTPExportStep.SAVE).get("file_size")
        known = self._facts(
            ("file", data.output_path),
            ("size", size(found) if isinstance(found, int) else ""),
            ("tags inside", data.embed_hierarchy_attributes),
        )
        self._show(HTPExportStep.SAVE, known)

    def on_complete(self, data: HTPExportData) -> None:
        """Coverage by source, and how it ended."""
        view = self._record.view()
        outcome = self._record.outcome
        if outcome.status == "failed":
            ending = screens.message(self._failure(), self._width, "error")
        else:
            done = f"Done in {seconds(self._record.seconds)}"
            if view.total_nodes:
                done += f": {number(view.tagged_nodes)} of {number(view.total_nodes)} nodes have their module"
            ending = screens.message(f"{done}.", self._width, "good")
        table = screens.coverage(view, self._width) if view.total_nodes else ()
        self._show(HTPExportStep.COMPLETE, table, ending)

    def on_step(self, step: HTPExportStep, data: HTPExportData) -> None:
        """A step that has nothing of its own: its step-specific data."""
        self._show(step)

    def on_error(self, step: HTPExportStep, message: str) -> None:
        """Which step failed, and why."""
        self._begin()
        took = self._record.steps[step].seconds
        lines = screens.message(message, self._width, "error")
        shown = lines[:20]
        if len(lines) > len(shown):
            cut = f"... {number(len(lines) - len(shown))} more lines in the report"
            shown.append([(" " * screens.INDENT, ""), (cut, "dim")])
        self._print([screens.step_header(step, took, self._width, failed=True), *shown])

    def finish(self) -> Path | None:
        """Say how it ended and which files there are; write the console log."""
        self._begin()
        record = self._record
        lines: list[Line] = []
        if record.outcome.status == "failed":
            lines.extend(screens.message(self._failure(), self._width, "error"))
        elif record.outcome.status == "incomplete":
            last = record.last
            where = f"the last step was [{last.number}/{len(HTPExportStep)}] {last}" if last else "no step ran"
            lines.append([(f"Incomplete: {where}.", "warning")])
        path = record.console_path
        report = [record.report_path] if record.report_path in record.files else []
        names = [file.name for file in (record.metadata_path, *report, path)]
        lines.extend(screens.listed("files", names, self._width, len(names)))
        lines.extend(screens.listed("writers", self._new_failures(), self._width, self._rows, "warning"))
        self._print(lines)
        self._stop()
        with text_output(path) as stream:
            stream.write(self.get_output())
        return path

    def say_failures(self) -> None:
        """Say which writers failed since the last word."""
        failures = self._new_failures()
        if failures:
            self._print(list(screens.listed("writers", failures, self._width, self._rows, "warning")))

    def _new_failures(self) -> list[str]:
        """Failures of writers that were not said yet."""
        failures = [str(failure) for failure in self._record.writer_failures[self._failures_said :]]
        self._failures_said += len(failures)
        return failures

    def _failure(self) -> str:
        outcome = self._record.outcome
        step = outcome.step or HTPExportStep.MODEL_PREP
        why = (outcome.error or "").splitlines() or [""]
        return f"Failed at [{step.number}/{len(HTPExportStep)}] {step}: {why[0]}"

    @property
    def _width(self) -> int:
        return self._terminal.width if self._terminal is not None else 80

    @property
    def _rows(self) -> int:
        return self._record.config.max_display_nodes

    def _facts(self, *facts: tuple[str, object]) -> Iterator[Line]:
        for label, value in facts:
            if value not in ("", 0) or isinstance(value, bool):
                yield from screens.fact(label, value, self._width)

    def _tree(self) -> Iterable[Line]:
        """The module tree, unless it was shown with the same columns before."""
        view = self._record.view()
        if not len(view) or (self._tree_has_nodes is not None and self._tree_has_nodes >= view.has_nodes):
            return ()
        self._tree_has_nodes = view.has_nodes
        return screens.tree(view, self._record.config, self._width)

    def _show(self, step: HTPExportStep, *blocks: Iterable[Line]) -> None:
        self._begin()
        found = self._record.data.details(step)
        rest = {key: value for key, value in found.items() if key not in _OWN_LINES}
        warnings = [text for text in facts.strings(found.get("warnings")) if text not in self._warned]
        self._warned.update(warnings)
        first = [*(blocks[0] if blocks else ()), *screens.details(rest, self._width, self._rows)]
        said = [
            *screens.listed("warnings", warnings, self._width, self._rows, "warning"),
            *screens.listed("writers", self._new_failures(), self._width, self._rows, "warning"),
        ]
        header = screens.step_header(step, self._record.steps[step].seconds, self._width)
        parts = [[header], *screens.separated([first, *blocks[1:], said])]
        if self._record.config.batch_console:
            parts = [[line for part in parts for line in part]]
        for part in parts:
            self._print(part)
        following = self._record.next_step
        if self._terminal is not None and following is not None:
            self._terminal.spin(f"[{following.number}/{len(HTPExportStep)}] {following.label}")

    def _begin(self) -> None:
        """Open the terminal and print the title, once."""
        if self._verbose and self._terminal is None:
            config = self._record.config
            self._terminal = open_terminal(self._console, config.style_numbers, not config.batch_console)
        self._stop()
        if not self._lines:
            name = self._record.data.model_name or self._record.data.model_class or "model"
            self._print(screens.heading(f"HTP export of {name} to {self._record.output_path.name}", self._width))

    def _stop(self) -> None:
        if self._terminal is not None:
            self._terminal.stop()

    def _print(self, lines: list[Line]) -> None:
        self._lines.extend(plain(line) for line in lines)
        if self._terminal is not None and lines:
            self._terminal.write(lines)
