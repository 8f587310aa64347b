"""Shared helpers of the tests are plain modules in tests/support, importable by their bare name."""

from __future__ import annotations

import os
import re
import signal
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

SUPPORT = Path(__file__).parent / "support"
sys.path.insert(0, str(SUPPORT))
# A shell that runs the tests in the background makes them deaf to Ctrl-C, and the processes that they start as well.
signal.signal(signal.SIGINT, signal.default_int_handler)
if find_spec("hypothesis"):
    from hypothesis import settings

    settings.register_profile("busy", deadline=None)  # no test fails because the machine is busy
    settings.load_profile("busy")
IMPORTED = re.compile(r"^(?:import|from) (\w+)", re.MULTILINE)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what needs signals, pipes or permissions of POSIX, and what needs ``/proc`` or ``/dev/full``."""
    for item in items:
        if " at 0x" in item.nodeid:  # workers of one run must agree on the names of tests
            raise pytest.UsageError(f"{item.nodeid}: the name has an address in it; give the parameters ids")
        if os.name != "posix" and item.get_closest_marker("posix"):
            item.add_marker(pytest.mark.skip(reason="needs POSIX"))
        if sys.platform != "linux" and item.get_closest_marker("linux"):
            item.add_marker(pytest.mark.skip(reason="needs Linux"))


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Where torch is not installed, leave out the files that import it at the top, themselves or through a helper."""
    if collection_path.suffix != ".py" or not _lacks_torch():
        return None
    return True if _imports_torch(collection_path) else None


@cache
def _lacks_torch() -> bool:
    return find_spec("torch") is None


@cache
def _imports_torch(file: Path) -> bool:
    names = set(IMPORTED.findall(file.read_text(encoding="utf-8")))
    if "torch" in names:
        return True
    helpers = (folder / f"{name}.py" for name in names for folder in (file.parent, SUPPORT))
    return any(_imports_torch(helper) for helper in helpers if helper.is_file() and helper != file)
