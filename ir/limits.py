"""The memory bound of a run, MODELEXPORT_MEMORY_LIMIT_MB."""

from __future__ import annotations

import os

from modelexport.ir.errors import ConfigError, MemoryLimitExceeded

VARIABLE = "MODELEXPORT_MEMORY_LIMIT_MB"


def memory_limit_mb() -> int | None:
    """The bound from the environment, in MB; None without one. Raises ConfigError for a value that is not a number."""
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise ConfigError(f"{VARIABLE}={text!r}: expected a whole number of megabytes above 0")
    return int(text)


def check_memory(limit_mb: int | None, when: str) -> None:
    """Raise MemoryLimitExceeded if the process's resident memory is above the bound."""
    if limit_mb is None:
        return
    import psutil

    resident = psutil.Process().memory_info().rss / 2**20
    if resident > limit_mb:
        raise MemoryLimitExceeded(f"{when}: {resident:.0f} MB of memory in use, {VARIABLE} allows {limit_mb}")
