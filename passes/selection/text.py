"""The grammar of selectors: text to an expression, and back.

    selector ::= all ("or" all)*            all ::= factor ("and" factor)*
    factor   ::= "not" factor | "(" selector ")" | term
    term     ::= pattern | key ":" pattern | key "~" regex | number-key ("<" | "<=" | "=" | ">=" | ">") number
    pattern  ::= word | "string"            word: no white space, parentheses or quotes; strings escape \\" and \\\\

``not`` binds before ``and`` before ``or``; the three words are special only when bare. A pattern without a key is
``path:``. Parsing is linear in the text, which may have 64 KB and be nested 100 deep.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NoReturn

from modelexport.ir.errors import SelectorError, nearest

MAX_BYTES, MAX_NESTING = 64 * 1024, 100
TEXT_KEYS = ("path", "at", "class", "of", "tag", "name", "source", "rule", "op", "role", "weight", "makes", "reads")
NUMBER_KEYS = ("confidence", "depth")
ROLES = ("compute", "auxiliary")

_WORDS = frozenset({"and", "or", "not"})
_WORD = re.compile(r"""[^\s()"]+""")
_KEYED = re.compile(r"""([A-Za-z_][A-Za-z0-9_-]*)(:|~|<=|>=|<|>|=)""")
_NUMBER_KEY = re.compile(r"""([A-Za-z_]+)\s+(<=|>=|<|>|=)""")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")


@dataclass(frozen=True, slots=True)
class Term:
    """One condition. ``relation`` is ``:``, ``~``, or how ``key`` compares with the number in ``pattern``."""

    key: str
    relation: str
    pattern: str
    number: float = 0.0
    regex: re.Pattern[str] | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        if self.key in NUMBER_KEYS:
            return f"{self.key}{self.relation}{self.pattern}"
        return f"{self.key}{self.relation}{_pattern_text(self.pattern)}"


@dataclass(frozen=True, slots=True)
class Not:
    """Nodes that ``part`` does not match."""

    part: Expression

    def __str__(self) -> str:
        return f"not {_within(self.part, (Every, Either))}"


