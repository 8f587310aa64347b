"""Folders that appear whole or not at all: filled beside the target, then renamed."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from modelexport.ir.errors import OutputError


def check_folder(folder: Path) -> None:
    """Say before any work what keeps ``folder`` from being made.

    Raises:
        OutputError: it exists and is not empty, or its parent does not exist.
    """
    try:
        if folder.is_dir():
            if any(folder.iterdir()):
                raise OutputError(f"{folder}: the folder is not empty; choose another one")
        elif os.path.lexists(folder):
            raise OutputError(f"{folder}: is not a folder")
        elif not folder.resolve().parent.is_dir():
            raise OutputError(f"{folder}: its folder does not exist")
        if not os.access(folder.resolve().parent, os.W_OK):
            raise OutputError(f"{folder}: no permission to write there")
    except OSError as error:
        raise OutputError(f"{folder}: {error.strerror or error}") from error


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """A folder that takes the name ``folder`` when the block ends without an exception, and is gone otherwise.

    Raises:
        OutputError: it can't be made there.
    """
    check_folder(folder)
    target = folder.resolve()
    temporary = target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}.tmp")
    try:
        try:  # an interrupt may come as soon as there is a folder
            temporary.mkdir()
            yield temporary
            if target.is_dir():
                target.rmdir()  # it is empty
            temporary.rename(target)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    except OSError as error:
        raise OutputError(f"{folder}: {error.strerror or error}") from error
