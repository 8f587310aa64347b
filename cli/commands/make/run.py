"""``modelexport run``: a program that exports models, unmodified; its files carry tags."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from modelexport.cli.console import FINDINGS, one_line, say
from modelexport.cli.options import talk, talk_options

if TYPE_CHECKING:
    from modelexport.frontend.clients.session import Told

FLAGS = ("--sidecar", "--strict", "-q", "--quiet", "-v", "--verbose", "--debug", "-h", "--help")
VALUED = ("--passes", "--record", "--finish")


class Words(click.Command):
    """Options of ours end at the first word that is none; from there on words are the program's, whatever they are."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        at = 0
        while at < len(args):
            word = args[at]
            if word == "--":
                return super().parse_args(ctx, args)
            if word in VALUED:
                at += 2
            elif word in FLAGS or word.partition("=")[0] in VALUED:
                at += 1
            else:
                break
        return super().parse_args(ctx, [*args[:at], "--", *args[at:]] if at < len(args) else args)


@click.command("run", cls=Words, short_help="Run a program that exports models; what it exports carries tags.")
@click.argument("program", nargs=-1, required=True, type=click.UNPROCESSED, metavar="PROGRAM [ARGS]...")
@click.option("--passes", default="htp", show_default=True, metavar="PIPELINE", help="Passes that tag each export.")
@click.option("--sidecar", is_flag=True, help="Write <stem>_hierarchy.json beside each file.")
@click.option("--record", type=click.Path(path_type=Path), metavar="DIR", help="Write one sidecar per export there.")
@click.option("--finish", multiple=True, metavar="GLOB", help="Also give tags back to these files; 'none': to no file.")
@click.option("--strict", is_flag=True, help="Exit 1 when an export was not tagged, or none was seen.")
@click.option("-q", "--quiet", is_flag=True, help="Say failures only.")
@talk_options
def command(
    program: tuple[str, ...],
    passes: str,
    sidecar: bool,
    record: Path | None,
    finish: tuple[str, ...],
    strict: bool,
    quiet: bool,
) -> int:
    """Run a program that exports models; what it exports carries tags.

    PROGRAM is -m MODULE, -c CODE or a Python file, which run in this Python, or any other program. Every
    torch.onnx.export in it, and in the Pythons that it starts, writes the file that it would write without us, plus
    tags in its metadata. Options of run stand before PROGRAM; all later words are the program's. When it has ended,
    exported files that have lost tags get them back, those that --finish names too. The exit code is the program's.

    \b
    Examples:
      modelexport run export.py --opset 17
      modelexport run --sidecar -m mypackage.export model.onnx
      modelexport run --record sidecars --finish "out/**/*.onnx" -- optimum-cli export onnx -m bert out
    """
    from modelexport.frontend.clients.finishing import Finisher
    from modelexport.frontend.clients.launching import find_program, run_program
    from modelexport.frontend.clients.plans import read_pipeline
    from modelexport.frontend.clients.session import Session, Settings, around
    from modelexport.ir.limits import memory_limit_mb

    found = find_program(program)
    read_pipeline(passes)
    memory_limit_mb()
    if record is not None:
        _make_folder(record)
    finisher = Finisher(finish)
    finisher.look()
    with _session_folder() as folder:
        session = Session(folder)
        session.begin(Settings(passes, sidecar, str(record.absolute()) if record else None, around()))
        status = run_program(found, session.environment(os.environ))
        exports = list(session.told())
    problems = list(finisher.finish(_files(exports))) if status == 0 else []
    _report(exports, problems, quiet=quiet)
    if strict and status == 0 and (not exports or problems or any(export.failed for export in exports)):
        return FINDINGS
    return status


def _files(exports: Sequence[Told]) -> list[str]:
    return [export.file for export in exports if export.tagged and export.file is not None]


def _report(exports: Sequence[Told], problems: Sequence[str], *, quiet: bool) -> None:
    if not exports and not quiet:
        say("modelexport: no export was seen")
    for export in exports:
        if not quiet or not export.tagged:
            say(f"modelexport: {one_line(export.line)}")
        if export.trace and talk().debug:
            say(export.trace.rstrip())
        for note in export.notes:
            say(f"modelexport: {one_line(note)}")
    for problem in problems:
        say(f"modelexport: {one_line(problem)}")


def _make_folder(folder: Path) -> None:
    """Make sure that sidecars can be written there. Raises OutputError."""
    from modelexport.ir.errors import OutputError

    try:
        folder.mkdir(exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(f"--record {folder}: {error.strerror or error}") from error


@contextmanager
def _session_folder() -> Iterator[str]:
    folder = tempfile.mkdtemp(prefix="modelexport-run-")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
