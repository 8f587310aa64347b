"""Options of a pass: its dataclass fields, converted from pipeline text and printed back."""

from __future__ import annotations

import dataclasses
import math
import re
import types
import typing
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Union


class Named(Protocol):
    """What has a name and, being a dataclass, options."""

    name: ClassVar[str]


WORD = re.compile(r"[A-Za-z0-9_./:+-]+")
_NONE = "none"  # the word for None, and for an empty tuple; the string of that spelling is quoted


@dataclasses.dataclass(frozen=True, slots=True)
class Value:
    """One value of the text: what was written, whether in quotes, and where."""

    text: str
    quoted: bool = False
    column: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Option:
    """One option of a pass. ``kind`` is the resolved type of its field."""

    field: str
    kind: Any
    default: Any
    is_path: bool

    @property
    def key(self) -> str:
        """The option as it is written in a pipeline."""
        return self.field.replace("_", "-")

    @property
    def required(self) -> bool:
        """Whether the pass can't be made without it."""
        return self.default is dataclasses.MISSING

    @property
    def type_text(self) -> str:
        """The type for people: ``int``, ``float|none``, ``torch|winml|none``, ``str,...``."""
        return _type_text(self.kind)

    @property
    def default_text(self) -> str | None:
        """The default as it would be written; None for a required option."""
        return None if self.required else value_text(self.kind, self.default)


@cache
def options_of(cls: type) -> tuple[Option, ...]:
    """The options of a pass class, in field order.

    Raises:
        TypeError: the class is not a frozen dataclass, or a field has a type that pipeline text can't spell.
    """
    params = cls.__dict__.get("__dataclass_params__")
    if params is None or not params.frozen:
        raise TypeError(f"{cls.__module__}.{cls.__qualname__} is not a frozen dataclass: decorate it")
    hints = typing.get_type_hints(cls)
    options = []
    for field in dataclasses.fields(cls):
        if not field.init:
            continue
        kind = hints[field.name]
        try:
            _type_text(kind)
        except TypeError as error:
            raise TypeError(f"{cls.__module__}.{cls.__qualname__}.{field.name}: {error}") from None
        default = field.default
        if default is dataclasses.MISSING and field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        is_path = bool(field.metadata.get("path")) or Path in (kind, *typing.get_args(kind))
        options.append(Option(field.name, kind, default, is_path))
    return tuple(options)


def convert(kind: Any, values: Sequence[Value]) -> Any:
    """The Python value of an option that was written as ``values``. Raises ValueError saying what is expected."""
    item = _item_of_tuple(kind)
    if item is not None:
        if len(values) == 1 and _is_none(values[0]):
            return None if _allows_none(kind) else ()
        return tuple(_scalar(item, value) for value in values)
    if len(values) > 1:
        raise ValueError(f"expects one {_type_text(kind)}, not a list")
    return _scalar(kind, values[0])


def element_text(pass_: Named, *, base_names: bool = False) -> str:
    """The pipeline element that makes an equal pass. ``base_names`` cuts file options to the file's own name."""
    options = []
    for option in options_of(type(pass_)):
        value = getattr(pass_, option.field)
        if not option.required and value == option.default and type(value) is type(option.default):
            continue
        if base_names and option.is_path:
            value = _base_name(value)
        options.append(f"{option.key}={value_text(option.kind, value)}")
    return f"{pass_.name}{{{' '.join(options)}}}" if options else pass_.name


def value_text(kind: Any, value: Any) -> str:
    """``value`` as an option of type ``kind`` is written."""
    if value is None:
        return _NONE
    if isinstance(value, tuple):
        item = _item_of_tuple(kind)
        return ",".join(_scalar_text(item, each, alone=len(value) == 1) for each in value) if value else _NONE
    return _scalar_text(kind, value, alone=_allows_none(kind))


def quote(text: str) -> str:
    """``text`` as a quoted string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _scalar_text(kind: Any, value: Any, *, alone: bool) -> str:
    """``alone``: the word ``none`` would be read as None or as an empty tuple here."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    text = str(value)
    if WORD.fullmatch(text) and not (alone and text == _NONE and _NONE not in _choices(kind)):
        return text
    return quote(text)


def _scalar(kind: Any, value: Value) -> Any:
    choices = _choices(kind)
    if choices:
        for choice in choices:
            if value.text == _scalar_text(str, choice, alone=False) or (value.quoted and value.text == choice):
                return choice
        if not (_allows_none(kind) and _is_none(value)):
            raise ValueError(f"expects {_type_text(kind)}, not {value.text!r}")
    if _allows_none(kind) and _is_none(value):
        return None
    plain = _without_none(kind)
    if plain is str:
        return value.text
    if plain is Path:
        return Path(value.text)
    if not value.quoted:
        if plain is bool and value.text in ("true", "false"):
            return value.text == "true"
        if plain is int or plain is float:
            return _number(plain, value.text)
    raise ValueError(f"expects {_type_text(kind)}, not {quote(value.text) if value.quoted else repr(value.text)}")


def _number(kind: type[int] | type[float], text: str) -> int | float:
    try:
        number: int | float = int(text, 10) if re.fullmatch(r"[+-]?[0-9]+", text) else float(text)
    except ValueError:
        raise ValueError(f"expects {kind.__name__}, not {text!r}") from None
    if math.isnan(number) or "_" in text:
        raise ValueError(f"expects {kind.__name__}, not {text!r}")
    if kind is float:
        return float(number)
    if math.isinf(number) or number != int(number):
        raise ValueError(f"expects int, not {text!r}")
    return int(number)


def _is_none(value: Value) -> bool:
    return value.text == _NONE and not value.quoted


def _members(kind: Any) -> tuple[Any, ...]:
    """Members of a union, or the type alone."""
    return typing.get_args(kind) if typing.get_origin(kind) in (Union, types.UnionType) else (kind,)


def _allows_none(kind: Any) -> bool:
    return type(None) in _members(kind)


def _without_none(kind: Any) -> Any:
    members = tuple(member for member in _members(kind) if member is not type(None))
    if len(members) != 1:
        raise TypeError(f"{kind} can't be spelled in a pipeline: use one type, or that type | None")
    return members[0]


def _choices(kind: Any) -> tuple[Any, ...]:
    plain = _without_none(kind)
    return typing.get_args(plain) if typing.get_origin(plain) is Literal else ()


def _item_of_tuple(kind: Any) -> Any:
    """X for ``tuple[X, ...]`` and ``tuple[X, ...] | None``, else None."""
    plain = _without_none(kind)
    if typing.get_origin(plain) is not tuple:
        return None
    arguments = typing.get_args(plain)
    if len(arguments) != 2 or arguments[1] is not Ellipsis or _allows_none(arguments[0]):
        raise TypeError(f"{plain} can't be spelled in a pipeline: use tuple[X, ...]")
    return arguments[0]


def _type_text(kind: Any) -> str:
    item = _item_of_tuple(kind)
    plain = _without_none(kind)
    if item is not None:
        text = f"{_type_text(item)},..."
    elif _choices(kind):
        text = "|".join(_scalar_text(str, choice, alone=False) for choice in _choices(kind))
    elif plain in (bool, int, float, str, Path):
        text = plain.__name__.lower()
    else:
        raise TypeError(f"{plain} can't be spelled in a pipeline")
    return f"{text}|{_NONE}" if _allows_none(kind) and _NONE not in _choices(kind) else text


def _base_name(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_base_name(each) for each in value)
    return None if value is None else re.split(r"[/\\]", str(value))[-1]
