"""Data of steps that JSON has no words for never costs the metadata file."""

import contextlib
import io
import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from modelexport.frontend.monitor import HTPExportMonitor, HTPExportStep
from modelexport.frontend.monitor.data import HTPExportData, ModuleInfo
from modelexport.ir.errors import InputError


class Mute:
    def __str__(self) -> str:
        raise ValueError("no")

    __repr__ = __str__


class Failing(Mute, Exception):
    pass


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


def test_numbers_that_were_given_win_or_are_refused(tmp_path: Path) -> None:
    monitor = HTPExportMonitor(tmp_path / "m.onnx", verbose=False)
    given = {"tagging_stats": {"scope": 8}, "coverage": 0.8, "total_nodes": 10}
    monitor.log_step(HTPExportStep.NODE_TAGGING, tagged_nodes={"a": "/M", "b": "/M"}, **given)
    with pytest.raises(InputError, match="total_nodes of SAVE is 1, and 2 nodes are named"):
        monitor.log_step(HTPExportStep.SAVE, total_nodes=1)
    with pytest.raises(InputError, match="total_parameters"):
        monitor.log_step(HTPExportStep.SAVE, total_parameters=10**5000)
    told = monitor.get_metadata()["statistics"]
    assert (told["total_nodes"], told["tagged_nodes"], told["coverage"]) == (10, 8, 0.8)
    assert told["by_source"] == {"scope": 8}


def test_errors_and_shapes_without_text(tmp_path: Path) -> None:
    monitor = HTPExportMonitor(tmp_path / "m.onnx", verbose=True)
    monitor.log_step(HTPExportStep.INPUT_GEN, inputs={"x": {"shape": [1, 10**6000, Mute()], "dtype": Mute()}})
    monitor.log_step(HTPExportStep.NODE_TAGGING, tagged_nodes={"a": Mute()})
    monitor.log_error(HTPExportStep.EXPORT, Failing())
    assert len(monitor.finalize()) == 3 and monitor.errors == []
    found = monitor.get_metadata()
    assert found["inputs"][0] == {"name": "x", "dtype": "<Mute>", "shape": [1, "<int>", "<Mute>"]}
    assert found["outcome"]["error"] == "Failing: <Failing>"


@pytest.mark.parametrize("name", ["writers", "console_writer", "metadata_writer", "report_writer"])
def test_writers_can_not_be_replaced(name: str, tmp_path: Path) -> None:
    monitor = HTPExportMonitor(tmp_path / "m.onnx", verbose=False)
    with pytest.raises(AttributeError):
        setattr(monitor, name, None)
    assert isinstance(monitor.writers, tuple)


def held(value: Any) -> Any:
    """``value`` and everything in it."""
    yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from held(each)


class Unread(dict[str, Any]):
    """A mapping that can't be walked."""

    def items(self) -> Any:
        raise ValueError("no")


def failing() -> Any:
    yield "one"
    raise ValueError("no")


OF_ANY_KIND: list[Any] = [
    np.zeros((2, 3)),
    np.zeros((500, 500)),
    np.array(1.5),
    np.zeros(2, dtype=[("a", "i4")]),
    np.array([Mute(), 1], dtype=object),
    Unread(a=1),
    failing(),
    "x" * 5000,
    "a\0b",
    {"model": np.zeros(3)},
]


@pytest.mark.parametrize("field", ["warnings", "files", "inputs", "pipeline", "exporter", "other"])
@pytest.mark.parametrize("at", range(len(OF_ANY_KIND)))
def test_any_data_under_any_name(at: int, field: str, tmp_path: Path) -> None:
    monitor = HTPExportMonitor(tmp_path / "m.onnx", verbose=False)
    for step in HTPExportStep:
        monitor.log_step(step, {field: OF_ANY_KIND[at]})
    monitor.finalize()
    assert monitor.errors == []
    json.loads((tmp_path / "m_htp_metadata.json").read_text("utf-8"))
    assert (tmp_path / "m_htp_export_report.txt").exists()


@pytest.mark.parametrize("field", ["model_name", "total_nodes", "hierarchy", "tagged_nodes"])
def test_refusals_are_one_short_line(field: str, tmp_path: Path) -> None:
    monitor = HTPExportMonitor(tmp_path / "m.onnx", verbose=False)
    for value in (np.zeros((40, 40)), Mute(), deep()):
        with pytest.raises(InputError) as caught:
            monitor.log_step(HTPExportStep.HIERARCHY, {field: value})
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


