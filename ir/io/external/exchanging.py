"""A model and its data file take the place of an earlier pair; at no moment does either meet the other's partner."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import onnx

from modelexport.ir.io.atomic import beside, identity, sync_folder
from modelexport.ir.io.external.copying import copy_content
from modelexport.ir.io.external.external_data import external_tensors
from modelexport.ir.text import text


def exchange(target: Path, data: Path, fresh: Path, interim: Callable[[], None], final: Callable[[], None]) -> None:
    """Put ``fresh`` in the place of ``data``, and a model that reads it in the place of ``target``; both are there.

    Two files can't change at once. So the new model first reads the new data under its temporary name, then under its
    own. A process that is killed leaves the old pair or a new one, the new one perhaps with a data file that has a
    second, hidden name. On an error both are as they were.

    Args:
        target: the model's file.
        data: the data's file, beside it.
        fresh: the new data, complete and on the disk, in the same folder under a temporary name; gone afterwards.
        interim: writes the model that reads ``fresh`` to ``target``, whole or not at all.
        final: writes the model that reads ``data``.

    Raises:
        OSError: a file can't be put in its place.
    """
    place = Path(os.path.realpath(target))
    model_before, data_before = beside(place), beside(data)
    old, first, last = identity(place), None, False
    with ExitStack() as cleaning:  # each is taken away, also when an interrupt comes while another one is
        for path in (fresh, model_before, data_before):
            cleaning.callback(_remove, path)
        try:
            _second_name(place, model_before)
            interim()
            first = identity(place)
            os.replace(data, data_before)
            _second_name(fresh, data)
            last = True
            final()
        except BaseException:
            now = identity(place)
            if not last or now == first:  # else all is done
                if data_before.exists():
                    os.replace(data_before, data)
                if now != old:
                    os.replace(model_before, place)
            raise
    sync_folder(data.parent)


@contextmanager
def reading_from(proto: onnx.ModelProto, name: str, other: str) -> Iterator[None]:
    """Let all tensors whose data is in the file ``name`` refer to ``other`` inside the block."""
    entries = [
        entry
        for tensor in external_tensors(proto)
        for entry in tensor.external_data
        if entry.key == "location" and text(entry.value) == name
    ]
    for entry in entries:
        entry.value = other
    try:
        yield
    finally:
        for entry in entries:
            entry.value = name


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


def _second_name(path: Path, other: Path) -> None:
    """A second name for a file; where there are no hard links, a copy."""
    try:
        os.link(path, other)
    except (OSError, NotImplementedError, AttributeError):
        with open(path, "rb", buffering=0) as source, open(other, "xb", buffering=0) as copy:
            copy_content(source.fileno(), copy.fileno())
            os.fsync(copy.fileno())
