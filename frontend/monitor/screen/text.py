"""Styled text without a terminal library: a line is spans of (text, style).

Plain and coloured output are the same lines, so a log says what the terminal said.
"""

from __future__ import annotations

import re
import textwrap
import unicodedata
from typing import TypeAlias

Span: TypeAlias = tuple[str, str]
Line: TypeAlias = list[Span]

STYLES: dict[str, str] = {
    "": "",
    "number": "bold cyan",
    "header": "bold",
    "rule": "dim",
    "dim": "dim",
    "counter": "bold green",
    "good": "green",
    "warning": "yellow",
    "error": "bold red",
}
"""Rich style of each style name."""

_NUMBER = re.compile(r"(?<![^\s(\[])\d+(?:,\d{3})*(?:\.\d+)?%?(?=[)\],.:;]*(?:\s|$))")
_ASCII = str.maketrans({"─": "-", "━": "=", "│": "|", "├": "|", "└": "`", "…": "~", "█": "#", "░": ".", "→": ">"})


def plain(line: Line) -> str:
    """The text of a line, without blanks at its end."""
    return "".join(text for text, _ in line).rstrip()


def shown_in(text: str, encoding: str) -> str:
    """``text`` as a stream of this encoding can show it: our drawing in ASCII, anything else unknown to it escaped."""
    if encoding.lower().startswith("utf"):
        return text
    return text.translate(_ASCII).encode(encoding, "backslashreplace").decode(encoding)


def clean(text: object) -> str:
    """``text`` on one line: what is not printable is backslash-escaped, a byte that was not UTF-8 as ``\\xNN``."""
    raw = str(text)
    return raw if raw.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in raw)


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else character.encode("unicode_escape").decode("ascii")


def numbered(text: str, style: str = "") -> Line:
    """``text`` with the numbers that stand alone in it set apart; any other part has ``style``."""
    line: Line = []
    end = 0
    for found in _NUMBER.finditer(text):
        line += [(text[end : found.start()], style), (found.group(), "number")]
        end = found.end()
    return [*line, (text[end:], style)]


def trimmed(line: Line) -> Line:
    """The line without blanks at its end and without empty spans."""
    kept = [span for span in line if span[0]]
    while kept:
        text, style = kept.pop()
        if text.rstrip():
            return [*kept, (text.rstrip(), style)]
    return []


def cells(text: str) -> int:
    """Columns that ``text`` takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def wrap(text: str, width: int) -> list[str]:
    """``text`` in lines of at most ``width`` columns, broken at blanks where there are some."""
    if cells(text) == len(text):
        return textwrap.wrap(text, width)
    lines: list[str] = []
    line, used = "", 0
    for word in text.split():
        if line and used + 1 + cells(word) <= width:
            line, used = f"{line} {word}", used + 1 + cells(word)
            continue
        if line:
            lines.append(line)
        line, used = "", 0
        for character in word:
            if used + cells(character) > width:
                lines.append(line)
                line, used = "", 0
            line, used = line + character, used + cells(character)
    return [*lines, line] if line else lines


def fit(text: str, width: int) -> str:
    """``text`` in exactly ``width`` columns: padded, or shortened in the middle with an ellipsis."""
    taken = cells(text)
    if taken <= width:
        return text + " " * (width - taken)
    if width < 1:
        return ""
    tail = (width - 1) // 2
    head = width - 1 - tail
    while cells(text[:head]) > width - 1 - tail:
        head -= 1
    end = text[len(text) - tail :] if tail else ""
    while cells(end) > tail:
        end = end[1:]
    short = f"{text[:head]}…{end}"
    return short + " " * (width - cells(short))


def number(value: float, digits: int = 0) -> str:
    """``value`` with thousands separated."""
    return f"{value:,.{digits}f}"


def percent(share: float) -> str:
    """``share`` of 1 in percent, rounded so that 100.0% means all and 0.0% none."""
    value = round(share * 100, 1)
    if value >= 100.0 and share < 1.0:
        value = 99.9
    elif value <= 0.0 and share > 0.0:
        value = 0.1
    return f"{value:.1f}%"


def seconds(value: float) -> str:
    """``value`` seconds for a reader."""
    return f"{value:.2f} s" if value < 100 else f"{int(value) // 60} min {int(value) % 60:02d} s"


def size(value: int) -> str:
    """``value`` bytes for a reader, in decimal units as file managers show them."""
    amount = float(value)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} B" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"
