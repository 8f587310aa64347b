"""What ``htp-opt`` does with its options, from the checks before any work to the printed result."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import click

from modelexport.cli import output as out

if TYPE_CHECKING:
    from modelexport.ir.model import Model
    from modelexport.passes.pipeline.base import PassContext
    from modelexport.passes.pipeline.manager import Instrument, RunReport
    from modelexport.passes.pipeline.reproducer import Reproducer
    from modelexport.passes.pipeline.text import Pipeline

STREAM = "-"


@dataclass
class Job:
    """The options of one run; see the command's help."""

    input: str | None
    output: str | None
    in_place: bool
    passes: str | None
    trace: str | None
    reference: str | None
    sidecar: bool
    sidecar_path: str | None
    report: str | None
    explain: str | None
    emit: str
    external_data: str
    allow_outside_data: bool
    check: bool
    keep_going: bool
    dry_run: bool
    list_passes: bool
    form: str | None
    print_ir_before: tuple[str, ...]
    print_ir_after: tuple[str, ...]
    time_passes: bool
    no_verify_each: bool
    reproducer: str | None
    quiet: bool
    verbose: int
    debug: bool

    def run(self) -> int:
        """Do it, and return the exit status. Raises ModelExportError, click.UsageError and out.ReaderGone."""
        if self.list_passes:
            return self._list_passes()
        if self.form is not None:
            raise click.UsageError("--format belongs to --list-passes; the report has --report")
        self._check_usage()
        self._listen()
        self._check_files()
        pipeline = self._pipeline()
        with _fewer_collections():
            return self._work(pipeline)

    def _work(self, pipeline: Pipeline) -> int:
        from modelexport.ir.errors import PassError
        from modelexport.ir.io.reader import load_model
        from modelexport.passes.pipeline.manager import PassManager

        reproducer = self._make_reproducer()
        manager = PassManager(
            pipeline,
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
        problems = [str(finding) for finding in run.findings] + self._checker_problems(model)
        for problem in problems:
            out.say(f"error: {out.one_line(problem)}")
        if not problems or self.keep_going:
            self._write(model)
        self._times(run)
        self._print(model, run)
        return out.FINDINGS if problems else 0

    # Before any work

    def _check_usage(self) -> None:
        if self.input is None:
            raise click.UsageError("Missing argument 'INPUT': an ONNX file, or '-' for stdin.")
        if self.in_place:
            if self.input == STREAM:
                raise click.UsageError("--in-place needs a file, not stdin")
            if self.output is not None and not _same_file(self.output, self.input):
                raise click.UsageError("--in-place writes over INPUT: leave -o out")
            if self.emit != "onnx":
                raise click.UsageError(f"--in-place would replace the model by {self.emit}: give -o")
            self.output = self.input
        if self.sidecar and self.sidecar_path is None and self.output in (None, STREAM):
            raise click.UsageError("--sidecar needs -o FILE to be written beside, or --sidecar-path")
        if self.output == STREAM and self.emit == "onnx" and sys.stdout.isatty() and not self.dry_run:
            raise click.UsageError("a model is not written to a terminal: redirect stdout")

    def _check_files(self) -> None:
        """Refuse outputs that are inputs, and inputs that can't be read, before any work."""
        from modelexport.ir.errors import InputError, OutputError
        from modelexport.ir.io.atomic import check_writable

        inputs = {"the input": self.input, "--trace": self.trace, "--reference": self.reference}
        outputs = {"-o": self.output, "the sidecar": self._sidecar_target, "--reproducer": self.reproducer}
        taken: dict[str, str] = {}
        for name, target in outputs.items():
            if target in (None, STREAM):
                continue
            for what, source in inputs.items():
                if source not in (None, STREAM) and _same_file(str(target), str(source)):
                    if name == "-o" and what == "the input":
                        if self.in_place:
                            continue
                        raise OutputError(f"{target}: is the input; --in-place writes over it")
                    raise OutputError(f"{target}: {name} would overwrite {what}")
            for other, where in taken.items():
                if _same_file(str(target), where):
                    raise OutputError(f"{target}: {name} would overwrite {other}")
            taken[name] = str(target)
            if not self.dry_run or name == "--reproducer":
                check_writable(Path(str(target)))
        for name in ("--trace", "--reference"):
            path = inputs[name]
            if path is not None:
                try:
                    with open(path, "rb"):
                        pass
                except OSError as error:
                    raise InputError(f"{path}: {error.strerror or error} ({name})") from None

    def _pipeline(self) -> Pipeline:
        from modelexport.passes.pipeline.text import Pipeline

        default = "htp-trace" if self.trace else "htp-retag" if self.reference else "htp"
        pipeline = Pipeline.parse(default if self.passes is None else self.passes)
        names = [step.name for step in pipeline]
        asked = {"--explain": [self.explain] if self.explain else []}
        asked |= {"--print-ir-before": [*self.print_ir_before], "--print-ir-after": [*self.print_ir_after]}
        for option, wanted in asked.items():
            for name in wanted:
                if name not in names and (name != "all" or option == "--explain"):
                    known = ", ".join(names) or "no pass"
                    raise click.UsageError(f"{option}: the pipeline has no pass {name!r}; it runs {known}")
        return pipeline

    def _context(self) -> PassContext:
        from modelexport.passes.pipeline.base import PassContext
        from modelexport.passes.pipeline.limits import memory_limit_mb

        return PassContext(
            reference=Path(self.reference) if self.reference is not None else None,
            trace=Path(self.trace) if self.trace is not None else None,
            memory_limit_mb=memory_limit_mb(),
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

    @cached_property
    def _sidecar_target(self) -> str | None:
        """Where the sidecar goes; None where none is asked for."""
        if self.sidecar_path is not None:
            return self.sidecar_path
        if not self.sidecar or self.output is None:
            return None
        from modelexport.ir.io.sidecar import sidecar_path

        return str(sidecar_path(Path(self.output)))

    def _checker_problems(self, model: Model) -> list[str]:
        if not self.check:
            return []
        from modelexport.cli.checking import check_model

        problem = check_model(model)
        return [f"onnx.checker: {problem}"] if problem else []

    def _write(self, model: Model) -> None:
        """Data, model, sidecar, in this order; where one of them fails, none of the later ones appears."""
        if self.dry_run:
            if self.output is not None and not self.quiet:
                out.say(f"dry run: {self.output} is not written")
            return
        if self._sidecar_target is None:
            self._write_main(model)
            return
        from modelexport.ir.io.atomic import atomic_output
        from modelexport.ir.io.sidecar import write_sidecar

        with atomic_output(Path(self._sidecar_target)) as stream:
            write_sidecar(model, stream, model_path=self._named_output())
            stream.flush()
            self._write_main(model)

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
            from modelexport.ir.io.external_data import may_have_external_data
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
        import io

        from modelexport.ir.io.sidecar import write_sidecar

        stream = io.BytesIO()
        write_sidecar(model, stream, model_path=self._named_output())
        return stream.getvalue().decode("utf-8")

    def _named_output(self) -> str:
        """The model that reports and sidecars speak of: the output, else the input."""
        named = self.output if self.output not in (None, STREAM) and self.emit == "onnx" else self.input
        return str(named)

    def _print(self, model: Model, run: RunReport) -> None:
        from modelexport.passes.pipeline.report import explanation, model_summary, sources_line

        stdout_taken = self.output == STREAM and not self.dry_run
        if self.output is None and self.emit != "onnx":
            out.put(self._emitted(model).rstrip("\n"))
            stdout_taken = True
        wanted = self.report or ("table" if self.output is None and self.emit == "onnx" else None)
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
        elif self.output is not None and not self.quiet:
            out.say(f"{self.output if self.output != STREAM else 'stdout'}: {sources_line(model)}")

    # Talk

    def _list_passes(self) -> int:
        from modelexport.passes.pipeline.listing import list_passes

        listing, warnings = list_passes()
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
        if os.environ.get("MODELEXPORT_AUX_OPS_DEBUG") == "1":
            level = logging.DEBUG
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


def _same_file(left: str, right: str) -> bool:
    """Whether two paths are one file, through links of both kinds too."""
    try:
        return os.path.samefile(left, right)
    except OSError:
        return os.path.realpath(left) == os.path.realpath(right)


@contextmanager
def _fewer_collections() -> Iterator[None]:
    """Let the cyclic collector run seldom: what a run allocates lives to its end."""
    before = gc.get_threshold()
    gc.set_threshold(200_000, 50, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
