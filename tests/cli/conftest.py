"""A folder of its own for every test, a small model in it, and a way to run the command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from modelexport.cli import modelexport as command
from modelexport.passes.testing.text import read_text

TEXT = """
    g (float[N] X) => (float[N] Y) {
        ["/encoder/Relu"] a = Relu (X)
        ["/encoder/Exp"] b = Exp (a)
        Y = Neg (b)
    }
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def model(folder: Path) -> Path:
    """``model.onnx`` in the current folder."""
    path = Path("model.onnx")
    path.write_bytes(read_text(TEXT)[0].SerializeToString())
    return path


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs ``modelexport`` in this process: (exit code, stdout, stderr)."""

    def call(*arguments: object) -> tuple[int, str, str]:
        capfd.readouterr()
        code = command.main([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        assert "Traceback" not in captured.err
        return code, captured.out, captured.err

    return call
