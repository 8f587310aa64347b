"""A folder to work in, and moving finished files to where they belong."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import onnx

from modelexport.ir.errors import OutputError
from modelexport.ir.io.atomic import atomic_output, beside, sync_folder
from modelexport.ir.io.external.exchanging import exchange, reading_from


@contextmanager
def scratch_folder(target: Path) -> Iterator[Path]:
    """A new hidden folder beside ``target``, on the same file system, that is gone afterwards.

    Raises:
        OutputError: the folder can't be made, or what stands where a file will go can't be replaced.
    """
    for path in _roles(target).values():
        place = _real(path)
        if place.exists() and not place.is_file():
            raise OutputError(f"{path}: is not a regular file")
    folder = beside(_real(target))
    try:  # an interrupt may come as soon as there is a folder
        try:
            folder.mkdir(mode=0o700)
        except OSError as error:
            raise OutputError(f"{target}: {error.strerror or error}") from error
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(scratch: Path, target: Path) -> dict[str, Path]:
    """Move the finished files beside ``target``: data, model, sidecar, in this order. Returns them by role.

    Each is on the disk before it gets its name. Files that are replaced keep their permissions; symbolic links stay.
    When a move fails, files that were new are taken away again.

    Raises:
        OutputError: a file can't be put in its place.
    """
    files = {role: path for role, path in _roles(target).items() if (scratch / path.name).exists()}
    pair = {role: files[role] for role in ("data", "model") if role in files and _real(files[role]).exists()}
    created: list[Path] = []
    try:
        for path in files.values():
            if _real(path).exists():
                os.chmod(scratch / path.name, stat.S_IMODE(_real(path).stat().st_mode))
        if len(pair) == 2 and not any(path.is_symlink() for path in pair.values()):
            _exchange(scratch, **pair)
        for path in files.values():
            place = _real(path)
            if not (scratch / path.name).exists():  # it is there already
                continue
            if not place.exists():
                created.append(place)
            _move(scratch / path.name, place)
    except BaseException as error:
        for place in created:
            with suppress(OSError):
                place.unlink()
        if isinstance(error, OSError) and not isinstance(error, OutputError):
            where = error.filename2 or error.filename or target
            raise OutputError(f"{where}: {error.strerror or error}") from error
        raise
    sync_folder(_real(target).parent)
    return files


def _exchange(scratch: Path, data: Path, model: Path) -> None:
    """Put data and model in the place of earlier ones, so that neither is ever beside the other's."""
    fresh = beside(data)
    os.replace(scratch / data.name, fresh)
    try:
        _sync(fresh)
        interim = partial(_write_reading, scratch, model, data.name, fresh.name)
        exchange(model, data, fresh, interim, partial(_move, scratch / model.name, model))
    finally:
        with suppress(OSError):
            fresh.unlink()


def _write_reading(scratch: Path, model: Path, name: str, other: str) -> None:
    """Write the model in ``scratch`` to its place, with its data in ``other`` for ``name``."""
    proto = onnx.load(scratch / model.name, load_external_data=False)
    with reading_from(proto, name, other), atomic_output(model) as stream:
        stream.write(proto.SerializeToString(deterministic=True))


def _roles(target: Path) -> dict[str, Path]:
    return {
        "data": target.with_name(f"{target.name}.data"),
        "model": target,
        "sidecar": target.with_name(f"{target.stem}_hierarchy.json"),
    }


def _move(source: Path, place: Path) -> None:
    """Rename ``source``, or copy it where a link leads to another file system. Durable but for the folder's entry."""
    _sync(source)
    try:
        os.replace(source, place)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with atomic_output(place) as stream, source.open("rb") as finished:
            shutil.copyfileobj(finished, stream, 1 << 20)


def _sync(path: Path) -> None:
    with path.open("r+b") as stream:
        os.fsync(stream.fileno())


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path)) if path.is_symlink() else path
