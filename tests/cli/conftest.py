"""A folder of its own for every test, and a small model in it."""

from __future__ import annotations

from pathlib import Path

import pytest

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
