"""A module with several names goes by the one under which it was called, whatever tells: exporter, trace or file."""

import json
from pathlib import Path

import ground_truth
import onnx
import pytest
import torch
from torch import nn

from modelexport import HierarchyExporter
from modelexport.frontend.trace.module_trace import trace_model
from modelexport.frontend.trace.naming import ModuleNames
from modelexport.frontend.trace.value_trace import write_trace
from modelexport.ir import load_model, save_model
from modelexport.passes import PassManager, Pipeline
from modelexport.passes.pipeline.base import PassContext

EXPORTERS = ("torchscript", "dynamo")


class Step(nn.Module):
    """A product and an activation that is the same instance everywhere, held as it is or in a container."""

    def __init__(self, act: nn.Module, size: int) -> None:
        super().__init__()
        self.fc = nn.Linear(size, size)
        self.acts = nn.ModuleDict({"main": act})

    def forward(self, x):
        return self.acts["main"](self.fc(x))


class Shared(nn.Module):
    """One activation of all, a block with two names, and one that only its grandparent holds."""

    def __init__(self, size: int = 6) -> None:
        super().__init__()
        act, block = nn.SiLU(), Step(nn.SiLU(), size)
        self.body = nn.Sequential(Step(act, size), Step(act, size))
        self.left, self.right = nn.ModuleList([block]), Holder(block)
        self.last = act
        self.free = [nn.Tanh()]
        self.right.borrowed = [self.last]

    def forward(self, x):
        x = self.last(self.body(x) * 2)
        return self.free[0](self.right(self.left[0](x)) + 1)


class Holder(nn.Module):
    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.inner = block
        self.borrowed: list[nn.Module] = []

    def forward(self, x):
        return self.borrowed[0](self.inner(x))


SILUS = ["body.0.acts.main", "body.1.acts.main", "last", "left.0.acts.main", "right.inner.acts.main"]
SILUS += ["body.0.acts.main"]  # the holder of the last does not hold it: its first name
PRODUCTS = ["body.0.fc", "body.1.fc", "left.0.fc", "right.inner.fc"]


@pytest.fixture
def model() -> Shared:
    torch.manual_seed(0)
    return Shared().eval()


def paths(file: Path, *operators: str) -> list[str]:
    return [
        {entry.key: entry.value for entry in node.metadata_props}["htp.path"]
        for node in onnx.load(file).graph.node
        if node.op_type in operators
    ]


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_each_call_is_named_after_its_caller(model: Shared, exporter: str, tmp_path: Path) -> None:
    file = tmp_path / "m.onnx"
    example = torch.randn(2, 6)
    HierarchyExporter(exporter=exporter).export(model, example, file, opset_version=18)
    assert paths(file, "Sigmoid") == SILUS
    assert paths(file, "Gemm") == PRODUCTS
    assert paths(file, "Tanh") == [""]  # it has no name
    assert ground_truth.compared(model, example, file).wrong == []
    rows = {row["path"]: row for row in json.loads((tmp_path / "m_hierarchy.json").read_text())["modules"]}
    assert rows["last"]["same_as"] == rows["body.1.acts.main"]["same_as"] == "body.0.acts.main"
    assert rows["body.0.acts.main"]["calls"] == 2 and rows["body.0.acts.main"]["same_as"] is None
    assert "last" in rows["body.0.acts.main"]["aliases"]
    assert rows["right.inner.fc"]["parameters"] == 0 and rows["left.0.fc"]["parameters"] == 42
    tags = [row["tag"] for row in rows.values()]
    assert len(tags) == len(set(tags))
    assert rows["right.inner.fc"]["tag"] == "/Shared/Holder/Step/Linear"


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_the_table_keeps_the_names_through_an_optimiser(model: Shared, exporter: str, tmp_path: Path) -> None:
    file, bare = tmp_path / "m.onnx", tmp_path / "bare.onnx"
    HierarchyExporter(exporter=exporter).export(model, torch.randn(2, 6), file, opset_version=18)
    proto = onnx.load(file)
    for node in proto.graph.node:
        del node.metadata_props[:]
    onnx.save(proto, bare)
    graph = load_model(bare)
    PassManager(Pipeline.parse("htp")).run(graph)
    save_model(graph, tmp_path / "back.onnx")
    assert paths(tmp_path / "back.onnx", "Sigmoid") == SILUS
    assert graph.modules["last"].same_as == "body.0.acts.main"
    assert graph.modules["left.0.fc"].parameters == 42


@pytest.mark.parametrize("dynamo", [False, True])
def test_foreign_files_with_a_trace(model: Shared, dynamo: bool, tmp_path: Path) -> None:
    file = tmp_path / "plain.onnx"
    options = {"opset_version": 18, "verbose": False} if dynamo else {"opset_version": 17}
    torch.onnx.export(model, (torch.randn(2, 6),), str(file), dynamo=dynamo, **options)
    trace = write_trace(model, torch.randn(2, 6), tmp_path / "m.htptrace")
    graph = load_model(file)
    PassManager(Pipeline.parse("htp-trace"), context=PassContext(trace=trace)).run(graph)
    found = [node.attribution.path for node in graph.nodes() if node.op_type == "Sigmoid"]
    assert found == SILUS


def test_a_compiled_module_is_transparent_and_containment_is_finite() -> None:
    inner = nn.Sequential(nn.Linear(2, 2))
    model = nn.ModuleDict({"first": torch.compile(inner, backend="eager"), "second": inner})
    model["second"].back = model
    names = ModuleNames(model)
    assert names.paths[inner] == ["first", "second"]
    assert names.first(inner[0]) == "first.0"
    assert names.of_names(["", "second", "second._orig_mod.0"]) == "first.0"  # the root holds it under both
    assert names.called(model, "second") == ""


def test_the_trace_counts_calls_by_name(model: Shared) -> None:
    table = trace_model(model, (torch.randn(2, 6),)).modules
    assert {path: table[path].calls for path in ("last", "left.0", "right.inner", "left", "body.0.acts.main")} == {
        "last": 1,
        "left.0": 1,
        "right.inner": 1,
        "left": 0,
        "body.0.acts.main": 2,
    }
    assert table.uses("right.inner.fc") == ("left.0.fc", "right.inner.fc")