@dataclass(frozen=True, slots=True)
class Every:
    """Nodes that all parts match."""

    parts: tuple[Expression, ...]

    def __str__(self) -> str:
        return " and ".join(_within(part, (Every, Either)) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Either:
    """Nodes that one of the parts matches."""

    parts: tuple[Expression, ...]

    def __str__(self) -> str:
        return " or ".join(_within(part, (Either,)) for part in self.parts)


Expression = Term | Not | Every | Either


def terms_of(expression: Expression) -> Iterator[Term]:
    """Every term, denied ones too."""
    if isinstance(expression, Term):
        yield expression
    else:
        for part in (expression.part,) if isinstance(expression, Not) else expression.parts:
            yield from terms_of(part)


def _within(part: Expression, in_parentheses: tuple[type, ...]) -> str:
    return f"({part})" if isinstance(part, in_parentheses) else str(part)


def _pattern_text(pattern: str) -> str:
    if _WORD.fullmatch(pattern):
        return pattern
    escaped = pattern.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def parse(text: str) -> Expression:
    """The expression that ``text`` spells. Raises SelectorError with the column of the fault."""
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise SelectorError(f"the selector is longer than {MAX_BYTES // 1024} KB")
    return _Parser(text).whole()


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.depth = 0

    def whole(self) -> Expression:
        self.skip()
        if self.at == len(self.text):
            self.fail("the selector is empty", 0)
        found = self.either()
        if self.at < len(self.text):
            if self.text[self.at] == ")":
                self.fail("')' was never opened")
            self.fail("expected 'and', 'or' or the end")
        return found

    def either(self) -> Expression:
        parts = [self.every()]
        while self.take_word("or"):
            parts.append(self.every())
        return parts[0] if len(parts) == 1 else Either(tuple(parts))

    def every(self) -> Expression:
        parts = [self.factor()]
        while self.take_word("and"):
            parts.append(self.factor())
        return parts[0] if len(parts) == 1 else Every(tuple(parts))

    def factor(self) -> Expression:
        start = self.at
        if self.take_word("not"):
            self.deeper(start)
            part = self.factor()
            self.depth -= 1
            return Not(part)
        if not self.text.startswith("(", self.at):
            return self.term()
        self.deeper(start)
        self.at += 1
        self.skip()
        inner = self.either()
        if not self.text.startswith(")", self.at):
            if self.at == len(self.text):
                self.fail("'(' is never closed", start)
            self.fail("expected 'and', 'or' or ')'")
        self.at += 1
        self.skip()
        self.depth -= 1
        return inner

    def deeper(self, column: int) -> None:
        self.depth += 1
        if self.depth > MAX_NESTING:
            self.fail(f"nested more than {MAX_NESTING} deep", column)

    def term(self) -> Term:
        start = self.at
        if self.word_at() in _WORDS:
            self.fail(f"expected a term, found the word {self.word_at()!r}; in quotes it is a path")
        keyed = _KEYED.match(self.text, start) or _NUMBER_KEY.match(self.text, start)
        if keyed is None or (keyed.re is _NUMBER_KEY and keyed[1] not in NUMBER_KEYS):
            word = self.word_at()
            if word in NUMBER_KEYS:
                self.fail(f"{word!r} needs a number: {word}>=...; the path of that name is path:{word}", start)
            return Term("path", ":", self.pattern("a term"))
        key, relation = keyed[1], keyed[2]
        self.check_key(key, relation, start)
        self.at = keyed.end()
        self.skip()
        if key in NUMBER_KEYS:
            return self.compared(key, relation)
        column = self.at
        pattern = self.pattern(f"{'a regular expression' if relation == '~' else 'a pattern'} after '{key}{relation}'")
        return self.checked(Term(key, relation, pattern), column)

    def check_key(self, key: str, relation: str, column: int) -> None:
        if key in TEXT_KEYS and relation not in ":~":
            self.fail(f"{key!r} takes a pattern, {key}:..., and is not compared with {relation!r}", column)
        if key in NUMBER_KEYS and relation in ":~":
            self.fail(f"{key!r} is a number: compare it, {key}>=...", column)
        if key not in (*TEXT_KEYS, *NUMBER_KEYS):
            close = nearest(key.lower(), (*TEXT_KEYS, *NUMBER_KEYS), 0.5)
            hint = f"did you mean {close!r}?" if close else f"known are {', '.join((*TEXT_KEYS, *NUMBER_KEYS))}"
            self.fail(f"unknown key {key!r}: {hint}", column)

    def compared(self, key: str, relation: str) -> Term:
        word = self.word_at()
        if not _NUMBER.fullmatch(word) or math.isinf(float(word)):
            self.fail(f"expected a number after '{key}{relation}'")
        self.at += len(word)
        self.skip()
        number = float(word)
        shown = str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)
        return Term(key, relation, shown, number)

    def checked(self, term: Term, column: int) -> Term:
        """The term with its regular expression compiled; what can never match is refused."""
        if term.relation == "~":
            try:
                return Term(term.key, "~", term.pattern, regex=re.compile(term.pattern))
            except (re.error, OverflowError, RecursionError) as error:
                self.fail(f"not a regular expression: {error}", column)
        if term.key == "role" and term.pattern not in ROLES:
            self.fail(f"a role is {' or '.join(ROLES)}, not {term.pattern!r}", column)
        return term

    def pattern(self, what: str) -> str:
        if self.text.startswith('"', self.at):
            found = self.string()
        else:
            found = self.word_at()
            if not found or (found in _WORDS and self.text[self.at - 1 : self.at].isspace()):
                there = f", found {self.text[self.at]!r}" if self.at < len(self.text) else ""
                self.fail(f"expected {what}{there}")
            self.at += len(found)
        self.skip()
        return found

    def string(self) -> str:
        start = self.at
        parts: list[str] = []
        at = start + 1
        while True:
            end = at
            while end < len(self.text) and self.text[end] not in '"\\':
                end += 1
            parts.append(self.text[at:end])
            if end == len(self.text):
                self.fail("the string is never closed", start)
            if self.text[end] == '"':
                self.at = end + 1
                return "".join(parts)
            escaped = self.text[end + 1 : end + 2] in ('"', "\\") and end + 1 < len(self.text)
            parts.append(self.text[end + 1] if escaped else "\\")
            at = end + 2 if escaped else end + 1

    def word_at(self) -> str:
        match = _WORD.match(self.text, self.at)
        return match[0] if match is not None else ""

    def take_word(self, word: str) -> bool:
        if self.word_at() != word:
            return False
        self.at += len(word)
        self.skip()
        return True

    def skip(self) -> None:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1

    def fail(self, message: str, column: int | None = None) -> NoReturn:
        shown = "".join(character if character.isprintable() else " " for character in self.text)
        raise SelectorError(message, shown, self.at if column is None else column) from None
