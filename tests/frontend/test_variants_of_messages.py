"""Exports that fail, in many ways and at any depth: one line that says what it is, whole and without addresses."""

from __future__ import annotations

import dataclasses
import io
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from modelexport import HierarchyExporter
from modelexport.ir.errors import ModelExportError

EXPORTERS = ["torchscript", "dynamo"]
WORDS = ("encoder", "x", "block_0", "forward_", "head", "0", "input")


class Within(nn.Module):
    """A model inside another, under a name of the caller's."""

    def __init__(self, name: str, inner: nn.Module) -> None:
        super().__init__()
        self.called = name
        self.add_module(name, inner)

    def forward(self, *args: Any) -> Any:
        return getattr(self, self.called)(*args)


class Does(nn.Module):
    """Something with a product and the other arguments."""

    def __init__(self, what: Callable[..., Any]) -> None:
        super().__init__()
        self.fc, self.what = nn.Linear(4, 4), what

    def forward(self, x: Tensor, *more: Any) -> Any:
        return self.what(self.fc(x), *more)


@dataclasses.dataclass
class Batch:
    x: Tensor


class Told(Exception):
    """An error of somebody else, whose text is many lines."""

    def __str__(self) -> str:
        return "the tokens are wrong:\n  1. here\n  2. there\n" + "detail " * 2000


def raises(x: Tensor) -> Tensor:
    raise Told


def x() -> Tensor:
    return torch.ones(2, 4)


def meta() -> nn.Module:
    with torch.device("meta"):
        return nn.Linear(4, 4)


# What fails: the model, its inputs, further arguments; each with words that must be in the message.
CASES: dict[str, tuple[Callable[[], Any], Callable[[], Any], dict[str, Any], str]] = {
    "a number among the outputs": (lambda: Does(lambda y: (y, 3.5)), x, {}, "output|forward returns"),
    "an object among the outputs": (lambda: Does(lambda y: {"y": y, "why": object()}), x, {}, "output"),
    "an error of many lines": (lambda: Does(raises), x, {}, "the tokens are wrong"),
    "no such operator": (lambda: Does(lambda y: torch.linalg.matrix_exp(y @ y.T)), x, {}, "matrix_exp"),
    "shapes that do not fit": (lambda: Does(lambda y: y @ y), x, {}, "2x4|reduction dim"),
    "a branch on a value": (lambda: Does(lambda y: y if y.sum() > 0 else -y), x, {}, "data"),
    "weights without values": (meta, lambda: torch.ones(2, 4, device="meta"), {}, "meta"),
    "a dataclass": (lambda: Does(lambda y, b: y + b.x), lambda: (x(), Batch(x())), {}, "Batch"),
    "axes that are a number": (lambda: nn.Linear(4, 4), x, {"input_names": ["i"], "dynamic_axes": {"i": 0}}, "i"),
    "axes that are no axes": (
        lambda: nn.Linear(4, 4), x, {"input_names": ["i"], "dynamic_axes": {"i": {0: "n", 7: "m"}}},
        "'i' has 2 dimensions, so there is no axis 7"),
    "shapes that are no axes": (lambda: nn.Linear(4, 4), x, {"dynamic_shapes": ({3: "n"},)}, "no axis 3|contradicts"),
    "axes that conflict": (
        lambda: Does(lambda y, z: y + z), lambda: (x(), x()),
        {"dynamic_shapes": {"x": {0: torch.export.Dim("n", max=1)}, "more": (None,)}}, ""),
    "too many inputs": (lambda: nn.Linear(4, 4), lambda: (x(), x()), {}, "argument"),
    "an exported program": (lambda: torch.export.export(nn.Linear(4, 4), (x(),)), x, {}, r"\.module\(\)"),
    "a class": (lambda: nn.ReLU, x, {}, "instance"),
    "a function": (lambda: torch.relu, x, {}, "not a torch.nn.Module"),
}  # fmt: skip
_ALLOWED = {"a branch on a value": "torchscript"}  # traced with a warning
_QUICK = ("a number among the outputs", "an error of many lines", "a dataclass")


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize(
    "what", [what if what in _QUICK else pytest.param(what, marks=pytest.mark.slow) for what in CASES]
)
def test_failures(what: str, exporter: Any, tmp_path: Path) -> None:
    build, inputs, options, wanted = CASES[what]
    made = random.Random(what)
    for depth in range(3):
        model = build()
        if isinstance(model, nn.Module):
            for name in made.sample(WORDS, depth):
                model = Within(name, model)
        try:
            HierarchyExporter(exporter=exporter).export(model, inputs(), tmp_path / "m.onnx", **options)
        except ModelExportError as error:
            assert_told(str(error), wanted)
        else:
            assert _ALLOWED.get(what) == exporter, what
            for path in tmp_path.iterdir():
                path.unlink()
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "target", [io.BytesIO(), None, 3, b"m.onnx", ["m.onnx"]], ids=lambda target: type(target).__name__
)
def test_targets_that_are_no_path(target: Any) -> None:
    with pytest.raises(ModelExportError, match="not a path") as caught:
        HierarchyExporter().export(nn.Linear(4, 4), x(), target)
    assert_told(str(caught.value), type(target).__name__)


def assert_told(text: str, wanted: str) -> None:
    """One line, no address, no dump, not cut after a colon, and what was to be in it."""
    assert "\n" not in text and len(text) < 1500, text
    assert not re.search(r"0x[0-9a-f]{6,}", text), text
    assert not text.rstrip().endswith((":", "(", ",")), text
    assert text.count("tensor(") < 2 and re.search(wanted, text), text
