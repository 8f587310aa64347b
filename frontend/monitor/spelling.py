"""Anything as text that a file can hold: classes without text and names that are not UTF-8 cost nothing else."""

from __future__ import annotations


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
    """``repr(value)`` for a message, at most 60 characters of it; the class where the value has none."""
    try:
        return escaped(f"{value!r:.60}")
    except Exception:  # noqa: BLE001 - as above
        return f"<{type(value).__name__}>"
