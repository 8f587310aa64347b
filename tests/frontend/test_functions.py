"""Exports with functions: a call is the function's module, a body's nodes are the modules that run it."""

from pathlib import Path
from typing import Any

import function_truth
import onnx
import pytest
import torch
from torch import nn

import modelexport
from modelexport import HierarchyExporter


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dense, self.squash = nn.Linear(4, 4), nn.Tanh()

    def forward(self, x):
        return self.squash(self.dense(x))


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = Block(), Block()

    def forward(self, x):
        return self.b(self.a(x) * 2)


class Nested(nn.Module):
    """An instance of a class runs another one of it, and nothing else comes after."""

    def __init__(self, inner: nn.Module | None) -> None:
        super().__init__()
        self.dense, self.inner = nn.Linear(4, 4), inner

    def forward(self, x):
        x = self.dense(x)
        return self.inner(x) if self.inner is not None else x


class Around(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)


class Net(nn.Module):
    def __init__(self, around: bool = True) -> None:
        super().__init__()
        self.first = nn.ModuleList([Block(), Block()])
        self.two, self.nested = Two(), Nested(Nested(None))
        self.around = Around(Around(nn.Linear(4, 4))) if around else nn.Identity()  # torch can't cut all of it
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        for block in self.first:
            x = x + block(x)
        return self.head(self.around(self.nested(self.two(x))))


ONE = {  # every class, as a function: calls in order, by the function that they are in
    "": [("Net", "")],
    "Net": [
        ("Block", "first.0"),
        ("Block", "first.1"),
        ("Two", "two"),
        ("Nested", "nested"),
        ("Linear", "head"),
    ],
    "Two": [("Block", "two.a"), ("Block", "two.b")],
}
SOME: dict[str, tuple[set[type], dict[str, list[tuple[str, str]]]]] = {
    "block": (
        {Block},
        {
            "": [("Block", "first.0"), ("Block", "first.1"), ("Block", "two.a"), ("Block", "two.b")],
            "Block": [("Gemm", ""), ("Tanh", "")],
        },
    ),
    "two": ({Two}, {"": [("Two", "two")], "Two": [("Gemm", "two.a.dense"), ("Tanh", "two.a.squash"), ("Mul", "two")]}),
    "nested": (
        {Nested},
        {"": [("Nested", "nested")], "Nested": [("Gemm", "nested.dense"), ("Nested", "nested.inner")]},
    ),
    "around": ({Around}, {"": [("Around", "around")], "Around": [("Gemm", "around.inner.inner")]}),
    "around, block": ({Around, Block}, {"": [("Block", "two.a"), ("Around", "around")], "Block": [("Gemm", "")]}),
}


def written(file: Path) -> dict[str, list[tuple[str, str, float]]]:
    """(operator, path, confidence) of the nodes of the main graph and of functions, by name without its number."""
    proto = onnx.load(file)
    found: dict[str, list[tuple[str, str, float]]] = {}
    for name, graph in (("", proto.graph), *((function.name, function) for function in proto.functions)):
        rows = found.setdefault(name.split(".")[0], [])
        for node in graph.node:
            entry = {each.key: each.value for each in node.metadata_props}
            rows.append((node.op_type.split(".")[0], entry["htp.path"], float(entry["htp.confidence"])))
    return found


def by_us(model: nn.Module, file: Path, **given: Any) -> None:
    HierarchyExporter().export(model, torch.randn(2, 4), file, opset_version=17, **given)


def by_torch(model: nn.Module, file: Path, **given: Any) -> None:
    with modelexport.tagging(strict=True):
        torch.onnx.export(model, (torch.randn(2, 4),), file, opset_version=17, dynamo=False, **given)


def check(found: dict[str, list[tuple[str, str, float]]], expected: dict[str, list[tuple[str, str]]]) -> None:
    for graph, rows in expected.items():
        left = [row[:2] for row in found[graph]]
        for row in rows:
            assert row in left, (graph, row, found[graph])
            del left[: left.index(row) + 1]
    wrong = [row for row in found[""] if row[2] >= 0.9 and row[0] in ("Gemm", "Tanh") and row[1] == ""]
    assert not wrong


@pytest.mark.parametrize("export", [by_us, by_torch])
@pytest.mark.parametrize("name", SOME)
def test_some_classes(name: str, export: Any, tmp_path: Path) -> None:
    classes, expected = SOME[name]
    export(Net().eval(), tmp_path / "m.onnx", export_modules_as_functions=classes)
    check(written(tmp_path / "m.onnx"), expected)


@pytest.mark.parametrize("export", [by_us, by_torch])
def test_every_class(export: Any, tmp_path: Path) -> None:
    export(Net(around=False).eval(), tmp_path / "m.onnx", export_modules_as_functions=True)
    check(written(tmp_path / "m.onnx"), ONE)


@pytest.mark.parametrize("name", SOME)
def test_the_values_of_functions_tell_the_same(name: str, tmp_path: Path) -> None:
    model = Net().eval()
    by_us(model, tmp_path / "m.onnx", export_modules_as_functions=SOME[name][0])
    found = function_truth.compared(model, torch.randn(2, 4), tmp_path / "m.onnx")
    assert found.wrong == [] and found.decided >= found.nodes / 2
    assert found.rules.keys() == {"function-callers"}


def test_a_scope_that_names_two_modules_is_in_doubt(tmp_path: Path) -> None:
    """torch names both ``x.0``: nothing tells which of them was called."""

    class Same(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left = nn.ModuleDict({"x": nn.ModuleList([Block()])})
            self.right = nn.ModuleDict({"x": nn.ModuleList([Block()])})

        def forward(self, x):
            return self.right["x"][0](self.left["x"][0](x))

    by_us(Same().eval(), tmp_path / "m.onnx", export_modules_as_functions={Block})
    calls = [row for row in written(tmp_path / "m.onnx")[""] if row[0] == "Block"]
    assert len(calls) == 2
    right = ["left.x.0", "right.x.0"]
    assert all(path == true or confidence <= 0.5 for (_, path, confidence), true in zip(calls, right, strict=True))
