"""Batch manifests: JSON Lines, or TOML with one ``[[models]]`` table per model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelexport.cli.config import checked, load_config, read_table, read_text
from modelexport.cli.schema import check, schema
from modelexport.ir.errors import ConfigError

_OWN_KEYS: dict[str, dict[str, Any]] = {
    "model": {"type": "string"},
    "output": {"type": "string"},
    "config": {"type": "string"},
    "input_shape": {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "integer"}}},
    "trust_remote_code": {"type": "boolean"},
    "allow_pickle": {"type": "boolean"},
    "time_limit": {"type": "number", "minimum": 0},
    "memory_limit_mb": {"type": "integer", "minimum": 1},
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One model of a manifest, with its configuration file merged in (the entry's own keys win).

    Attributes:
        model: what to export, as ``modelexport export`` takes it; a file is an absolute path.
        output: absolute path of the ONNX file.
        options: configuration keys.
        own: input_shape, trust_remote_code, allow_pickle, time_limit, memory_limit_mb where given.
    """

    model: str
    output: Path
    options: dict[str, Any]
    own: dict[str, Any]

    def fingerprint(self) -> str:
        """Digest of what decides the result: the entry, and size and time of a model file."""
        file = Path(self.model.rpartition(":")[0] if ".py:" in self.model else self.model)
        seen = None
        if file.exists():
            status = file.stat()
            seen = [status.st_size, status.st_mtime_ns]
        text = json.dumps([self.model, str(self.output), self.options, self.own, seen], sort_keys=True, default=str)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def read_manifest(path: Path) -> list[Entry]:
    """All entries, checked before any work is done. Relative paths are relative to the manifest's folder.

    Raises:
        InputError: the manifest or a configuration file can't be read.
        ConfigError: a line, key or value is wrong, or two entries write one file.
    """
    known = {**schema("config")["properties"], **_OWN_KEYS}
    rule = {"type": "object", "additionalProperties": False, "required": ["model", "output"], "properties": known}
    entries: list[Entry] = []
    for where, values in _tables(path):
        check(values, rule, where)
        entries.append(_entry(values, where, path.resolve().parent))
    if not entries:
        raise ConfigError(f"{path.name}: no models")
    outputs: set[Path] = set()
    for entry in entries:
        if entry.output in outputs:
            raise ConfigError(f"{path.name}: two entries write {entry.output.name}")
        outputs.add(entry.output)
    return entries


def _entry(values: dict[str, Any], where: str, folder: Path) -> Entry:
    own = {key: values[key] for key in _OWN_KEYS if key in values}
    options: dict[str, Any] = {}
    if "config" in own:
        options = load_config(folder / own.pop("config"))
    options.update(checked({key: item for key, item in values.items() if key not in _OWN_KEYS}, where))
    model = str(own.pop("model"))
    file = folder / model
    named = folder / model.partition(".py")[0]
    if file.exists() or (".py" in model and named.with_name(named.name + ".py").exists()):
        model = str(file)
    return Entry(model, (folder / str(own.pop("output"))).absolute(), options, own)


def _tables(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    if path.suffix.lower() == ".toml":
        table = read_table(path)
        models = {"type": "object", "properties": {"models": {"type": "array", "items": {"type": "object"}}}}
        check(table, {**models, "additionalProperties": False, "required": ["models"]}, path.name)
        for index, values in enumerate(table["models"]):
            yield f"{path.name}: models[{index}]", values
        return
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        where = f"{path.name}, line {number}"
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:  # ValueError: also a number that is too long
            raise ConfigError(f"{where}: not JSON: {getattr(error, 'msg', error)}") from error
        if not isinstance(values, dict):
            raise ConfigError(f"{where}: must be a table of keys")
        yield where, values
