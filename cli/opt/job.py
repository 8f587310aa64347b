"""What ``htp-opt`` does with its options, from the checks before any work to the printed result."""

from __future__ import annotations

import gc
import io
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from modelexport.cli import console as out
from modelexport.cli import tables
from modelexport.cli.opt.options import STREAM, Options

if TYPE_CHECKING:
    from modelexport.ir.io.embedded_tags import Record
    from modelexport.ir.model import Model
    from modelexport.ir.node import Node
    from modelexport.passes.pipeline.base import PassContext
    from modelexport.passes.pipeline.manager import PassManager
    from modelexport.passes.pipeline.reproducer import Reproducer
    from modelexport.passes.pipeline.run import Instrument, RunReport


class Job:
    """One run with these options."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.written: dict[Node, Record] | None = None  # the tags that the written file has
        self.is_stale = False  # whether they are others than this run's

    def run(self) -> int:
        """Do it, and return the exit status. Raises ModelExportError, click.UsageError and out.ReaderGone."""
        if self.options.list_passes:
            return self._list_passes()
        if self.options.form is not None:
            raise click.UsageError("--format belongs to --list-passes; the report has --report")
        self.options.check_usage()
        self._listen()
        self.options.check_files()
        self.options.check_names()
        with out.fewer_collections():
            return self._work()

    def _work(self) -> int:
        from modelexport.ir.io.reader import load_model
        from modelexport.passes.pipeline.manager import PassManager

        reproducer = self._make_reproducer()
        manager = PassManager(
            self.options.pipeline,
            [*self._instruments(), *([reproducer] if reproducer else [])],
            verify_each=not self.options.no_verify_each,
            context=self._context(),
            keep_going=self.options.keep_going,
        )
        model = load_model(sys.stdin.buffer if self.options.input == STREAM else str(self.options.input))
        gc.freeze()
        try:
            return self._run(model, manager, reproducer)
        finally:
            if model.data_home is not None:
                model.data_home.remove()

    def _run(self, model: Model, manager: PassManager, reproducer: Reproducer | None) -> int:
        from modelexport.ir.errors import PassError, ToolError

        try:
            run = manager.run(model)
        except PassError as error:
            if reproducer is None and not isinstance(error, ToolError):
                error.args = (f"{error}; --reproducer FILE saves the model as it was before this pass",)
            raise
        finally:
            self._tell_reproducer(reproducer)
            self._warnings(model)
        if os.environ.get("MODELEXPORT_AUX_OPS_DEBUG") == "1":
            from modelexport.frontend.export.auxiliary import log_auxiliary

            log_auxiliary(model)
        problems = [str(finding) for finding in run.findings] + self._checker_problems(model, run)
        for problem in problems:
            out.say(f"error: {out.one_line(problem)}")
        refused = bool(problems) and not self.options.keep_going
        if self.options.dry_run and not self.options.quiet:
            for each in run.runs:
                out.say(f"dry run: {each.told()}")
        elif not self.options.quiet and not self.options.verbose:  # which tells it as it happens
            for line in run.skipped:
                out.say(f"note: {line}")
        if not refused:
            self._write(model)
            self._look_at_tags(model, run)
        self._times(run)
        self._print(model, run, silent=refused and self.options.output is not None)
        return out.FINDINGS if problems else 0

    def _context(self) -> PassContext:
        from modelexport.ir.limits import memory_limit_mb
        from modelexport.passes.pipeline.base import PassContext

        return PassContext(
            reference=Path(self.options.reference) if self.options.reference is not None else None,
            trace=Path(self.options.trace) if self.options.trace is not None else None,
            memory_limit_mb=memory_limit_mb(),
            scratch=self.options.scratch,
            allow_outside_data=self.options.allow_outside_data,
            progress=out.progress if sys.stderr.isatty() and not self.options.quiet else None,
        )

    def _instruments(self) -> list[Instrument]:
        from modelexport.passes.pipeline import instruments

        found: list[Instrument] = []
        if self.options.verbose and not self.options.quiet:
            found.append(instruments.Progress(_say_on))
        if self.options.print_ir_before or self.options.print_ir_after:
            before, after = self.options.print_ir_before, self.options.print_ir_after
            found.append(instruments.IrPrinter(_say_on, before=before, after=after))
        if self.options.time_passes:
            found.append(instruments.Timing())
        return found

    def _make_reproducer(self) -> Reproducer | None:
        if self.options.reproducer is None:
            return None
        from modelexport.passes.pipeline.reproducer import Reproducer

        arguments: list[str] = ["--no-verify-each"] if self.options.no_verify_each else []
        for option, path in (("--trace", self.options.trace), ("--reference", self.options.reference)):
            if path is not None:
                arguments += [option, os.path.abspath(path)]
        return Reproducer(Path(self.options.reproducer), arguments)

    # The result

    def _checker_problems(self, model: Model, run: RunReport) -> list[str]:
        if not self.options.check:
            return []
        from modelexport.cli.checking import check_model

        tools = [str(each.result.notes.get("tool", "")) for each in run.runs]
        found = check_model(model, by_onnxruntime=any(tool.startswith("onnxruntime") for tool in tools))
        if found.note and not self.options.quiet:
            out.say(f"note: {found.note}")
        return [f"{found.by}: {found.problem}"] if found.problem else []

    def _write(self, model: Model) -> None:
        """Data, model, sidecar, one after the other; where one of them fails, none of the later ones appears."""
        if self.options.dry_run:
            if self.options.output is not None and not self.options.quiet:
                out.say(f"dry run: {self.options.output} is not written")
            return
        self._write_main(model)
        if self.options.sidecar_target is not None:
            from modelexport.ir.io.atomic import atomic_output

            with atomic_output(Path(self.options.sidecar_target)) as stream:
                self._write_hierarchy(model, stream)

    def _look_at_tags(self, model: Model, run: RunReport) -> None:
        """What tags the written model has, and a warning where they are not those of this run."""
        if self.options.output is None or self.options.dry_run or self.options.emit != "onnx":
            return
        from modelexport.ir.facts import Fact
        from modelexport.ir.io.merged_tags import tags_in_file
        from modelexport.passes.report import unwritten

        if Fact.EMBEDDED in run.facts:  # the file says what the IR says; verified
            return
        self.written = tags_in_file(model)
        decided = [each.step for each in run.runs if Fact.EMBEDDED in (*each.step.establishes, *each.step.invalidates)]
        stripped = bool(decided) and decided[-1].name == "strip-tags"
        count = 0 if stripped else unwritten(model, self.written)
        self.is_stale = count > 0
        if count and not self.options.quiet:
            name = "the model on stdout" if self.options.output == STREAM else str(self.options.output)
            out.warn(f"{name}: the tags of {count} nodes are not those of this run; add attribute-embedding")

    def _write_main(self, model: Model) -> None:
        if self.options.output is None:
            return
        if self.options.emit != "onnx":
            text = self._emitted(model)
            if self.options.output == STREAM:
                out.put(text.rstrip("\n"))
                return
            from modelexport.ir.io.atomic import atomic_output

            with atomic_output(Path(self.options.output)) as stream:
                stream.write(text.encode("utf-8", "backslashreplace"))
        else:
            known = len(model.warnings)
            self._write_model(model)
            if not self.options.quiet:
                for line in model.warnings[known:]:
                    out.warn(line)

    def _write_model(self, model: Model) -> None:
        from modelexport.ir.io.writer import save_model, streamed

        if self.options.output == STREAM:
            out.put_bytes(streamed(model, allow_outside_data=self.options.allow_outside_data))
            return
        save_model(
            model,
            str(self.options.output),
            external_data=self.options.external_data,  # type: ignore[arg-type]  # click has checked the choice
            allow_outside_data=self.options.allow_outside_data,
        )

    def _emitted(self, model: Model) -> str:
        if self.options.emit == "text":
            from modelexport.ir.dump import dump

            return dump(model)
        stream = io.BytesIO()
        self._write_hierarchy(model, stream)
        return stream.getvalue().decode("utf-8")

    def _write_hierarchy(self, model: Model, stream: BinaryIO) -> None:
        """The sidecar, with the tags that the model carries."""
        from modelexport.ir.io.embedded_tags import pipeline_of
        from modelexport.ir.io.sidecar import write_sidecar
        from modelexport.passes.pipeline.kept import with_kept_options

        pipeline = with_kept_options(self.options.pipeline, pipeline_of(model.metadata))
        torch_nn = all(getattr(step, "torch_nn", True) for step in pipeline)
        write_sidecar(model, stream, pipeline=pipeline.recorded(), model_path=self._named_output(), torch_nn=torch_nn)

    def _named_output(self) -> str:
        """The model that reports and sidecars speak of: the output, else the input."""
        writes = self.options.output not in (None, STREAM) and self.options.emit == "onnx" and not self.options.dry_run
        return str(self.options.output if writes and not self.is_stale else self.options.input)

    def _print(self, model: Model, run: RunReport, *, silent: bool) -> None:
        """The result on stdout. ``silent``: what was to be written was not, so only what was asked for is printed."""
        from modelexport.passes.report import NOTHING, explanation, model_summary, says_nothing, sources_line

        if not self.options.quiet and not silent and says_nothing(model):
            out.say(f"{self.options.input}: {NOTHING}")
        depth = self.options.depth
        writes = self.options.output is not None and not self.options.dry_run
        stdout_taken = writes and self.options.output == STREAM
        if not writes and self.options.emit != "onnx":
            out.put(self._emitted(model).rstrip("\n"))
            stdout_taken = True
        wanted = self.options.report or ("table" if not writes and self.options.emit == "onnx" else None)
        decisions = explanation(model, self.options.explain) if self.options.explain else None
        if wanted == "json":
            summary = model_summary(model, self._named_output())
            summary["modules"] = tables.down_to(summary["modules"], depth)
            summary["notes"] = run.notes
            summary["warnings"] = list(dict.fromkeys(model.warnings))
            if decisions is not None:
                summary["explain"] = {"pass": self.options.explain, "decisions": decisions}
            out.put_json(summary, to_stderr=stdout_taken)
            return
        if decisions is not None:
            notes = next(each.result for each in run.runs if each.name == self.options.explain)
            text = tables.explanation_text(str(self.options.explain), notes.skipped, notes.notes, decisions)
            out.put(text, to_stderr=stdout_taken)
        if self.options.report == "table" or (wanted and decisions is None):
            tables.print_report(model_summary(model, self._named_output()), to_stderr=stdout_taken, depth=depth)
        elif writes and not silent and not self.options.quiet:
            where = self.options.output if self.options.output != STREAM else "stdout"
            out.say(f"{where}: {sources_line(model, self.written)}")

    # Talk

    def _list_passes(self) -> int:
        from modelexport.passes.pipeline.listing import list_passes

        listing, warnings = list_passes(docs=self.options.form != "json")
        for line in warnings:
            out.warn(line)
        if self.options.form == "json":
            out.put_json(listing)
        else:
            out.put(tables.listing_text(listing))
        return 0

    def _listen(self) -> None:
        options = self.options
        level = logging.INFO if options.verbose else logging.WARNING
        if options.debug or options.verbose > 1:
            level = logging.DEBUG
        out.listen(click.get_current_context(), level)

    def _warnings(self, model: Model) -> None:
        if not self.options.quiet:
            for line in dict.fromkeys(model.warnings):
                out.warn(line)

    def _times(self, run: RunReport) -> None:
        if self.options.time_passes:
            rows = [
                (each.name, f"{each.seconds:.3f}", f"{each.rss_mb or 0:.0f}", f"{each.peak_mb or 0:.0f}")
                for each in run.runs
            ]
            out.say(tables.table(("pass", "seconds", "MB after", "MB peak"), rows))

    def _tell_reproducer(self, reproducer: Reproducer | None) -> None:
        if reproducer is None:
            return
        if reproducer.problem:
            out.warn(f"no reproducer was written: {reproducer.problem}")
        elif reproducer.written and not self.options.quiet:
            out.say(f"reproducer: {' and '.join(map(str, reproducer.written))}")


def _say_on(text: str) -> None:
    out.say(text, newline=False)
