"""No record is believed unchecked: regions that torch traces again, branches and loops, in generated combinations.

The truth is made by hand of what can't be wrong: a product is the module's whose weight it reads, by value, and an
activation is its block's.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn
from torch.utils.checkpoint import checkpoint

from modelexport import HierarchyExporter
from modelexport.ir import load_model, save_model
from modelexport.ir.errors import ExportError
from modelexport.passes import PassManager, Pipeline

SIZE = 4


class Block(nn.Module):
    """A product and an activation, under names that a variant chooses."""

    def __init__(self, product: str, activation: str) -> None:
        super().__init__()
        self.names = product, activation
        self.add_module(product, nn.Linear(SIZE, SIZE))
        self.add_module(activation, nn.ReLU())

    def forward(self, x):
        product, activation = self.names
        return getattr(self, activation)(getattr(self, product)(x))


def no_grad(body, x):
    with torch.no_grad():
        return body(x)


def set_grad(body, x):
    with torch.set_grad_enabled(False):
        y = body(x)
    with torch.enable_grad():
        return y * 2


def autocast(body, x):
    with torch.autocast("cpu", enabled=False):
        return body(x)


def checkpointed(body, x):
    return checkpoint(body, x, use_reentrant=True)


def branch(body, x):
    return torch.cond(x.sum() > 0, lambda x: body(x) * 3, lambda x: x * 2, (x,))


def loop(body, x):
    from torch._higher_order_ops.while_loop import while_loop

    _, x = while_loop(lambda i, x: i < 2, lambda i, x: (i + 1, body(x)), (torch.tensor(0), x))
    return x


def scanned(body, x):
    from torch._higher_order_ops.scan import scan

    def step(carry, row):
        y = body(row + carry)
        return y, y.clone()

    return scan(step, torch.zeros(SIZE), x)[1]


def region(body, x):
    return torch.compiler.nested_compile_region(lambda x: body(x))(x)


def direct(body, x):
    return body(x)


FLAT: dict[str, Callable[[Any, Any], Any]] = {
    run.__name__: run for run in (no_grad, set_grad, autocast, checkpointed, branch, loop, scanned, region)
}
PYTHON = ("no_grad", "set_grad", "autocast")  # what TorchScript can trace as well


class Region(nn.Module):
    """Runs its body in a region of one kind, then its own last block."""

    def __init__(self, kind: str, body: nn.Module, names: tuple[str, str, str]) -> None:
        super().__init__()
        self.kind, self.inner = kind, names[0]
        self.add_module(names[0], body)
        self.tail = Block(*names[1:])

    def forward(self, x):
        return self.tail({**FLAT, "direct": direct}[self.kind](getattr(self, self.inner), x))


NAMES = (("body", "fc", "act"), ("layers_0", "dense", "relu_1"))


def chain(kinds: tuple[str, ...], names: tuple[str, str, str]) -> nn.Module:
    """Regions in one another, the first kind outermost, around two blocks."""
    body: nn.Module = nn.Sequential(Block(*names[1:]), Block(*names[1:]))
    for kind in reversed(kinds):
        body = Region(kind, body, names)
    return body


def in_turn(kinds: tuple[str, ...], names: tuple[str, str, str]) -> nn.Module:
    """Regions one after another; two of one class run the same compiled code."""
    return nn.Sequential(*(Region(kind, Block(*names[1:]), names) for kind in kinds))


def tags(file: Path) -> list[tuple[onnx.NodeProto, dict[str, str], dict[str, str]]]:
    """Every node with its metadata and the producers of its inputs' truths, bodies included."""
    proto = onnx.load(file)
    found: list[tuple[onnx.NodeProto, dict[str, str]]] = []

    def walk(nodes):
        for node in nodes:
            found.append((node, {entry.key: entry.value for entry in node.metadata_props}))
            for attribute in node.attribute:
                walk(attribute.g.node)

    walk(proto.graph.node)
    return found


