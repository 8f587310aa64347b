"""The JSON Schemas shipped beside this module, and a reader of values by the part of JSON Schema they use.

The schema files are the single description of configuration keys and of ``--format json`` outputs. Reading needs
one-line errors that name the nearest key, and no further dependency; the tests check files and outputs with
jsonschema.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from modelexport.ir.errors import ConfigError, nearest
from modelexport.ir.text import shown

_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
}
_NOUNS = {"object": "a table", "array": "a list", "string": "text", "integer": "an integer", "number": "a number"}


@cache
def schema(name: str) -> dict[str, Any]:
    """The shipped schema ``<name>.schema.json``; not to be changed."""
    text = Path(__file__).with_name(f"{name}.schema.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def hint(word: str, known: Iterable[str]) -> str:
    """``; did you mean "x"?`` or the list of what is known."""
    choices = sorted(known)
    close = nearest(word, choices)
    return f'; did you mean "{close}"?' if close else f"; known: {', '.join(choices)}"


def check(value: Any, rule: Mapping[str, Any], where: str, at: str = "") -> None:
    """Check ``value`` against a schema.

    Args:
        where: what a message starts with, e.g. the file's name.
        at: dotted place inside it.

    Raises:
        ConfigError: one line that names the key and what it wants.
    """
    if "anyOf" in rule:
        _check_any(value, rule["anyOf"], where, at)
        return
    if "enum" in rule and value not in rule["enum"]:
        near = hint(value, rule["enum"]) if isinstance(value, str) else f"; known: {', '.join(rule['enum'])}"
        raise ConfigError(f"{where}: {at} can't be {_shown(value)}{near}")
    kind = rule.get("type")
    if kind is not None and not _is(value, kind):
        raise ConfigError(f"{where}: {at or 'the file'} must be {_noun(kind)}, not {_shown(value)}")
    if isinstance(value, dict):
        _check_object(value, rule, where, at)
    elif isinstance(value, list):
        low, high = rule.get("minItems", 0), rule.get("maxItems", len(value))
        if not low <= len(value) <= high:
            raise ConfigError(f"{where}: {at} must have {low} entries, not {len(value)}")
        for index, item in enumerate(value):
            check(item, rule.get("items", {}), where, f"{at}[{index}]")
    elif isinstance(value, (int, float)) and not rule.get("minimum", value) <= value <= rule.get("maximum", value):
        bounds = f"{rule.get('minimum', '')}..{rule.get('maximum', '')}"
        raise ConfigError(f"{where}: {at} is {_shown(value)}, outside {bounds}")


def _check_object(value: dict[str, Any], rule: Mapping[str, Any], where: str, at: str) -> None:
    known, others = rule.get("properties", {}), rule.get("additionalProperties", {})
    for key, item in value.items():
        place = f"{at}.{shown(key)}" if at else shown(key)
        pattern = rule.get("propertyNames", {}).get("pattern")
        if pattern and not re.search(pattern, key):
            raise ConfigError(f"{where}: {place}: {_shown(key)} does not match {pattern}")
        if key not in known and others is False:
            raise ConfigError(f"{where}: unknown key {_shown(place)}{hint(key, known)}")
        check(item, known.get(key, others), where, place)
    for key in rule.get("required", ()):
        if key not in value:
            raise ConfigError(f'{where}: {at + ": " if at else ""}"{key}" is missing')


def _check_any(value: Any, rules: list[dict[str, Any]], where: str, at: str) -> None:
    fitting = [rule for rule in rules if _is(value, rule.get("type"))]
    if not fitting:
        raise ConfigError(f"{where}: {at} must be {' or '.join(_noun(r['type']) for r in rules)}, not {_shown(value)}")
    check(value, fitting[0], where, at)


def _is(value: Any, kind: str | list[str] | None) -> bool:
    if kind is None:
        return True
    if isinstance(kind, list):
        return any(_is(value, one) for one in kind)
    if kind == "null":
        return value is None
    return isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _noun(kind: str | list[str]) -> str:
    kinds = [kind] if isinstance(kind, str) else kind
    return " or ".join(_NOUNS.get(one, "true or false" if one == "boolean" else one) for one in kinds)


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."
