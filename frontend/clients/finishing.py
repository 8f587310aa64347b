"""Giving tags back to files that a program worked on after their export: from the tables they still carry."""

from __future__ import annotations

import glob
import mmap
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from modelexport.frontend.interception.record import reason

NOTHING = "none"
PIPELINE = "htp"
_MARKS = (b"htp.modules", b"htp.nodes", b"htp.tag", b"htp.path")
State = tuple[int, int, int, int]


@dataclass(slots=True)
class Finisher:
    """The files of one run.

    Attributes:
        patterns: globs of files made later, relative to the working directory; ``none`` turns everything off.
        before: what the patterns matched before the program started.
    """

    patterns: Sequence[str] = ()
    before: dict[str, State] = field(default_factory=dict)

    def look(self) -> None:
        """Remember the files that are there, before the program starts."""
        self.before = {path: state for path in self._matches() if (state := _state(path)) is not None}

    def finish(self, exported: Iterable[str]) -> Iterator[str]:
        """Tag what has lost its tags. Yields one line for each file that could not be."""
        if NOTHING in self.patterns:
            return
        done: set[str] = set()
        for path in exported:
            if os.path.realpath(path) not in done and os.path.exists(path):
                done.add(os.path.realpath(path))
                yield from _finish(path, surely_ours=True)
        for path in self._matches():
            state = _state(path)
            if state is None or self.before.get(path) == state or os.path.realpath(path) in done:
                continue
            done.add(os.path.realpath(path))
            yield from _finish(path, surely_ours=False)

    def _matches(self) -> Iterator[str]:
        for pattern in self.patterns:
            if pattern != NOTHING:
                yield from sorted(path for path in glob.iglob(pattern, recursive=True) if os.path.isfile(path))


def _finish(path: str, *, surely_ours: bool) -> Iterator[str]:
    try:
        if not os.path.isfile(path) or (not surely_ours and not _is_marked(path)):
            return
        problem = _retag(path)
    except Exception as error:  # noqa: BLE001 - the file stays as it is, and the run goes on; it is told
        problem = reason(error)
    if problem:
        yield f"{path}: not finished: {problem.removeprefix(f'{path}: ')}"


def _retag(path: str) -> str:
    """Run the pipeline over the file's own tables where a node has no tag. Returns why it could not be done, or ""."""
    from modelexport.frontend.export.result import read_saved, without_weights
    from modelexport.frontend.interception.splicing import Lightened
    from modelexport.ir.io.atomic import atomic_output
    from modelexport.ir.io.embedded_tags import MODULES
    from modelexport.ir.io.reader import from_proto
    from modelexport.ir.io.writer import to_bytes
    from modelexport.ir.limits import memory_limit_mb
    from modelexport.passes.pipeline.base import PassContext
    from modelexport.passes.pipeline.manager import PassManager

    file = Path(path)
    proto = without_weights(file)
    if not proto.HasField("graph"):
        return "it is no ONNX model"
    saved = read_saved(file)
    if saved.tagged == saved.total:
        return ""
    if not saved.tagged and not any(entry.key.startswith(MODULES) for entry in proto.metadata_props):
        return "it carries neither tags nor tables of ours any more"
    light = Lightened(file.read_bytes())
    model = from_proto(light.proto, file, path)
    PassManager(PIPELINE, context=PassContext(memory_limit_mb=memory_limit_mb())).run(model)
    pieces = light.spliced(to_bytes(model))
    with atomic_output(file) as stream:
        stream.writelines(pieces)
    return ""


def _is_marked(path: str) -> bool:
    """Whether the file may be a model that carries tags or tables of ours."""
    if not os.path.getsize(path):
        return False
    with open(path, "rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return data[:1] not in (b"{", b"[", b"<") and any(data.find(mark) >= 0 for mark in _MARKS)


def _state(path: str) -> State | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
