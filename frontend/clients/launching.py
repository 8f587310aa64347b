"""Starting the program of a ``modelexport run`` and waiting for it, as invisible as can be.

It runs in a process of its own, so that its arguments, ``__name__``, ``sys.path[0]``, stack and memory are as without
us, in our process group and with our files. Signals that are sent to us are passed on; those of the terminal reach it
anyway.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelexport.ir.errors import InputError

_PASSED_ON = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGWINCH")
_OF_A_TERMINAL = {getattr(signal, name) for name in ("SIGINT", "SIGQUIT", "SIGWINCH") if hasattr(signal, name)}
_PATIENCE = 0.5  # seconds
_OF_A_PROCESS = 0  # si_code of a signal that a process sent is not above it; the kernel's, a terminal's too, are


@dataclass(frozen=True, slots=True)
class Program:
    """What to start: the file, and its whole argument list."""

    file: str
    arguments: tuple[str, ...]


def find_program(words: Sequence[str]) -> Program:
    """The program that ``PROGRAM [ARGS]...`` means.

    ``-m MODULE``, ``-c CODE`` and a ``.py`` file that isn't executable run in this Python; everything else is looked up
    on PATH, as a shell does.

    Raises:
        InputError: there is no such program, or it can't be executed.
    """
    name, *rest = words
    python = sys.executable
    if name[:2] in ("-m", "-c"):
        if len(name) == 2 and not rest:
            raise InputError(f"{name} needs {'a module' if name == '-m' else 'code'} behind it")
        return Program(python, (python, *words))
    if name.endswith(".py") and os.path.isfile(name) and not _is_executable(name):
        return Program(python, (python, *words))
    found = name if name.endswith(".py") and os.path.isfile(name) else shutil.which(name)
    if found is None:
        raise InputError(_why_not(name))
    return Program(found, tuple(words))


def run_program(program: Program, environment: Mapping[str, str]) -> int:
    """Start it, wait for it, and return its exit status: 128+N where signal N ended it.

    Raises:
        InputError: it can't be executed.
    """
    if not hasattr(signal, "sigtimedwait"):
        return _run_elsewhere(program, environment)
    passed = {getattr(signal, name) for name in _PASSED_ON if hasattr(signal, name)}
    waited = passed | {signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, waited)
    started: list[int] = []
    handled = _handle_elsewhere(passed, started)
    try:
        process = _spawn(program, environment, before)
        started.append(process)
        while True:
            # another thread of ours may take SIGCHLD, so the program is also asked for now and then
            info = signal.sigtimedwait(waited, _PATIENCE)
            if info is not None and info.si_signo != signal.SIGCHLD:
                if info.si_code <= _OF_A_PROCESS:
                    os.kill(process, info.si_signo)
                continue
            ended, status = os.waitpid(process, os.WNOHANG | os.WUNTRACED)
            if not ended:
                continue
            if not os.WIFSTOPPED(status):
                return _status(os.waitstatus_to_exitcode(status))
            os.kill(os.getpid(), signal.SIGSTOP)  # stopped with it; whoever continues us continues it
            os.kill(process, signal.SIGCONT)
    finally:
        while signal.sigtimedwait(waited, 0):  # what came while it ended was for it
            pass
        for number in handled:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _handle_elsewhere(passed: set[signal.Signals], started: Sequence[int]) -> list[signal.Signals]:
    """Pass on what the system hands to another thread of ours, whose mask is not this one's: libraries start threads.

    A terminal's signals reach the program anyway. What is ignored stays so, since the program inherits that.
    """

    def pass_on(number: int, frame: Any) -> None:
        for process in started:
            os.kill(process, number)

    if threading.current_thread() is not threading.main_thread():
        return []  # Python takes handlers from the main thread only
    handled = [n for n in passed - _OF_A_TERMINAL if signal.getsignal(n) == signal.SIG_DFL]
    for number in handled:
        signal.signal(number, pass_on)
    return handled


def _spawn(program: Program, environment: Mapping[str, str], mask: Any) -> int:
    def begin() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def start(file: str, arguments: Sequence[str]) -> int:
        # not passing descriptors on would be a change; those of Python's own are closed on exec anyway
        process = subprocess.Popen(arguments, executable=file, env=environment, close_fds=False, preexec_fn=begin)
        process.returncode = 0  # it is waited for by us
        return process.pid

    try:
        return start(program.file, program.arguments)
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise InputError(f"{program.file}: {error.strerror or error}") from error
    shell = "/bin/sh"  # a script without #! line: shells and execvp do this
    return start(shell, (shell, program.file, *program.arguments[1:]))


def _run_elsewhere(program: Program, environment: Mapping[str, str]) -> int:
    """Where signals can't be waited for: an interrupt reaches the program too, and is its business."""
    try:
        process = subprocess.Popen(program.arguments, executable=program.file, env=environment, close_fds=False)
    except OSError as error:
        raise InputError(f"{program.file}: {error.strerror or error}") from error
    while True:
        try:
            return _status(process.wait())
        except KeyboardInterrupt:
            continue


def _status(code: int) -> int:
    return code if code >= 0 else 128 - code


def _is_executable(path: str) -> bool:
    """Whether the system could start the file; some file systems give all files the bit, so a script needs #! too."""
    if not os.access(path, os.X_OK):
        return False
    try:
        with open(path, "rb") as stream:
            return stream.read(2) == b"#!"
    except OSError:
        return True


def _why_not(name: str) -> str:
    if os.path.isdir(name):
        return f"{name}: is a folder, not a program"
    if os.path.exists(name) and (os.sep in name or name.endswith(".py")):
        return f"{name}: is not executable"
    if name.endswith(".py") or os.sep in name:
        return f"{name}: no such file"
    if name.startswith("-"):
        return f"{name}: neither an option of run nor a program on PATH"
    return f"{name}: no such program on PATH"