def truths(model: nn.Module, file: Path) -> list[tuple[str, str, str, float]]:
    """(operator, true path, tagged path, confidence) of the products, their bias additions and the activations."""
    weights = {
        tensor.name: np.sort(numpy_helper.to_array(tensor), None) for tensor in onnx.load(file).graph.initializer
    }
    linear = {
        name: np.sort(module.weight.detach().numpy(), None)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
    }
    made: dict[str, str] = {}
    rows = []
    for node, metadata in tags(file):
        true = None
        if node.op_type in ("Gemm", "MatMul"):
            weight = weights[node.input[1]]
            (true,) = [name for name, other in linear.items() if np.array_equal(weight, other)]
        elif node.op_type in ("Add", "Relu") and node.input[0] in made:
            true = made[node.input[0]]
            if node.op_type == "Add" and node.input[1] not in weights:
                true = None
            if node.op_type == "Relu":
                above = true.rpartition(".")[0]
                block = model.get_submodule(above)
                true = f"{above}.{block.names[1]}" if above else block.names[1]
        if true is not None:
            made[node.output[0]] = true
            rows.append((node.op_type, true, metadata["htp.path"], float(metadata["htp.confidence"])))
    return rows


def checked(model: nn.Module, file: Path, exporter: str) -> None:
    torch._dynamo.reset()
    example = torch.randn(3, SIZE)
    try:
        HierarchyExporter(exporter=exporter).export(model.eval(), example, file)
    except ExportError:
        torch._dynamo.reset()
        with pytest.raises(Exception):  # noqa: B017 - then this torch can't either, with whatever error
            torch.onnx.export(model, (example,), io.BytesIO(), dynamo=exporter == "dynamo", verbose=False)
        pytest.skip(f"torch {torch.__version__} can't export it")
    rows = truths(model, file)
    assert len([row for row in rows if row[0] == "Relu"]) >= 2
    assert [row for row in rows if row[1] != row[2]] == []


@pytest.mark.parametrize("kind", FLAT)
def test_each_region(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    checked(chain((kind,), NAMES[len(kind) % 2]), tmp_path / "m.onnx", "dynamo")


@pytest.mark.parametrize("kinds", [("autocast", "branch"), ("no_grad", "loop"), ("direct", "checkpointed")])
def test_regions_in_regions(kinds: tuple[str, ...], tmp_path: Path) -> None:
    torch.manual_seed(0)
    checked(chain(kinds, NAMES[0]), tmp_path / "m.onnx", "dynamo")


@pytest.mark.parametrize("kinds", [("no_grad", "branch", "loop"), ("region", "region")])
def test_regions_in_turn(kinds: tuple[str, ...], tmp_path: Path) -> None:
    torch.manual_seed(0)
    checked(in_turn(kinds, NAMES[1]), tmp_path / "m.onnx", "dynamo")


@pytest.mark.parametrize("kinds", list(itertools.permutations(PYTHON, 2)))
def test_torchscript(kinds: tuple[str, ...], tmp_path: Path) -> None:
    torch.manual_seed(0)
    checked(chain(kinds, NAMES[0]), tmp_path / "m.onnx", "torchscript")


def test_what_ran_before_changes_nothing(tmp_path: Path) -> None:
    """A compiled branch that was made before the export, by another module of the class, names no other module."""
    found = []
    for before in (0, 1, 2):
        torch._dynamo.reset()
        torch.manual_seed(0)
        model = in_turn(("branch", "branch"), NAMES[0]).eval()
        with torch.no_grad():
            for _ in range(before):
                model(torch.randn(3, SIZE))
        HierarchyExporter(exporter="dynamo").export(model, torch.randn(3, SIZE), tmp_path / "m.onnx")
        found.append([(metadata["htp.path"], metadata["htp.tag"]) for _, metadata in tags(tmp_path / "m.onnx")])
    assert found[0] == found[1] == found[2]
    assert {path for path, _ in found[0]} >= {"0.body.fc", "1.body.act", "1.tail.fc"}


def test_the_file_is_torchs(tmp_path: Path) -> None:
    """The marks leave nothing behind, not even in torch's own metadata."""
    model = chain(("no_grad", "branch"), NAMES[0]).eval()
    example = torch.randn(3, SIZE)
    HierarchyExporter(exporter="dynamo").export(model, example, tmp_path / "m.onnx")
    graph = load_model(tmp_path / "m.onnx")
    PassManager(Pipeline.parse("strip-tags")).run(graph)
    save_model(graph, tmp_path / "stripped.onnx")
    torch.onnx.export(model, (example,), str(tmp_path / "p.onnx"), dynamo=True, verbose=False, external_data=False)
    ours, theirs = ([_nodes(tmp_path / name)] for name in ("stripped.onnx", "p.onnx"))
    assert ours == theirs


def _nodes(file: Path) -> list[tuple[str, list[str], list[str], dict[str, str]]]:
    return [
        (
            node.op_type,
            list(node.input),
            list(node.output),
            {k: v for k, v in metadata.items() if "stack_trace" not in k},
        )
        for node, metadata in tags(file)
    ]
