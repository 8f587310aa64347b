"""Keyword inputs go by their names, in whatever order; names that clash are refused."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn

from modelexport.frontend.export.exporter import HierarchyExporter
from modelexport.ir.errors import ConfigError

EXPORTERS = ["torchscript", "dynamo"]


class Three(nn.Module):
    def forward(
        self, a: Tensor, b: Tensor | None = None, c: Tensor | None = None, *, d: Tensor | None = None
    ) -> Tensor:
        result = a * 2
        for weight, value in ((3, b), (5, c), (7, d)):
            if value is not None:
                result = result + value * weight
        return result


class Only(nn.Module):
    def forward(self, *, first: Tensor, second: Tensor) -> Tensor:
        return first - second * 3


class Any_(nn.Module):
    def forward(self, x: Tensor, **more: Tensor) -> Tensor:
        return x - more["left"] * 3 + more["right"] * 5


def values(*names: str) -> dict[str, Tensor]:
    return {name: torch.randn(2, 3) for name in names}


def check(model: nn.Module, given: dict[str, Tensor], path: Path, exporter: Any, size: int = 2, **options: Any) -> None:
    renamed = dict(options.pop("renamed", {}))
    HierarchyExporter(exporter=exporter).export(model.eval(), given, path, **options)
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    feeds = {name: torch.randn(size, 3) for name in given}
    named = {renamed.get(name, name): value.numpy() for name, value in feeds.items()}
    assert {each.name for each in session.get_inputs()} == named.keys()
    assert np.allclose(session.run(None, named)[0], model(**feeds).numpy(), atol=1e-5)


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize(
    ("model", "names"),
    [(Three(), "ab"), (Three(), "ca"), (Three(), "dca"), (Three(), "bda"), (Only(), ("second", "first")),
     (Any_(), ("right", "x", "left"))],
)  # fmt: skip
@pytest.mark.parametrize("how", ["plain", "names", "axes", "names and axes"])
def test_keywords_are_bound_by_name(exporter: str, model: nn.Module, names: Any, how: str, tmp_path: Path) -> None:
    if "axes" in how and exporter == "dynamo" and isinstance(model, Any_):
        pytest.skip("torch.export takes no dynamic shapes for **kwargs")
    options: dict[str, Any] = {}
    if "names" in how:
        options["input_names"] = list(names)
    if "axes" in how:
        options["dynamic_axes"] = {name: {0: "rows"} for name in reversed(names)}
    check(model, values(*names), tmp_path / "m.onnx", exporter, 4 if "axes" in how else 2, **options)


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("order", list(itertools.permutations("abc"))[1::2])
def test_other_names_are_given_in_the_order_of_the_mapping(exporter: str, order: Any, tmp_path: Path) -> None:
    renamed = {name: f"in_{name}" for name in order}
    options = {"input_names": list(renamed.values()), "dynamic_axes": {f"in_{name}": [0] for name in "bca"}}
    check(Three(), values(*order), tmp_path / "m.onnx", exporter, 5, renamed=renamed, **options)


def test_shapes_of_dynamo_are_bound_by_name(tmp_path: Path) -> None:
    shapes = {name: {0: torch.export.Dim.DYNAMIC} for name in "dab"}
    check(Three(), values("b", "d", "a"), tmp_path / "m.onnx", "dynamo", 5, dynamic_shapes=shapes)


class Flip(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.flip(torch.softmax(x, 0), (1,))


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize(
    ("model", "options"),
    [
        (Flip(), {"output_names": ["softmax"]}),
        (nn.Sequential(nn.Linear(3, 3)), {"output_names": ["0.weight"]}),
        (nn.Sequential(nn.Linear(3, 3)), {"input_names": ["0.weight"]}),
        (nn.Sequential(nn.Linear(3, 3), nn.ReLU()), {"input_names": ["data"], "output_names": ["data"]}),
    ],
)
def test_names_that_clash(exporter: Any, model: nn.Module, options: dict[str, Any], tmp_path: Path) -> None:
    """TorchScript renames the other value; dynamo would write a file in which two values share a name."""
    try:
        HierarchyExporter(exporter=exporter).export(model.eval(), torch.rand(2, 3), tmp_path / "m.onnx", **options)
    except ConfigError as error:
        name = next(iter(options.values()))[0]
        assert repr(name) in str(error) and "choose another name" in str(error) and list(tmp_path.iterdir()) == []
    else:
        onnx.checker.check_model(tmp_path / "m.onnx")
        ort.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])


def test_a_name_for_an_input_that_is_not_used(tmp_path: Path) -> None:
    class First(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return x * 2

    given = (torch.ones(2), torch.ones(2))
    options: dict[str, Any] = {"input_names": ["x", "y"], "dynamic_axes": {"y": {0: "n"}}}
    result = HierarchyExporter(exporter="torchscript").export(First().eval(), given, tmp_path / "m.onnx", **options)
    assert [each.name for each in onnx.load(tmp_path / "m.onnx").graph.input] == ["x"]
    assert any("'y'" in line and "leave the name out" in line for line in result["warnings"])


@pytest.mark.parametrize(
    ("exporter", "options", "message"),
    [
        ("dynamo", {"input_names": ["x", "y"]}, "input_names has 2 names, the model has 1: x; leave 'y' out"),
        ("dynamo", {"output_names": ["o", "p"]}, "output_names has 2 names, the model has 1: o; leave 'p' out"),
        ("torchscript", {"input_names": ["x", "w"]}, "'w' became the name of a weight"),
        ("torchscript", {"input_names": ["data"], "dynamic_axes": {"dats": [0]}}, "did you mean 'data'"),
    ],
)
def test_names_that_fit_nothing_are_told(exporter: Any, options: Any, message: str, tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 3)).eval()
    result = HierarchyExporter(exporter=exporter).export(model, torch.rand(2, 3), tmp_path / "m.onnx", **options)
    assert any(message in line for line in result["warnings"]), result["warnings"]


def test_a_model_with_fake_and_odd_tensors_keeps_its_owners() -> None:
    """torch.export leaves fake tensors in a model, whose sizes can't be looked up in a table."""
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.symbolic_shapes import ShapeEnv

    from modelexport.frontend.torch.owners import WeightOwners
    from modelexport.frontend.trace.naming import ModuleNames

    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    mode = FakeTensorMode(shape_env=ShapeEnv())
    odd = {
        "fake": mode.from_tensor(torch.ones(5, 2)),
        "sparse": torch.eye(3).to_sparse(),
        "meta": torch.ones(2, device="meta"),
        "quantised": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
        "nested": torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
        "ragged": torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged),
    }
    for name, tensor in odd.items():
        model[0].register_buffer(name, tensor)
    model[1].weight = model[0].weight
    owners = WeightOwners(ModuleNames(model))
    assert owners.of("1.weight") == ("0", "1")
    assert all(owners.of(f"0.{name}") == ("0",) for name in odd)
