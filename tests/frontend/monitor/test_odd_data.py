"""Data of steps that JSON has no words for never costs the metadata file."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelexport.frontend.monitor import HTPExportMonitor, HTPExportStep


class Mute:
    def __str__(self) -> str:
        raise ValueError("no")

    __repr__ = __str__


def cyclic() -> Any:
    found: dict[str, Any] = {}
    found["me"] = found
    return found


def deep() -> Any:
    found: list[Any] = []
    for _ in range(5000):
        found = [found]
    return found


@pytest.mark.parametrize(
    "value, told",
    [
        ("a\ud800b", r"a\ud800b"),
        ("a\udcffb", r"a\xffb"),
        (np.arange(3), "[0 1 2]"),
        (10**6000, "<int of 19932 bits>"),
        (10**50, 10**50),
        (Mute(), "<Mute>"),
        ({Mute(): 1, ("a", 1): 2}, {"<Mute>": 1, "('a', 1)": 2}),
        (float("nan"), None),
        (cyclic(), ...),
        (deep(), ...),
    ],
    ids=["surrogate", "byte", "array", "huge", "large", "mute", "keys", "nan", "cyclic", "deep"],
)
def test_odd_data(value: Any, told: Any, tmp_path: Path) -> None:
    monitor = HTPExportMonitor(tmp_path / "m.onnx", verbose=False)
    monitor.log_step(HTPExportStep.MODEL_PREP, {"inputs": {"x": value}})
    monitor.finalize()
    assert monitor.errors == []
    found = json.loads((tmp_path / "m_htp_metadata.json").read_text("utf-8"))
    if told is not ...:
        assert {"x": told} in list(held(found["steps"]))


def held(value: Any) -> Any:
    """``value`` and everything in it."""
    yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from held(each)
