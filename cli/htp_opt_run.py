"""What ``htp-opt`` does with its options, from the checks before any work to the printed result."""

from __future__ import annotations

import gc
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from modelexport.cli import output as out
from modelexport.cli.htp_opt_options import STREAM, Options

if TYPE_CHECKING:
    from modelexport.ir.model import Model
    from modelexport.passes.pipeline.base import PassContext
    from modelexport.passes.pipeline.reproducer import Reproducer
    from modelexport.passes.pipeline.run import Instrument, RunReport


class Job(Options):
    """One run."""

    def run(self) -> int:
        """Do it, and return the exit status. Raises ModelExportError, click.UsageError and out.ReaderGone."""
        if self.list_passes:
            return self._list_passes()
        if self.form is not None:
            raise click.UsageError("--format belongs to --list-passes; the report has --report")
        self.check_usage()
        self._listen()
        self.check_files()
        self.check_names()
        with _fewer_collections():
            return self._work()

    def _work(self) -> int:
        from modelexport.ir.errors import PassError
        from modelexport.ir.io.reader import load_model
        from modelexport.passes.pipeline.manager import PassManager

        reproducer = self._make_reproducer()
        manager = PassManager(
            self.pipeline,
            [*self._instruments(), *([reproducer] if reproducer else [])],
            verify_each=not self.no_verify_each,
            context=self._context(),
            keep_going=self.keep_going,
        )
        model = load_model(sys.stdin.buffer if self.input == STREAM else str(self.input))
        gc.freeze()
        try:
            run = manager.run(model)
        except PassError as error:
            if reproducer is None:
                error.args = (f"{error}; --reproducer FILE saves the model as it was before this pass",)
            raise
        finally:
            self._tell_reproducer(reproducer)
            self._warnings(model)
        if os.environ.get("MODELEXPORT_AUX_OPS_DEBUG") == "1":
            from modelexport.frontend.export.auxiliary import log_auxiliary

            log_auxiliary(model)
        problems = [str(finding) for finding in run.findings] + self._checker_problems(model)
        for problem in problems:
            out.say(f"error: {out.one_line(problem)}")
        refused = bool(problems) and not self.keep_going
        if not refused:
            self._write(model)
        self._times(run)
        self._print(model, run, silent=refused and self.output is not None)
        return out.FINDINGS if problems else 0

    def _context(self) -> PassContext:
        from modelexport.ir.limits import memory_limit_mb
        from modelexport.passes.pipeline.base import PassContext

        return PassContext(
            reference=Path(self.reference) if self.reference is not None else None,
            trace=Path(self.trace) if self.trace is not None else None,
            memory_limit_mb=memory_limit_mb(),
            progress=out.progress if sys.stderr.isatty() and not self.quiet else None,
        )

    def _instruments(self) -> list[Instrument]:
        from modelexport.passes.pipeline import instruments

        found: list[Instrument] = []
        if self.verbose and not self.quiet:
            found.append(instruments.Progress(lambda text: out.say(text, newline=False)))
        if self.print_ir_before or self.print_ir_after:
            found.append(
                instruments.IrPrinter(
                    lambda text: out.say(text, newline=False), before=self.print_ir_before, after=self.print_ir_after
                )
            )
        if self.time_passes:
            found.append(instruments.Timing())
        return found

    def _make_reproducer(self) -> Reproducer | None:
        if self.reproducer is None:
            return None
        from modelexport.passes.pipeline.reproducer import Reproducer

        arguments: list[str] = ["--no-verify-each"] if self.no_verify_each else []
        for option, path in (("--trace", self.trace), ("--reference", self.reference)):
            if path is not None:
                arguments += [option, os.path.abspath(path)]
        return Reproducer(Path(self.reproducer), arguments)

    # The result

    def _checker_problems(self, model: Model) -> list[str]:
        if not self.check:
            return []
        from modelexport.cli.checking import check_model

        problem = check_model(model)
        return [f"onnx.checker: {problem}"] if problem else []

    def _write(self, model: Model) -> None:
        """Data, model, sidecar, one after the other; where one of them fails, none of the later ones appears."""
        if self.dry_run:
            if self.output is not None and not self.quiet:
                out.say(f"dry run: {self.output} is not written")
            return
        self._write_main(model)
        if self.sidecar_target is not None:
            from modelexport.ir.io.atomic import atomic_output

            with atomic_output(Path(self.sidecar_target)) as stream:
                self._write_hierarchy(model, stream)

    def _write_main(self, model: Model) -> None:
        if self.output is None:
            return
        if self.emit != "onnx":
            text = self._emitted(model)
            if self.output == STREAM:
                out.put(text.rstrip("\n"))
                return
            from modelexport.ir.io.atomic import atomic_output

            with atomic_output(Path(self.output)) as stream:
                stream.write(text.encode("utf-8", "backslashreplace"))
        elif self.output == STREAM:
            from modelexport.ir.io.external.external_data import may_have_external_data
            from modelexport.ir.io.writer import to_bytes

            data = to_bytes(model)
            if may_have_external_data(data) and not self.quiet:
                out.warn("the model on stdout keeps its references to external data")
            out.put_bytes(data)
        else:
            from modelexport.ir.io.writer import save_model

            known = len(model.warnings)
            save_model(
                model,
                self.output,
                external_data=self.external_data,  # type: ignore[arg-type]  # click has checked the choice
                allow_outside_data=self.allow_outside_data,
            )
            if not self.quiet:
                for line in model.warnings[known:]:
                    out.warn(line)

    def _emitted(self, model: Model) -> str:
        if self.emit == "text":
            from modelexport.ir.dump import dump

            return dump(model)
        stream = io.BytesIO()
        self._write_hierarchy(model, stream)
        return stream.getvalue().decode("utf-8")

    def _write_hierarchy(self, model: Model, stream: BinaryIO) -> None:
        """The sidecar, with the tags that the model carries."""
        from modelexport.ir.io.sidecar import write_sidecar

        pipeline = self.pipeline
        torch_nn = all(getattr(step, "torch_nn", True) for step in pipeline)
        write_sidecar(model, stream, pipeline=pipeline.recorded(), model_path=self._named_output(), torch_nn=torch_nn)

    def _named_output(self) -> str:
        """The model that reports and sidecars speak of: the output, else the input."""
        writes = self.output not in (None, STREAM) and self.emit == "onnx" and not self.dry_run
        return str(self.output if writes else self.input)

    def _print(self, model: Model, run: RunReport, *, silent: bool) -> None:
        """The result on stdout. ``silent``: what was to be written was not, so only what was asked for is printed."""
        from modelexport.passes.report import explanation, model_summary, sources_line

        writes = self.output is not None and not self.dry_run
        stdout_taken = writes and self.output == STREAM
        if not writes and self.emit != "onnx":
            out.put(self._emitted(model).rstrip("\n"))
            stdout_taken = True
        wanted = self.report or ("table" if not writes and self.emit == "onnx" else None)
        decisions = explanation(model, self.explain) if self.explain else None
        if wanted == "json":
            summary = model_summary(model, self._named_output())
            if decisions is not None:
                summary["explain"] = {"pass": self.explain, "decisions": decisions}
            out.put_json(summary, to_stderr=stdout_taken)
            return
        if decisions is not None:
            notes = next(each.result for each in run.runs if each.name == self.explain)
            out.put(
                out.explanation_text(str(self.explain), notes.skipped, notes.notes, decisions), to_stderr=stdout_taken
            )
        if self.report == "table" or (wanted and decisions is None):
            out.print_report(model_summary(model, self._named_output()), to_stderr=stdout_taken)
        elif writes and not silent and not self.quiet:
            out.say(f"{self.output if self.output != STREAM else 'stdout'}: {sources_line(model)}")

    # Talk

    def _list_passes(self) -> int:
        from modelexport.passes.pipeline.listing import list_passes

        listing, warnings = list_passes(docs=self.form != "json")
        for line in warnings:
            out.warn(line)
        if self.form == "json":
            out.put_json(listing)
        else:
            out.put(out.listing_text(listing))
        return 0

    def _listen(self) -> None:
        import logging

        level = logging.DEBUG if self.debug or self.verbose > 1 else logging.INFO if self.verbose else logging.WARNING
        logger = logging.getLogger("modelexport")
        logger.setLevel(level)
        if not any(isinstance(handler, out.TalkHandler) for handler in logger.handlers):
            logger.addHandler(out.TalkHandler())

    def _warnings(self, model: Model) -> None:
        if not self.quiet:
            for line in dict.fromkeys(model.warnings):
                out.warn(line)

    def _times(self, run: RunReport) -> None:
        if self.time_passes:
            rows = [
                (each.name, f"{each.seconds:.3f}", f"{each.rss_mb or 0:.0f}", f"{each.peak_mb or 0:.0f}")
                for each in run.runs
            ]
            out.say(out.table(("pass", "seconds", "MB after", "MB peak"), rows))

    def _tell_reproducer(self, reproducer: Reproducer | None) -> None:
        if reproducer is None:
            return
        if reproducer.problem:
            out.warn(f"no reproducer was written: {reproducer.problem}")
        elif reproducer.written and not self.quiet:
            out.say(f"reproducer: {' and '.join(map(str, reproducer.written))}")


@contextmanager
def _fewer_collections() -> Iterator[None]:
    """Let the cyclic collector run seldom: what a run allocates lives to its end."""
    before = gc.get_threshold()
    gc.set_threshold(2_000_000, 50, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
