"""Running ``modelexport run`` as a process of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from programs import RUN, Done


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    """``run(*words)`` in ``tmp_path``."""
    monkeypatch.chdir(tmp_path)

    def go(*words: str, **options: Any) -> Done:
        environment = {**os.environ, **options.pop("environment", {})}
        return subprocess.run([*RUN, *words], capture_output=True, text=True, env=environment, **options)

    return go
