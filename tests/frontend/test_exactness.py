"""Tags of fresh exports against values of an independent eager run, and the graphs against plain torch's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import architectures
import ground_truth
import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from modelexport.frontend.export.exporter import HierarchyExporter

TORCHSCRIPT = [{"dynamo": False, "opset_version": 14}, {"dynamo": False, "opset_version": 17}]
DYNAMO = [{"dynamo": True}, {"dynamo": True, "opset_version": 18}, {"dynamo": True, "opset_version": 17}]
BY_VALUE = list(architectures.BUILDERS)
# How much of each graph the values decide; a change that makes the check empty fails.
DECIDED = 0.3

CASES = [(name, options) for name in BY_VALUE for options in TORCHSCRIPT]
CASES += [(name, options) for name in ("detection", "looped_recursive") for options in DYNAMO]
CASES += [("weight_shared", DYNAMO[0]), ("state_space", DYNAMO[2])]


def spelled(value: Any) -> str:
    return "-".join(f"{v}" for v in value.values()) if isinstance(value, dict) else str(value)


@pytest.mark.parametrize(("name", "options"), CASES, ids=spelled)
def test_every_decided_node_has_the_module_that_made_its_value(
    name: str, options: dict[str, Any], tmp_path: Path
) -> None:
    model, example = architectures.get(name)
    target = tmp_path / "model.onnx"
    result = HierarchyExporter().export(model, example, target, **options)
    assert result["tagged_operations"] == result["total_operations"] > 0
    assert result["opset_version"] == options.get("opset_version", result["opset_version"])
    assert "fallback" not in result["by_source"]
    onnx.checker.check_model(str(target), full_check=True)

    found = ground_truth.compared(model, example, target)
    assert not found.wrong
    assert found.decided >= DECIDED * found.nodes

    with torch.no_grad():
        expected = ground_truth.call(model, example)
    session = onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])
    outputs = session.run(None, ground_truth.feeds(session, example))
    for ours, theirs in zip(outputs, expected if isinstance(expected, tuple) else (expected,), strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("options", [TORCHSCRIPT[0], DYNAMO[0]], ids=spelled)
def test_hook_operators_belong_to_the_hooked_module(options: dict[str, Any], tmp_path: Path) -> None:
    model, example = architectures.get("hooked")
    HierarchyExporter().export(model, example, tmp_path / "model.onnx", **options)
    found = [
        (op_type, path)
        for path, op_type, _ in ground_truth.paths_in(tmp_path / "model.onnx").values()
        if op_type in ("Sub", "Gemm", "Mul", "Add", "Sigmoid", "Tanh")
    ]
    assert found == [
        ("Sub", "first"),  # pre-hook
        ("Gemm", "first.fc"),
        ("Mul", "first"),  # script function in forward
        ("Sigmoid", "first"),
        ("Add", "first"),
        ("Mul", "first"),  # hook
        ("Add", "first"),
        ("Sub", "second"),
        ("Gemm", "second"),
        ("Mul", "second"),
        ("Add", "second"),
        ("Tanh", ""),
        ("Sub", ""),
    ]


def test_both_exporters_give_a_module_the_same_tag(tmp_path: Path) -> None:
    tags: list[dict[str, str]] = []
    for options in (TORCHSCRIPT[1], DYNAMO[0], TORCHSCRIPT[1]):
        model, example = architectures.get("looped_recursive")
        HierarchyExporter().export(model, example, tmp_path / "model.onnx", **options)
        found = {}
        for node in onnx.load(tmp_path / "model.onnx").graph.node:
            entries = {entry.key: entry.value for entry in node.metadata_props}
            found[entries["htp.path"]] = entries["htp.tag"]
        tags.append(found)
    assert tags[0] == tags[1] == tags[2]
    assert len(set(tags[0].values())) == len(tags[0])
    assert tags[0]["holder.inner.fc"] == "/Looped/Recursive/Linear"  # the holder is never called


def bare(path: Path) -> onnx.ModelProto:
    """The model without what the exporters and we wrote about it."""
    model = onnx.load(path)
    for node in model.graph.node:
        del node.metadata_props[:]
    del model.metadata_props[:]
    return model


@pytest.mark.parametrize("options", [*TORCHSCRIPT, {"dynamo": True, "opset_version": 18}], ids=spelled)
def test_the_graph_is_plain_torchs(options: dict[str, Any], tmp_path: Path) -> None:
    model, example = architectures.get("hooked")
    HierarchyExporter().export(model, example, tmp_path / "ours.onnx", **options)
    extra = {"external_data": False, "verbose": False} if options["dynamo"] else {}
    torch.onnx.export(model, (example,), str(tmp_path / "plain.onnx"), **options, **extra)
    assert bare(tmp_path / "ours.onnx").SerializeToString() == bare(tmp_path / "plain.onnx").SerializeToString()


def test_equal_initial_weights_are_copied_to_their_readers(tmp_path: Path) -> None:
    """Pristine biases and norms are equal: torch keeps one and makes Identity copies without a scope."""
    torch.manual_seed(0)
    model = architectures.Encoder().eval()
    HierarchyExporter().export(model, {"input_ids": architectures.tokens()}, tmp_path / "m.onnx", opset_version=17)
    copies = {}
    for node in onnx.load(tmp_path / "m.onnx").graph.node:
        if node.op_type == "Identity":
            copies[node.output[0]] = {entry.key: entry.value for entry in node.metadata_props}["htp.path"]
    assert copies == {name: name.rpartition(".")[0] for name in copies}
    assert "layer.1.norm.weight" in copies


class ScaledTable(torch.nn.Embedding):
    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return super().forward(ids) * 3.0


class OneWeight(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(4, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weight


class Tied(torch.nn.Module):
    """Modules of one class with one weight: two that share it, and one that is called by two names."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = ScaledTable(10, 4), ScaledTable(10, 4)
        self.other.weight = self.one.weight
        self.left, self.right = OneWeight(), OneWeight()
        self.right.weight = self.left.weight
        self.first = self.second = OneWeight()

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.second(self.first(self.right(self.left(self.one(ids) + self.other(ids + 1)))))
        return y


