"""One module of a model."""

from __future__ import annotations

from dataclasses import dataclass

MAX_DEPTH = 512  # atoms of one path


@dataclass(slots=True)
class Module:
    """One module instance under one of its names.

    Attributes:
        path: dotted path; ``""`` is the root.
        cls: qualified class name, or ``""`` where the class is not known.
        calls: how often it was called; 0 for a container that is never called.
        aliases: other dotted paths of the same instance, called by these or not; empty unless this is its first name.
        parameters: number of scalar parameters it owns itself (not its children's).
        tag: the tag it was read back with; ``""`` means it is computed by the rule in ``tags.py``.
        class_name: the bare class name; derived from ``cls`` unless the name itself has a dot.
        same_as: the first name of the instance, whose row has its parameters, where this is another one by which it
            was called; else None.
    """

    path: str
    cls: str = ""
    calls: int = 1
    aliases: tuple[str, ...] = ()
    parameters: int = 0
    tag: str = ""
    class_name: str = ""
    same_as: str | None = None

    def __post_init__(self) -> None:
        if not self.class_name:
            self.class_name = class_name_of(self.cls)


def class_name_of(qualified: str) -> str:
    """The bare name in a qualified class name; ``""`` stays ``""``."""
    return qualified.rpartition(".")[2]


def is_path(path: str) -> bool:
    """Whether ``path`` can be a module path: printable, short, no empty atoms, valid UTF-8."""
    return not path or (
        len(path) <= 4096 and path.isprintable() and all(path.split(".")) and path.count(".") < MAX_DEPTH
    )
