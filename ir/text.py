"""Strings of a file: as Python holds them, as people read them, as JSON can hold them.

Protobuf hands out a string that is not UTF-8 as bytes; here it is a str with surrogate escapes, and nothing is lost.
"""

from __future__ import annotations


def text(value: str | bytes) -> str:
    """A proto string as str; bytes that are not UTF-8 (protobuf hands those out raw) become surrogate escapes."""
    return value if isinstance(value, str) else value.decode("utf-8", "surrogateescape")


def is_utf8(value: str) -> bool:
    """Whether a name is what the file spells: no byte of it had to be escaped."""
    return value.isascii() or not any("\udc80" <= character <= "\udcff" for character in value)


def shown(value: str) -> str:
    """A name for people: anything that is not printable UTF-8 is backslash-escaped."""
    if value.isprintable():  # no surrogate is
        return value
    plain = _spelled(value).decode("utf-8", "backslashreplace")
    return plain if plain.isprintable() else plain.encode("unicode_escape").decode("ascii")


def readable(name: str) -> str:
    """A name as JSON can hold it: bytes that are not UTF-8 are backslash-escaped, everything else stays."""
    if name.isascii():
        return name
    return _spelled(name).decode("utf-8", "backslashreplace")


def _spelled(value: str) -> bytes:
    """The bytes that a file had; a surrogate that stands for no byte, as JSON may have, is backslash-escaped."""
    try:
        return value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return value.encode("utf-8", "backslashreplace")
