"""Read one JSON object from a text stream member by member, so that a large member is never in memory as a whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import IO, Any

_CHUNK = 1 << 16
_SPACE = " \t\r\n"
_AFTER_NUMBER = tuple(",]}" + _SPACE)


class JsonStream:
    """A cursor over a JSON text.

    ``for key in stream.members(): stream.value()`` reads an object; ``members`` nests, so a member that is a large
    object is walked instead of read with ``value``. Raises json.JSONDecodeError where the text is not JSON.
    """

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._text = ""
        self._at = 0
        self._ended = False
        self._decoder = json.JSONDecoder()

    def members(self) -> Iterator[str]:
        """Keys of the object at the cursor; after each the caller reads its value, or walks it."""
        for _ in self._separated("{", "}"):
            key = self.value()
            if not isinstance(key, str):
                raise self._fault("a key must be text")
            self._expect(":")
            yield key

    def skip(self) -> None:
        """Pass over the value at the cursor, a list or an object item by item."""
        first = self._peek()
        if first in "{[":
            for _ in self.members() if first == "{" else self._separated("[", "]"):
                self.value()
        else:
            self.value()

    def _separated(self, begin: str, end: str) -> Iterator[None]:
        self._expect(begin)
        if self._peek() == end:
            self._at += 1
            return
        while True:
            yield
            following = self._peek()
            if following not in (",", end):
                raise self._fault(f"expected , or {end}")
            self._at += 1
            if following == end:
                return

    def value(self) -> Any:
        """The whole value at the cursor."""
        self._peek()
        size = _CHUNK
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError:
                if not self._more(size):
                    raise
                size *= 2
                continue
            if isinstance(value, (int, float)) and self._text[end : end + 1] not in _AFTER_NUMBER and self._more(size):
                continue  # what is read so far may be the beginning of a longer number
            self._at = end
            return value

    def at_object(self) -> bool:
        """Whether the value at the cursor is an object."""
        return self._peek() == "{"

    def _peek(self) -> str:
        while True:
            while self._at < len(self._text) and self._text[self._at] in _SPACE:
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more(_CHUNK):
                raise self._fault("unexpected end")

    def _expect(self, character: str) -> None:
        if self._peek() != character:
            raise self._fault(f"expected {character}")
        self._at += 1

    def _more(self, size: int) -> bool:
        if self._ended:
            return False
        chunk = self._stream.read(size)
        self._ended = not chunk
        self._text = self._text[self._at :] + chunk
        self._at = 0
        return bool(chunk)

    def _fault(self, message: str) -> json.JSONDecodeError:
        return json.JSONDecodeError(message, self._text, self._at)
