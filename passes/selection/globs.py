"""Globs as shells and gitignore know them, matched in time proportional to pattern times text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

_ANY = None  # stands for `*`
Token = Callable[[str], bool] | str | None  # a test of one character, a literal character, or _ANY
_SPECIAL = frozenset("*?[")


@lru_cache(maxsize=1024)
def glob(pattern: str) -> Callable[[str], bool]:
    """A test of whole texts: ``*`` is any text, ``?`` any character, ``[a-c]`` and ``[!a]`` one of a set.

    A ``[`` that is never closed is itself; a ``]`` that comes first in a set is a member of it. Case counts.
    """
    if _SPECIAL.isdisjoint(pattern):
        return pattern.__eq__
    if "?" not in pattern and "[" not in pattern:
        return _pieces(pattern.split("*"))
    tokens = _tokens(pattern)
    return lambda text: _matches(tokens, text)


@lru_cache(maxsize=1024)
def path_glob(pattern: str, *, inside: bool) -> Callable[[str], bool]:
    """A test of dotted paths, atom by atom: ``**`` is any number of atoms, none too; ``.`` and ``""`` are the root.

    Args:
        inside: whether a path below one that matches does too.
    """
    atoms = [] if pattern in ("", ".") else pattern.split(".")
    steps: list[Token] = [_ANY if atom == "**" else glob(atom) for atom in atoms]
    if inside:
        steps.append(_ANY)
    return lambda path: _matches(steps, path.split(".") if path else [])


def _pieces(pieces: list[str]) -> Callable[[str], bool]:
    """A test of texts that have ``pieces`` in this order, the first at the start and the last at the end."""
    first, last, between = pieces[0], pieces[-1], [piece for piece in pieces[1:-1] if piece]
    shortest = len(first) + len(last)

    def test(text: str) -> bool:
        if len(text) < shortest or not text.startswith(first) or not text.endswith(last):
            return False
        at, end = len(first), len(text) - len(last)
        for piece in between:
            at = text.find(piece, at, end)
            if at < 0:
                return False
            at += len(piece)
        return True

    return test


def _tokens(pattern: str) -> list[Token]:
    tokens: list[Token] = []
    at = 0
    while at < len(pattern):
        character = pattern[at]
        at += 1
        if character == "*":
            if not tokens or tokens[-1] is not _ANY:
                tokens.append(_ANY)
        elif character == "?":
            tokens.append(_any_character)
        elif character == "[" and (end := _end_of_set(pattern, at)) > 0:
            tokens.append(_one_of(pattern[at:end]))
            at = end + 1
        else:
            tokens.append(character)
    return tokens


def _any_character(character: str) -> bool:
    return True


def _end_of_set(pattern: str, at: int) -> int:
    """Index of the ``]`` that closes a set whose content begins at ``at``; -1 where none does."""
    if pattern.startswith("!", at):
        at += 1
    return pattern.find("]", at + 1)


def _one_of(content: str) -> Callable[[str], bool]:
    negated = content.startswith("!")
    members = content[1:] if negated else content
    singles: set[str] = set()
    ranges: list[tuple[str, str]] = []
    at = 0
    while at < len(members):
        if members[at + 1 : at + 2] == "-" and at + 2 < len(members):
            ranges.append((members[at], members[at + 2]))
            at += 3
        else:
            singles.add(members[at])
            at += 1

    def test(character: str) -> bool:
        found = character in singles or any(low <= character <= high for low, high in ranges)
        return found != negated

    return test


def _matches(tokens: Sequence[Token], items: Sequence[str]) -> bool:
    """Whether ``tokens`` match all of ``items``. Going back to the last ``_ANY`` only is enough, and never explodes."""
    token = item = 0
    back_token, back_item = -1, 0
    while item < len(items):
        test = tokens[token] if token < len(tokens) else ""
        if token < len(tokens) and test is _ANY:
            back_token, back_item = token, item
            token += 1
        elif token < len(tokens) and (test == items[item] if isinstance(test, str) else test and test(items[item])):
            token += 1
            item += 1
        elif back_token >= 0:
            back_item += 1
            token, item = back_token + 1, back_item
        else:
            return False
    return all(test is _ANY for test in tokens[token:])
