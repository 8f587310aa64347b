"""The data of a step as it is kept: no class of the caller's own decides how it is walked, compared or spelled."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from modelexport.frontend.monitor.spelling import spelled

DEEP = 100  # levels of data that are kept
_PLAIN = (str, int, float, bool, type(None))


def settled(value: Any, around: tuple[int, ...] = ()) -> Any:
    """``value`` with containers as Python's own and texts and numbers as such; other objects as they are.

    Only the class is told of containers that fail when they are walked, that contain themselves or are deeper than 100
    levels, and of objects that refuse to say what they are. ``around`` are the ids of the containers around.
    """
    if type(value) in _PLAIN:
        return value
    try:
        if isinstance(value, str):
            return str.__str__(value)
        if isinstance(value, int):
            return int.__int__(value)
        if isinstance(value, float):
            return float.__float__(value)
        if not isinstance(value, Mapping | list | tuple | set | frozenset):
            return value
        if len(around) < DEEP and id(value) not in around:
            return _container(value, (*around, id(value)))
    except Exception:  # noqa: BLE001 - any class may be in the data of a step; its name is told instead
        pass
    return f"<{type(value).__name__}>"


def _container(value: Mapping[Any, Any] | Iterable[Any], around: tuple[int, ...]) -> Any:
    if isinstance(value, Mapping):
        return {key if type(key) in _PLAIN else spelled(key): settled(entry, around) for key, entry in value.items()}
    found = [settled(entry, around) for entry in value]
    return tuple(found) if isinstance(value, tuple) else found
