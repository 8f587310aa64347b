"""Pipelines as text.

    pipeline ::= element ("," element)*            spaces allowed around "," "{" "}"
    element  ::= name ("{" (option (ws option)*)? "}")?
    option   ::= key "=" value ("," value)*        a list only where the field is a tuple
    value    ::= number | true | false | word | "string"      word = [A-Za-z0-9_./:+-]+ ; strings escape \\" and \\\\

The type of a pass's field decides how a value is read; ``-`` and ``_`` are equal in keys. The word ``none`` is None,
or an empty tuple, where the field allows it. What ``str()`` prints parses back to an equal pipeline.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from modelexport.ir.errors import ConfigError, PipelineError
from modelexport.ir.facts import Fact
from modelexport.passes.pipeline.base import Pass
from modelexport.passes.pipeline.options import WORD, Value, convert, element_text, options_of

if TYPE_CHECKING:
    from modelexport.passes.pipeline.registry import Registry

_SPACE = " \t\r\n"
NOTHING = "none"  # the named pipeline that runs nothing


@dataclass(frozen=True, slots=True)
class Element:
    """One pass of a pipeline and where it stands in the text.

    Attributes:
        step: the pass.
        named: the named pipeline it came from; ``""`` when it was written out.
        column: 0-based column in the text, or None for a pass that was not parsed.
        written: fields of the options that the text spells out.
    """

    step: Pass
    named: str = ""
    column: int | None = None
    written: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Pipeline:
    """Passes in the order they run. Two pipelines are equal when their passes are.

    ``elements`` also says which passes came from a named pipeline; it follows ``passes`` when it is not given.
    """

    passes: tuple[Pass, ...] = ()
    elements: tuple[Element, ...] = field(default=(), compare=False, repr=False)
    text: str = field(default="", compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "passes", tuple(self.passes))
        if len(self.elements) != len(self.passes):
            object.__setattr__(self, "elements", tuple(Element(step) for step in self.passes))

    @classmethod
    def parse(cls, text: str, *, registry: Registry | None = None) -> Pipeline:
        """Read a pipeline.

        Raises:
            PipelineError: with the column of the fault.
        """
        if registry is None:
            from modelexport.passes.pipeline.registry import Registry

            registry = Registry.default()
        elements = _Parser(text, registry, ()).pipeline()
        return cls(tuple(element.step for element in elements), tuple(elements), text)

    def __iter__(self) -> Iterator[Pass]:
        return iter(self.passes)

    def __len__(self) -> int:
        return len(self.passes)

    def __str__(self) -> str:
        """Canonical text: named pipelines written out, options that differ from their defaults in field order."""
        return ",".join(map(element_text, self.passes)) or NOTHING

    def recorded(self) -> str:
        """The text that files carry: like ``str()``, with the base names of files only."""
        return ",".join(element_text(step, base_names=True) for step in self.passes) or NOTHING

    def check(self, assume: Iterable[Fact] = ()) -> None:
        """Refuse an order in which a pass can't work. ``assume`` holds before the first pass.

        Raises:
            PipelineError: a pass requires a fact that no earlier pass establishes.
        """
        believed: dict[Fact, str] = dict.fromkeys(assume, "")
        lost: dict[Fact, str] = {}
        for element in self.elements:
            step = element.step
            for fact in sorted(step.requires, key=lambda fact: fact.value):
                if fact in believed:
                    continue
                why = f"{lost[fact]} undoes it" if fact in lost else "no earlier pass establishes it"
                raise PipelineError(f"{step.name} requires {fact.value}: {why}", _one_line(self.text), element.column)
            for fact in step.invalidates:
                if believed.pop(fact, None) is not None:
                    lost[fact] = step.name
            believed.update(dict.fromkeys(step.establishes, step.name))


class _Parser:
    """Reads one text; ``within`` names the named pipelines being expanded."""

    def __init__(self, text: str, registry: Registry, within: tuple[str, ...]) -> None:
        self.text = text
        self.registry = registry
        self.within = within
        self.at = 0

    def pipeline(self) -> list[Element]:
        self.skip()
        if self.at == len(self.text):
            self.fail("the pipeline is empty; the pipeline that runs nothing is 'none'", 0)
        elements: list[Element] = []
        while True:
            elements += self.element()
            self.skip()
            if self.at == len(self.text):
                return elements
            if not self.take(","):
                self.fail(f"expected ',' or the end, found {self.text[self.at]!r}")
            self.skip()

    def element(self) -> list[Element]:
        start = self.at
        name = self.word("a pass name")
        after_name = self.at
        self.skip()
        written: list[tuple[str, int, list[Value]]] = []
        braces = self.at
        if self.take("{"):
            written = self.options(braces)
        else:
            self.at = after_name
        found = self.registry.find(name, _one_line(self.text), start)
        if isinstance(found, str):
            if written:
                self.fail(f"{name} is a named pipeline and takes no options; it is: {found}", braces)
            return self.named(name, found, start)
        step = self.build(found, written, start)
        keys = frozenset(key.replace("-", "_") for key, _, _ in written)
        return [Element(step, self.within[0] if self.within else "", start, keys)]

    def named(self, name: str, text: str, start: int) -> list[Element]:
        if name in self.within:
            self.fail(f"the named pipeline {name} contains itself", start)
        if text == NOTHING and name == NOTHING:
            return []
        inner = _Parser(text, self.registry, (*self.within, name)).pipeline()
        return [Element(element.step, element.named, start, element.written) for element in inner]

    def options(self, opened: int) -> list[tuple[str, int, list[Value]]]:
        written: list[tuple[str, int, list[Value]]] = []
        self.skip()
        while not self.take("}"):
            if self.at == len(self.text):
                self.fail("'{' is never closed", opened)
            column = self.at
            if written and self.text[column - 1] not in _SPACE:
                self.fail("options are separated by spaces")
            key = self.word("an option")
            if not self.take("="):
                self.fail(f"expected '=' after {key!r}")
            values = [self.value()]
            while self.more():
                values.append(self.value())
            written.append((key, column, values))
            self.skip()
        return written

    def more(self) -> bool:
        """Whether a ',' follows; spaces around it are passed over."""
        before = self.at
        self.skip()
        if self.take(","):
            self.skip()
            return True
        self.at = before
        return False

    def value(self) -> Value:
        start = self.at
        if not self.take('"'):
            return Value(self.word("a value"), False, start)
        parts: list[str] = []
        while not self.take('"'):
            character = self.text[self.at : self.at + 1]
            if not character:
                self.fail("the string is never closed", start)
            if character == "\\":
                self.at += 1
                character = self.text[self.at : self.at + 1]
                if character not in ('"', "\\"):
                    self.fail('a string escapes \\" and \\\\ only', self.at - 1)
            parts.append(character)
            self.at += 1
        return Value("".join(parts), True, start)

    def build(self, cls: type[Pass], written: list[tuple[str, int, list[Value]]], start: int) -> Pass:
        options = {option.field: option for option in options_of(cls)}
        arguments: dict[str, Any] = {}
        columns: dict[str, int] = {}
        for key, column, values in written:
            name = key.replace("-", "_")
            option = options.get(name)
            if option is None:
                known = ", ".join(option.key for option in options.values())
                self.fail(
                    f"{cls.name} has no option {key!r}; " + (f"it has: {known}" if known else "it has none"), column
                )
            if name in arguments:
                self.fail(f"{option.key} is given twice", column)
            try:
                arguments[name] = convert(option.kind, values)
            except ValueError as error:
                self.fail(f"{cls.name}: {option.key} {error}", values[0].column)
            columns[name] = values[0].column
        missing = [option.key for option in options.values() if option.required and option.field not in arguments]
        if missing:
            self.fail(f"{cls.name} needs {', '.join(missing)}", start)
        try:
            return cls(**arguments)
        except (ValueError, ConfigError) as error:
            message = str(error)
            named = [name for name in columns if name in message or options[name].key in message]
            self.fail(f"{cls.name}: {message}", next((columns[name] for name in named or columns), start))

    def skip(self) -> None:
        while self.at < len(self.text) and self.text[self.at] in _SPACE:
            self.at += 1

    def take(self, character: str) -> bool:
        if self.text.startswith(character, self.at):
            self.at += 1
            return True
        return False

    def word(self, what: str) -> str:
        match = WORD.match(self.text, self.at)
        if match is None:
            found = repr(self.text[self.at]) if self.at < len(self.text) else "the end"
            self.fail(f"expected {what}, found {found}")
        self.at = match.end()
        return match.group()

    def fail(self, message: str, column: int | None = None) -> NoReturn:
        if self.within:
            message = f"in the named pipeline {self.within[-1]}: {message}"
        raise PipelineError(message, _one_line(self.text), self.at if column is None else column) from None


def _one_line(text: str) -> str:
    """``text`` with every character that would move a caret replaced by a space."""
    return "".join(character if character.isprintable() else " " for character in text)
