"""Configuration files of export and batch: JSON or TOML, checked against ``config.schema.json``."""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelexport.cli.schema import check, schema
from modelexport.ir.errors import ConfigError, InputError
from modelexport.ir.identity.file_kinds import told
from modelexport.ir.text import shown


def load_config(path: Path) -> dict[str, Any]:
    """Read and check a configuration file.

    Raises:
        InputError: the file can't be read.
        ConfigError: it is not JSON or TOML, has an unknown key (the nearest is named) or a wrong value.
    """
    return checked(read_table(path), path.name)


def checked(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """``values`` checked as a configuration. ``where`` starts the messages."""
    config = dict(values)
    check(config, schema("config"), where)
    return config


def read_table(path: Path) -> dict[str, Any]:
    """The top-level table of a ``.toml`` file, else of a JSON file. Raises InputError, ConfigError."""
    text = read_text(path)
    try:
        loaded = tomllib.loads(text) if path.suffix.lower() == ".toml" else json.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path.name}: not TOML{told(path, f': {error}')}") from error
    except json.JSONDecodeError as error:
        where = f": {error.msg} (line {error.lineno}, column {error.colno})"
        raise ConfigError(f"{path.name}: not JSON{told(path, where)}") from error
    except RecursionError as error:
        raise ConfigError(f"{path.name}: nested too deep") from error
    except ValueError as error:  # Python refuses to read longer ones
        raise ConfigError(f"{path.name}: a number in it has more than {sys.get_int_max_str_digits()} digits") from error
    if not isinstance(loaded, dict):
        raise ConfigError(f"{path.name}: must be a table of keys, not {type(loaded).__name__}")
    return loaded


def read_text(path: Path) -> str:
    """Text of a UTF-8 file. Raises InputError."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text{told(path)}") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise InputError(f"{shown(str(path))}: {getattr(error, 'strerror', None) or error}") from error
