"""The options of the monitor's output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from modelexport.ir.errors import ConfigError, nearest


@dataclass(frozen=True, slots=True)
class MonitorConfig:
    """How much is shown, and how.

    Attributes:
        max_tree_depth: the module tree on the console shows modules down to this depth; the root has depth 0.
        max_display_nodes: rows of the module tree on the console, and of any list of nodes.
        style_numbers: numbers are bold cyan on a terminal.
        batch_console: a step is written to the console in one piece instead of part by part, and there is no spinner.
        enable_cache: statistics are computed once per logged step instead of each time a writer asks for them.
    """

    max_tree_depth: int = 6
    max_display_nodes: int = 40
    style_numbers: bool = True
    batch_console: bool = False
    enable_cache: bool = True

    @classmethod
    def of(cls, config: Mapping[str, Any] | MonitorConfig | None) -> MonitorConfig:
        """Options from a mapping. Raises ConfigError for an unknown key or a value of the wrong type."""
        if isinstance(config, MonitorConfig):
            return config
        if config is not None and not isinstance(config, Mapping):
            raise ConfigError(f"config of the monitor is {config!r:.60}; it has to be a mapping of options")
        known = {entry.name: entry.default for entry in fields(cls)}
        for key, value in (config or {}).items():
            if key not in known:
                near = nearest(str(key), known)
                hint = f"did you mean {near}?" if near else f"the keys are {', '.join(known)}"
                raise ConfigError(f"unknown monitor option {key!r}: {hint}")
            if isinstance(known[key], bool):
                if not isinstance(value, bool):
                    raise ConfigError(f"monitor option {key} is {value!r}; it has to be true or false")
            elif isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise ConfigError(f"monitor option {key} is {value!r}; it has to be a whole number from 0")
        return cls(**(config or {}))
