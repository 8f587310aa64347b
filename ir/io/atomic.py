"""Files that appear whole or not at all: written beside the target, synced, renamed."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from modelexport.ir.errors import MissingFolderError, OutputError

_NAME_MAX = 255


@contextmanager
def atomic_output(path: Path, mode: int | None = None, *, durable: bool = True) -> Iterator[BinaryIO]:
    """A binary file that takes the place of ``path`` when the block ends without an exception.

    An existing file keeps its permissions and stays as it is until then; a symbolic link stays a link and the file it
    points to is replaced. What is not a regular file (a pipe, a device) is written directly. A killed run leaves at
    most ``.<name>.<random>.tmp`` behind, which disturbs nobody.

    Args:
        path: the file to write.
        mode: permission bits of a new file before the umask; 0o666 unless given.
        durable: wait until the file is on the disk. Without it a power failure may lose the file; a killed process
            leaves no half of one either way.

    Raises:
        OutputError: the file can't be written there.
    """
    try:
        target, existing = _target(path)
        if existing is not None and not stat.S_ISREG(existing.st_mode):
            with open(target, "wb") as stream:
                yield stream
            return
        temporary = beside(target)
        try:  # an interrupt may come as soon as there is a file
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666 if mode is None else mode)
            with os.fdopen(descriptor, "wb") as stream:
                if existing is not None:
                    os.chmod(temporary, stat.S_IMODE(existing.st_mode))
                yield stream
                stream.flush()
                if durable:
                    os.fsync(stream.fileno())
            os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        if durable:
            sync_folder(target.parent)
    except OutputError:  # some are an OSError too
        raise
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror or error}") from error


def check_writable(path: Path) -> None:
    """Say early what would keep ``path`` from being written. Raises OutputError."""
    try:
        target, existing = _target(path)
        replaced = existing is None or stat.S_ISREG(existing.st_mode)
        if replaced and not os.access(target.parent, os.W_OK | os.X_OK):
            raise OutputError(f"{path}: the folder {target.parent} is not writable")
    except OutputError:  # some are an OSError too
        raise
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror or error}") from error


def identity(path: Path) -> tuple[int, int] | None:
    """Which file a path leads to; another one after it was replaced, None where there is none.

    An interrupt may come between a rename and what tells of it: whoever takes things back looks here first.
    """
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def sync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` durable, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _target(path: Path) -> tuple[Path, os.stat_result | None]:
    """Where to write, links followed, and what is there now."""
    target = Path(os.path.realpath(path)) if path.is_symlink() else path
    if not target.parent.is_dir():
        raise MissingFolderError(f"{path}: the folder {target.parent} does not exist")
    try:
        existing = target.stat()
    except FileNotFoundError:
        return target, None
    if stat.S_ISDIR(existing.st_mode):
        raise OutputError(f"{path}: is a folder")
    return target, existing


def beside(target: Path) -> Path:
    """A new hidden name in the folder of ``target``, on the same file system."""
    suffix = f".{os.getpid()}-{secrets.token_hex(4)}.tmp"
    name = target.name
    while len(os.fsencode(name)) + len(suffix) + 1 > _NAME_MAX:
        name = name[:-1]
    return target.with_name(f".{name}{suffix}")