@pytest.mark.parametrize("options", [TORCHSCRIPT[1], *DYNAMO], ids=spelled)
def test_modules_that_share_a_weight_are_two(options: dict[str, Any], tmp_path: Path) -> None:
    torch.manual_seed(0)
    example = {"ids": torch.tensor([[1, 2]])}
    HierarchyExporter().export(Tied().eval(), example, tmp_path / "m.onnx", **options)
    of_operator: dict[str, list[str]] = {"Gather": [], "MatMul": []}
    for node in onnx.load(tmp_path / "m.onnx").graph.node:
        if node.op_type in of_operator:
            of_operator[node.op_type].append({entry.key: entry.value for entry in node.metadata_props}["htp.path"])
    assert sorted(of_operator["Gather"]) == ["one", "other"]
    assert of_operator["MatMul"] == ["left", "right", "first", "first"]


def test_dynamic_batch_and_lost_constants(tmp_path: Path) -> None:
    """Axes of Unsqueeze are made by the exporter without a scope; each belongs to its reader."""
    model, example = architectures.get("encoder")
    axes = {name: {0: "batch", 1: "length"} for name in example}
    result = HierarchyExporter().export(
        model, example, tmp_path / "m.onnx", opset_version=14, dynamic_axes=axes, input_names=list(example)
    )
    assert result["by_source"]["inherited"] > 0 and "fallback" not in result["by_source"]
    graph = onnx.load(tmp_path / "m.onnx").graph
    path_of = {node.output[0]: {e.key: e.value for e in node.metadata_props}["htp.path"] for node in graph.node}
    for node in graph.node:
        if node.op_type == "Unsqueeze" and node.input[1] in path_of:
            assert path_of[node.input[1]] == path_of[node.output[0]]
