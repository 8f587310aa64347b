"""Copying a large file: shared blocks where the file system can, else in the kernel, holes kept, memory bounded."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

_CHUNK = 1 << 20
_KERNEL_CHUNK = 1 << 30
_FICLONE = 0x40049409  # linux/fs.h: _IOW(0x94, 9, int)
_CANNOT = {errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOTTY, errno.EBADF}


def copy_content(source: int, target: int) -> None:
    """Copy the file behind descriptor ``source`` into the empty file behind ``target``. Raises OSError."""
    if _clone(source, target):
        return
    size = os.fstat(source).st_size
    os.ftruncate(target, size)
    offset = 0
    while offset < size:
        start, end = _segment(source, offset, size)
        _copy_range(source, target, start, end)
        offset = end


def same_content(left: Path, right: Path) -> bool:
    """Whether two regular files have the same bytes. Raises OSError."""
    if os.path.samefile(left, right):
        return True
    with open(left, "rb", buffering=0) as a, open(right, "rb", buffering=0) as b:
        if os.fstat(a.fileno()).st_size != os.fstat(b.fileno()).st_size:
            return False
        while True:
            chunk = a.read(_CHUNK)
            if chunk != b.read(len(chunk) or 1):
                return False
            if not chunk:
                return True


def _clone(source: int, target: int) -> bool:
    if sys.platform != "linux":
        return False
    try:
        import fcntl
    except ImportError:
        return False
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError as error:
        if error.errno in _CANNOT:
            return False
        raise
    return True


def _segment(source: int, offset: int, size: int) -> tuple[int, int]:
    """The next run of data at or after ``offset``; an empty one at the end of the file when only a hole is left."""
    if not hasattr(os, "SEEK_DATA"):
        return offset, size
    try:
        start = os.lseek(source, offset, os.SEEK_DATA)
        return start, os.lseek(source, start, os.SEEK_HOLE)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return size, size
        if error.errno in _CANNOT:
            return offset, size
        raise


def _copy_range(source: int, target: int, start: int, end: int) -> None:
    while start < end and hasattr(os, "copy_file_range"):
        try:
            done = os.copy_file_range(source, target, min(end - start, _KERNEL_CHUNK), start, start)
        except OSError as error:
            if error.errno in _CANNOT:
                break
            raise
        if done == 0:
            break
        start += done
    os.lseek(source, start, os.SEEK_SET)  # not pread and pwrite, which not every system has
    os.lseek(target, start, os.SEEK_SET)
    while start < end:
        chunk = os.read(source, min(_CHUNK, end - start))
        if not chunk:
            raise OSError(errno.EIO, "the data file became shorter while it was copied")
        rest = memoryview(chunk)
        while rest:
            rest = rest[os.write(target, rest) :]
        start += len(chunk)
