"""Faults at every moment at which a program touches its files: it is killed, told of an error, or interrupted there.

``strike`` starts one process that runs a command again and again, each time in a fork of its own and in a fresh copy of
a folder. An audit hook counts what Python does to files in that folder, and strikes at the n-th of these events; a
limit on the size of files strikes while bytes are written. Where there is no fork there are no such tests.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KINDS = ("kill", "error", "interrupt", "killed-at-byte", "full", "read-only", "killed-later", "interrupted-later")
_TOUCHES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.chmod"}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_RUNS_AT_RANDOM = 8


@dataclass(frozen=True)
class Struck:
    """How one run ended.

    Attributes:
        at: number of the event, of the byte, or of milliseconds.
        status: exit code; below 0 the number of the signal that ended it.
        err: what it said.
        folder: the copy it worked in.
        complete: whether the run ended before the fault came.
        event: what it struck, where it struck one event and the run came to its end.
    """

    kind: str
    at: int
    status: int
    err: str
    folder: Path
    complete: bool
    event: str


def strike(
    folder: Path,
    work: Path,
    arguments: Sequence[str],
    environment: Mapping[str, str] | None = None,
    kinds: Sequence[str] = KINDS,
) -> list[Struck]:
    """Run ``arguments`` (a program and its words) in copies of ``folder``: first without a fault, then once for each
    place where one can be. Temporary files go to ``tmp`` in each copy."""
    command = [sys.executable, __file__, str(folder), str(work), ",".join(kinds), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=500, env={**os.environ, "TMPDIR": "tmp", **(environment or {})}
    )
    assert done.returncode == 0, done.stderr
    return [
        Struck(
            each["kind"], each["at"], each["status"], each["err"], Path(each["folder"]), each["complete"], each["event"]
        )
        for each in map(json.loads, done.stdout.splitlines())
    ]


# The process


def _main_of(program: str) -> Callable[[list[str]], int]:
    from modelexport.cli import htp_opt, modelexport

    return htp_opt.main if program == "htp-opt" else modelexport.main


def _inside(path: Any, folder: str) -> bool:
    try:
        return os.path.abspath(os.fsdecode(path)).startswith(folder)
    except TypeError:  # a descriptor
        return False


def _touches(event: str, arguments: tuple[Any, ...], folder: str) -> bool:
    if event == "open":
        path, mode, flags = arguments
        writes = (flags & _WRITES or os.path.isdir(path)) if mode is None else set("wxa+") & set(mode)
        return bool(writes) and _inside(path, folder)
    return event in _TOUCHES and (_inside(arguments[0], folder) or arguments[-1] not in (-1, None))


class Hook:
    """Counts events in a folder, and strikes at the one of this number; at all of them where it is 0."""

    def __init__(self, folder: str, number: int, fault: Callable[[], None]) -> None:
        self.folder, self.number, self.fault, self.count = folder + os.sep, number, fault, 0
        self.struck = ""

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" or event in _TOUCHES:
            if not _touches(event, arguments, self.folder):
                return
            self.count += 1
            if self.number in (self.count, 0):
                self.struck = "open folder" if event == "open" and os.path.isdir(arguments[0]) else event
                self.fault()


def _no_space() -> None:
    raise OSError(28, "No space left on device")


def _read_only() -> None:
    raise OSError(30, "Read-only file system")


def _interrupt() -> None:
    raise KeyboardInterrupt


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


_FAULTS = {"kill": _kill, "error": _no_space, "interrupt": _interrupt, "read-only": _read_only}


def _limit(size: int, deadly: bool) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL if deadly else signal.SIG_IGN)


def _run(folder: Path, arguments: Sequence[str], kind: str, at: int, err: int, ready: int) -> None:
    """In the fork: the command, with its fault; never returns."""
    os.chdir(folder)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(err, 2)
    sys.stdout, sys.stderr = (io.TextIOWrapper(io.FileIO(n, "wb", closefd=False), write_through=True) for n in (1, 2))
    hook = Hook(os.path.realpath(folder), at if kind in _FAULTS else -1, _FAULTS.get(kind, _interrupt))
    sys.addaudithook(hook)
    if kind in ("killed-at-byte", "full"):
        _limit(at, kind == "killed-at-byte")
    status = 70
    os.write(ready, b"x")
    try:
        status = _main_of(arguments[0])(list(arguments[1:]))
    except BaseException as error:  # noqa: BLE001 - a test looks at what nothing else caught
        os.write(2, f"escaped: {type(error).__name__}: {error}\n".encode())
    finally:
        hook.number = -1
        os.write(ready, f"{hook.count} {hook.struck}".encode())
        os._exit(status & 0xFF)


def _forked(
    source: Path, folder: Path, arguments: Sequence[str], kind: str, at: int, later: tuple[float, int] | None = None
) -> tuple[dict[str, Any], int]:
    """One run in a copy of ``source``; what is said of it, and how many events it had if it came to its end."""
    shutil.copytree(source, folder, symlinks=True)
    (folder / "tmp").mkdir()
    reading, ready = os.pipe()
    talk, err = os.pipe()
    child = os.fork()
    if child == 0:
        _run(folder, arguments, kind, at, err, ready)
    os.close(ready)
    os.close(err)
    with os.fdopen(reading, "rb", buffering=0) as stream, os.fdopen(talk, "rb") as said:
        stream.read(1)
        if later is not None:
            time.sleep(later[0])
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, later[1])
        text = said.read().decode("utf-8", "replace")
        counted, _, event = (stream.read() or b"0").decode().partition(" ")
        events = int(counted)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    complete = status == 0 if kind not in _FAULTS else status >= 0 and events < at
    said_of = {"kind": kind, "at": at, "status": status, "err": text, "folder": str(folder)}
    return {**said_of, "complete": complete, "event": event}, events


def _places(source: Path, work: Path, kinds: Sequence[str], arguments: Sequence[str]) -> Iterator[dict[str, Any]]:
    started = time.monotonic()
    whole, events = _forked(source, work / "whole", arguments, "none", -1)
    seconds = time.monotonic() - started
    yield whole
    sizes = [path.stat().st_size for path in (work / "whole").rglob("*") if path.is_file()]
    middle = [size // 2 for size in sizes]
    chance = random.Random(0)
    for kind in kinds:
        later: list[tuple[float, int] | None] = [None]
        if kind == "read-only":
            numbers = [0]
        elif kind in _FAULTS:
            numbers = list(range(1, events + 2))
        elif kind in ("killed-at-byte", "full"):
            numbers = sorted({0, 1, *middle, max(sizes) - 1})
        else:
            sent = signal.SIGKILL if kind == "killed-later" else signal.SIGINT
            numbers = list(range(_RUNS_AT_RANDOM))
            later = [(chance.uniform(0, 1.05) * seconds, sent) for _ in numbers]
        for index, at in enumerate(numbers):
            yield _forked(source, work / f"{kind}-{at}", arguments, kind, at, later[index % len(later)])[0]


def _warm(arguments: Sequence[str], source: Path, work: Path) -> None:
    """Import here what the command imports, so that the forks need not: a fork says which modules it had at its end."""
    folder = work / "warm"
    shutil.copytree(source, folder, symlinks=True)
    (folder / "tmp").mkdir()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os.chdir(folder)
        for number in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
        with contextlib.suppress(BaseException):
            _main_of(arguments[0])(list(arguments[1:]))
        with os.fdopen(writing, "w") as stream:
            stream.write(
                "\n".join(name for name, module in list(sys.modules.items()) if getattr(module, "__spec__", None))
            )
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as stream:
        names = stream.read().split("\n")
    os.waitpid(child, 0)
    for name in names:
        with contextlib.suppress(Exception):
            __import__(name)


def _process(source: Path, work: Path, kinds: Sequence[str], arguments: Sequence[str]) -> None:
    _warm(arguments, source, work)
    for each in _places(source, work, kinds, arguments):
        sys.stdout.write(json.dumps(each) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _process(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve(), sys.argv[3].split(","), sys.argv[4:])
