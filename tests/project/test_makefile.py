"""What make would run, on any system."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")


def plan(*words: str, folder: Path) -> str:
    """The lines that make would run, with environments in ``folder`` that are not there yet."""
    places = [f"{name}={folder / name.lower()}" for name in ("VENV", "CLIENTS", "OLDEST", "NEWEST")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ["make", "--dry-run", *words, *places]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("target", ["demo", "test", "test-slow", "test-clients", "site"])
def test_programs_are_where_the_system_puts_them(target: str, tmp_path: Path) -> None:
    for system, there, elsewhere in (("Windows_NT", "/Scripts/", "/bin/"), ("", "/bin/", "/Scripts/")):
        lines = plan(target, f"OS={system}", folder=tmp_path)
        assert f"{tmp_path}/venv{there}" in lines or f"{tmp_path}/clients{there}" in lines
        assert not [line for line in lines.splitlines() if f"{tmp_path}" in line and elsewhere in line]


def test_the_slow_tests_end_with_other_versions(tmp_path: Path) -> None:
    lines = plan("test-slow", folder=tmp_path)
    slow, oldest, newest = (
        lines.index(text) for text in ("-m slow", "constraints-oldest.txt", "constraints-newest.txt")
    )
    assert slow < oldest < newest
    assert f"{tmp_path}/oldest/bin/python -m pytest" in lines and f"{tmp_path}/newest/bin/python -m pytest" in lines
