"""The memory of this process, its bound MODELEXPORT_MEMORY_LIMIT_MB, and its cyclic collector."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

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
    resident = memory_mb()[0]
    if resident > limit_mb:
        raise MemoryLimitExceeded(f"{when}: {resident:.0f} MB of memory in use, {VARIABLE} allows {limit_mb}")


def memory_mb() -> tuple[float, float]:
    """Resident memory now and at its peak since the process started, in MB."""
    import psutil

    info = psutil.Process().memory_info()
    peak = float(getattr(info, "peak_wset", 0))  # Windows
    try:
        import resource
    except ImportError:  # where neither says so, what is used now is the peak that is known
        return info.rss / 2**20, max(peak, info.rss) / 2**20
    unit = 1 if sys.platform == "darwin" else 1024
    peak = float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)
    return info.rss / 2**20, max(peak, info.rss) / 2**20


@contextmanager
def without_gc() -> Iterator[None]:
    """Pause the cyclic collector: building many small objects that all live makes it superlinear.

    What was made meanwhile counts as old afterwards, as if it had been examined: else all of it would be at once.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            if not gc.get_freeze_count():  # a heap that somebody else froze is left alone
                gc.freeze()
                gc.unfreeze()
            gc.enable()
