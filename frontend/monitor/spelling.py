"""Anything as text that a file can hold: classes without text and names that are not UTF-8 cost nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def escaped(value: str) -> str:
    """``value`` with bytes that were not UTF-8 backslash-escaped."""
    if value.isascii():
        return value
    try:
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # lone surrogates that stand for no byte
        return value.encode("utf-8", "backslashreplace").decode("utf-8")


def spelled(value: object) -> str:
    """``str(value)``, escaped; the class where the value has no text."""
    try:
        return escaped(str(value))
    except Exception:  # noqa: BLE001 - any class may be in the data of a step; its name is told instead
        return f"<{type(value).__name__}>"


def brief(value: object) -> str:
    """``repr(value)`` for a message, in one line, at most 60 characters of it; the class where the value has none."""
    try:
        return escaped(" ".join(repr(value).split())[:60])
    except Exception:  # noqa: BLE001 - as above
        return f"<{type(value).__name__}>"


def absent(value: object) -> bool:
    """Whether there is nothing to tell. Values of any class may be in the data of a step; arrays have no truth."""
    return value is None or (isinstance(value, str) and not value)


def entries(value: Mapping[Any, Any]) -> Iterator[tuple[Any, Any]]:
    """Keys and values, as many as can be read of a mapping that fails while it is walked."""
    try:
        for pair in value.items():
            key, entry = pair
            yield key, entry
    except Exception:  # noqa: BLE001 - any class may say that it is a mapping
        return


def holds(value: Mapping[Any, Any], key: object) -> bool:
    """Whether ``key`` is in ``value``; not where one of them fails when it is asked."""
    try:
        return key in value
    except Exception:  # noqa: BLE001 - as above
        return False
