"""The options of ``htp-opt``, and what is refused before any work."""

from __future__ import annotations

import os
import stat
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from modelexport.passes.pipeline.text import Pipeline

STREAM = "-"


@dataclass
class Options:
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
    depth: int | None
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

    @property
    def scratch(self) -> Path | None:
        """Folder for temporary files: that of the output; None where there is none."""
        written = self.output not in (None, STREAM) and not self.dry_run
        return Path(str(self.output)).absolute().parent if written else None

    @cached_property
    def sidecar_target(self) -> str | None:
        """Where the sidecar goes; None where none is asked for."""
        if self.sidecar_path is not None:
            return self.sidecar_path
        if not self.sidecar or self.output is None:
            return None
        from modelexport.ir.io.sidecar import sidecar_path

        return str(sidecar_path(Path(self.output)))

    def check_usage(self) -> None:
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

    def check_files(self) -> None:
        """Refuse outputs that are inputs, and inputs that can't be read, before any work."""
        from modelexport.ir.errors import InputError, OutputError
        from modelexport.ir.io.atomic import check_writable

        inputs = {"the input": self.input, "--trace": self.trace, "--reference": self.reference}
        outputs = {"-o": self.output, "the sidecar": self.sidecar_target, "--reproducer": self.reproducer}
        taken: dict[str, str] = {}
        for name, target in outputs.items():
            if target in (None, STREAM):
                continue
            for what, source in inputs.items():
                if source is not None and _same_file(str(target), str(source)):
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
        if self.sidecar_target is not None or self.emit == "json":
            from modelexport.ir.io.sidecar import generated_at

            generated_at()
        for name in ("--trace", "--reference"):
            path = inputs[name]
            if path is not None:
                try:
                    if not stat.S_ISFIFO(os.stat(path).st_mode):  # a pipe can be opened only once
                        open(path, "rb").close()
                except OSError as error:
                    raise InputError(f"{path}: {error.strerror or error} ({name})") from None

    @cached_property
    def pipeline(self) -> Pipeline:
        from modelexport.passes.pipeline.text import Pipeline

        default = "htp-trace" if self.trace else "htp-retag" if self.reference else "htp"
        return Pipeline.parse(default if self.passes is None else self.passes)

    def check_names(self) -> None:
        """Refuse to watch a pass that does not run."""
        names = [step.name for step in self.pipeline]
        asked = {"--explain": [self.explain] if self.explain else []}
        asked |= {"--print-ir-before": [*self.print_ir_before], "--print-ir-after": [*self.print_ir_after]}
        for option, wanted in asked.items():
            for name in wanted:
                if name not in names and (name != "all" or option == "--explain"):
                    known = ", ".join(names) or "no pass"
                    raise click.UsageError(f"{option}: the pipeline has no pass {name!r}; it runs {known}")


def _same_file(left: str, right: str) -> bool:
    """Whether two paths are one file, through links of both kinds too; ``-`` on the right is what stdin reads."""
    try:
        found = os.fstat(sys.stdin.fileno()) if right == STREAM else os.stat(right)
        return os.path.samestat(os.stat(left), found)
    except (OSError, ValueError):
        return right != STREAM and os.path.realpath(left) == os.path.realpath(right)
