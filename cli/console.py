"""What both commands share: how a program ends, what goes to stdout and to stderr, how much is said.

Results go to stdout, talk to stderr. Nothing here imports onnx or rich, so help and version stay quick.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import Any

import click

FINDINGS, USAGE, CRASH, INTERRUPTED = 1, 2, 3, 130
_PIECES = 4096  # of a result, written at once


TERMINATED = 128 + signal.SIGTERM


class Terminated(BaseException):
    """SIGTERM: the process is to end, and takes its temporary files with it."""


class ReaderGone(Exception):
    """Whoever read our stdout has closed it."""


def run_guarded(command: click.Command, prog: str, args: Sequence[str] | None = None) -> int:
    """Run a click command and return the exit code: its own int result, or the code of what it raised.

    An error is one ``error:`` line on stderr, one in a text also shows the column; the traceback needs ``--debug``.
    """
    _open_closed_streams()
    arguments = list(sys.argv[1:] if args is None else args)
    debug = "--debug" in arguments
    try:
        result = command.main(args=arguments, prog_name=prog, standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except (ReaderGone, BrokenPipeError):
        return _reader_gone()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except Terminated:
        return TERMINATED
    except (KeyboardInterrupt, click.Abort):
        say("interrupted")
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the outermost guard: one line, the traceback only when asked for
        if debug:
            traceback.print_exc()
        return report_error(error)
    finally:
        if args is None:  # the process ends: spare the collector to take a large model apart
            gc.freeze()


def _open_closed_streams() -> None:
    """Let a standard stream that the caller closed go nowhere, so that no file of ours takes its place."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is not None:
            continue
        opened = os.open(os.devnull, os.O_RDWR)
        try:
            os.fstat(number)
        except OSError:
            os.dup2(opened, number)
        if opened != number:
            os.close(opened)
        setattr(sys, name, open(os.devnull, "w" if number else "r"))  # noqa: SIM115 - it lives until the process ends


def clean_up_when_terminated() -> None:
    """Let SIGTERM end this process as an exception does, so that temporary files go."""

    def terminate(number: int, frame: object) -> None:
        raise Terminated

    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, terminate)


@contextmanager
def fewer_collections() -> Iterator[None]:
    """Let the cyclic collector run seldom: what a run allocates lives to its end."""
    before = gc.get_threshold()
    gc.set_threshold(2_000_000, 50, 100)
    try:
        yield
    finally:
        gc.freeze()  # what was allocated is old from here on: the next collection needn't look at it
        gc.set_threshold(*before)
        gc.unfreeze()


def report_error(error: Exception) -> int:
    """Print one ``error:`` line for ``error`` and return its exit code."""
    from modelexport.ir.errors import ModelExportError, TextError

    if isinstance(error, ModelExportError):
        say(f"error: {one_line(str(error))}")
        if isinstance(error, TextError) and error.caret():
            say(error.caret())
        return error.exit_code
    if isinstance(error, MemoryError):
        say("error: out of memory")
        return USAGE
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename is not None else ""
        say(f"error: {one_line(where + (error.strerror or str(error)))}")
        return USAGE
    say(f"error: internal error, {one_line(f'{type(error).__name__}: {error}')}; --debug shows where")
    return CRASH


def one_line(text: str) -> str:
    """``text`` on one line: spaces for line breaks, other characters that can't be shown escaped."""
    shown = (c if c.isprintable() else " " if c.isspace() else c.encode("unicode_escape").decode() for c in text)
    return " ".join("".join(shown).split())


def say(text: str, *, newline: bool = True) -> None:
    """Talk: a line on stderr. Characters that the terminal can't show are escaped."""
    click.echo(_encodable(text, sys.stderr), err=True, nl=newline)


def warn(message: str) -> None:
    """A warning line on stderr."""
    say(f"warning: {one_line(message)}")


def progress(done: int, total: int) -> None:
    """Progress of a long step on a terminal: a percentage that overwrites itself and is gone at the end."""
    say(f"\r{100 * done // total:3d}% " if done < total else "\r     \r", newline=False)


def put(text: str, *, to_stderr: bool = False) -> None:
    """A result: text on stdout, or on stderr where stdout carries the model.

    Raises:
        ReaderGone: stdout was closed by its reader.
    """
    put_pieces([text], to_stderr=to_stderr)


def put_pieces(pieces: Iterable[str], *, to_stderr: bool = False) -> None:
    """A result that is made piece by piece, and a line break at its end; nothing where there is no piece.

    Raises:
        ReaderGone: stdout was closed by its reader.
    """
    try:
        for text in in_parts(pieces):
            click.echo(_encodable(text, sys.stderr if to_stderr else sys.stdout), err=to_stderr, nl=False)
    except BrokenPipeError:
        raise ReaderGone from None


def in_parts(pieces: Iterable[str]) -> Iterator[str]:
    """Pieces joined to larger ones, the last with a line break at its end; nothing where there is none."""
    source = iter(pieces)
    held = list(islice(source, _PIECES))
    while held:
        following = list(islice(source, _PIECES))
        yield "".join(held) if following else "".join((*held, "\n"))
        held = following


def put_bytes(data: bytes) -> None:
    """A result: bytes on stdout. Raises OutputError when nobody takes them."""
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except OSError as error:
        _reader_gone()
        from modelexport.ir.errors import OutputError

        raise OutputError(f"stdout: {error.strerror or error}; the model is incomplete") from None


def put_json(data: Any, *, to_stderr: bool = False) -> None:
    """A result as one JSON document. Raises ReaderGone."""
    put(json.dumps(data, indent=2), to_stderr=to_stderr)


def _encodable(text: str, stream: Any) -> str:
    if text.isascii():
        return text
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _reader_gone() -> int:
    """Let the interpreter's last flush of stdout go nowhere, quietly."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):  # stdout is not a file of the system's
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - it lives until the process ends
    return 0


SHELLS = ("bash", "zsh", "fish")


class TalkHandler(logging.Handler):
    """Log records as talk, on whatever stderr is at the time."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print it."""
        say(f"{record.levelname.lower()}: {one_line(self.format(record))}")


def listen(context: click.Context, level: int) -> None:
    """Let the library's log of this level go to stderr until the command ends; once is enough."""
    logger = logging.getLogger("modelexport")
    if not any(isinstance(handler, TalkHandler) for handler in logger.handlers):
        handler, before = TalkHandler(), logger.level
        logger.addHandler(handler)
        context.call_on_close(partial(logger.setLevel, before))
        context.call_on_close(partial(logger.removeHandler, handler))
    logger.setLevel(level)


def show_version(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    """Callback of ``--version``."""
    if value and not context.resilient_parsing:
        from importlib.metadata import version

        put(f"{context.find_root().info_name} {version('modelexport')}")
        context.exit()


def completion_script(command: click.Command, program: str, shell: str) -> str:
    """The script that lets a shell complete ``program``. Raises click.UsageError for an unknown shell."""
    from click.shell_completion import get_completion_class

    maker = get_completion_class(shell)
    if maker is None:  # the choices of the options are click's own shells
        raise click.UsageError(f"no completion for {shell}")
    return maker(command, {}, program, f"_{program.replace('-', '_').upper()}_COMPLETE").source()