class Records(Mapping[Any, Any]):
    """A mapping that is no dict."""

    def __init__(self, held: dict[Any, Any]) -> None:
        self.held = held

    def __getitem__(self, key: Any) -> Any:
        return self.held[key]

    def __iter__(self) -> Any:
        return iter(self.held)

    def __len__(self) -> int:
        return len(self.held)


KINDS: list[tuple[type, Any]] = [
    (object, None),
    (dict, {"a": 1}),
    (Records, {"a": "b"}),
    (list, [1]),
    (str, "a"),
    (int, 3),
]
METHODS = [
    *("__iter__", "items", "keys", "values", "get", "__len__", "__getitem__", "__contains__", "__bool__", "__eq__"),
    *("__hash__", "__repr__", "__str__", "__format__", "__int__", "__float__", "bit_length", "isascii", "splitlines"),
    *("shape", "dtype", "__class__", "__getattribute__"),
]
FIELDS = [each.name for each in fields(HTPExportData)]


def raising(kind: type, value: Any, method: str) -> Any:
    """An object of a class of ``kind`` whose ``method`` raises; None where it can't be made."""

    def fail(*_args: Any, **_named: Any) -> Any:
        raise ValueError("one\ntwo")

    made = property(fail) if method in ("shape", "dtype", "__class__") else fail
    try:
        cls: Any = type("Odd", (kind,), {method: made})
        return cls() if value is None else cls(value)
    except (TypeError, ValueError):
        return None


@pytest.mark.parametrize("kind, value", KINDS, ids=[kind.__name__ for kind, _ in KINDS])
def test_a_method_that_raises_costs_no_file(kind: type, value: Any, tmp_path: Path) -> None:
    for odd in filter(lambda made: made is not None, (raising(kind, value, method) for method in METHODS)):
        four = {"tag": odd, "path": odd, "source": odd, "class_name": odd, "dtype": odd, "shape": odd, "name": odd}
        for given in (odd, {"a": odd}, {"a": four}, [odd, ModuleInfo("a", odd, odd)]):
            console = Console(file=io.StringIO())
            monitor = HTPExportMonitor(tmp_path / "m.onnx", verbose=given is odd, console=console)
            for field in (*FIELDS, "warnings", "files", "inputs", "pipeline", "file_size", "other"):
                with contextlib.suppress(InputError):
                    monitor.log_step(HTPExportStep.INPUT_GEN if field == "inputs" else "SAVE", {field: given})
            with contextlib.suppress(InputError):
                monitor.log_step(HTPExportStep.SAVE, odd)
            assert len(monitor.finalize()) == 3 and monitor.errors == []
            json.loads((tmp_path / "m_htp_metadata.json").read_text("utf-8"))


def test_what_raises_is_refused_in_one_line(tmp_path: Path) -> None:
    monitor = HTPExportMonitor(tmp_path / "m.onnx", verbose=False)
    for method in ("items", "__len__", "__iter__"):
        with pytest.raises(InputError, match=r"^tagged_nodes of SAVE is a Odd that can't be read$"):
            monitor.log_step(HTPExportStep.SAVE, tagged_nodes=raising(Records, {"a": "/M"}, method))
    with pytest.raises(InputError, match=r"^data of SAVE can't be read: ValueError: ValueError\('one\\ntwo'\)$"):
        monitor.log_step(HTPExportStep.SAVE, raising(Records, {"a": 1}, "keys"))
    with pytest.raises(InputError, match=r"^data of SAVE is a Odd; give an HTPExportData, a mapping or keywords$"):
        monitor.log_step(HTPExportStep.SAVE, raising(str, "a", "__str__"))


def test_data_that_holds_itself_twice_ends(tmp_path: Path) -> None:
    found: dict[str, Any] = {}
    found["one"] = found["two"] = [found, found]
    monitor = HTPExportMonitor(tmp_path / "m.onnx", verbose=False)
    monitor.log_step(HTPExportStep.SAVE, more=found)
    told = monitor.get_metadata()["steps"]["SAVE"]["data"]["more"]
    assert told == {"one": ["<dict>", "<dict>"], "two": ["<dict>", "<dict>"]}
