"""What a ``modelexport run`` and the Pythons under it tell each other: settings one way, records of exports the other.

Both are files in one folder, whose path is in MODELEXPORT_TAGGING. Light to import: every Python that a program starts
imports it.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

VARIABLE = "MODELEXPORT_TAGGING"
BOOTSTRAP = Path(__file__).with_name("bootstrap")


@dataclass(frozen=True, slots=True)
class Settings:
    """What the Pythons under a run are to do.

    Attributes:
        pipeline: text of the passes.
        sidecar: whether to write one beside each path.
        record: folder for one sidecar per export, absolute; None for none.
        outer: session folders of runs around this one, which are told too.
    """

    pipeline: str = "htp"
    sidecar: bool = False
    record: str | None = None
    outer: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Told:
    """One export, as the run is told of it.

    Attributes:
        line: what to say of it.
        file: absolute path of the file; None where it was none.
        tagged: whether it carries tags.
        failed: whether anything of ours failed.
        notes: further lines, of failures that came after.
        trace: traceback of a failure, for those who debug it.
    """

    line: str
    file: str | None = None
    tagged: bool = False
    failed: bool = False
    notes: list[str] = field(default_factory=list)
    trace: str = ""


class Session:
    """The folder of one run."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = os.fspath(folder)

    def begin(self, settings: Settings) -> None:
        """Write the settings, before the program starts."""
        os.mkdir(os.path.join(self.folder, "exports"))
        self._write("settings.json", asdict(settings), "w")

    def settings(self) -> Settings:
        """The settings. Raises OSError and ValueError where the run is gone."""
        found = self._read("settings.json")
        return Settings(found["pipeline"], found["sidecar"], found["record"], tuple(found["outer"]))

    def next_number(self) -> int:
        """The number of an export that ends now, from 1, over all processes."""
        names = os.listdir(os.path.join(self.folder, "exports"))
        number = sum(name.endswith(".json") for name in names) + 1
        while True:
            try:
                self._write(self._name(number), None, "x")
                return number
            except FileExistsError:
                number += 1

    def tell(self, number: int, told: Told) -> None:
        """Say how export ``number`` went."""
        self._write(self._name(number) + ".new", asdict(told), "w")
        os.replace(self._path(self._name(number) + ".new"), self._path(self._name(number)))

    def told(self) -> Iterator[Told]:
        """What was told, by number. An export whose process was killed before it could tell is left out."""
        for name in sorted(os.listdir(os.path.join(self.folder, "exports"))):
            try:
                found = self._read(os.path.join("exports", name)) if name.endswith(".json") else None
            except ValueError:
                continue
            if found is not None:
                yield Told(**found)

    def environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """``environ`` for the program: with the variable, and our ``sitecustomize`` in front of every other."""
        path = environ.get("PYTHONPATH")
        ours = str(BOOTSTRAP)
        entries = [entry for entry in (path or "").split(os.pathsep) if entry != ours] if path else []
        return {**environ, VARIABLE: self.folder, "PYTHONPATH": os.pathsep.join([ours, *entries])}

    @staticmethod
    def _name(number: int) -> str:
        return os.path.join("exports", f"{number:06d}.json")

    def _path(self, name: str) -> str:
        return os.path.join(self.folder, name)

    def _write(self, name: str, value: Any, mode: str) -> None:
        import json

        with open(self._path(name), mode, encoding="utf-8") as stream:
            json.dump(value, stream)

    def _read(self, name: str) -> Any:
        import json

        with open(self._path(name), encoding="utf-8") as stream:
            return json.load(stream)


def around() -> tuple[str, ...]:
    """Session folders of the runs that this process is under, the innermost first."""
    folder = os.environ.get(VARIABLE, "")
    if not folder:
        return ()
    try:
        return (folder, *Session(folder).settings().outer)
    except (OSError, ValueError, KeyError):
        return ()
