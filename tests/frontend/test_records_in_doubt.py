"""What no call confirms is held against the holders of the weights; what they don't decide is in doubt."""

from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import nn

import modelexport
from modelexport import HierarchyExporter
from modelexport.ir import load_model
from modelexport.ir.io.tag_rows import tagged_model
from modelexport.passes import PassManager, Pipeline


class Block(nn.Module):
    def __init__(self, size: int = 4) -> None:
        super().__init__()
        self.dense, self.squash = nn.Linear(size, size), nn.Tanh()

    def forward(self, x):
        return self.squash(self.dense(x))


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.norm = Block(), Block(), nn.LayerNorm(4)

    def forward(self, x):
        return self.norm(self.second(self.first(x)))


class Folded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down, self.scale = nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)
        self.act, self.up, self.last = nn.ReLU(), nn.ConvTranspose2d(2, 2, 3), nn.BatchNorm2d(2)

    def forward(self, x):
        return self.last(self.up(self.act(self.scale(self.down(x)))))


def rows(file: Path) -> list[tuple[str, str, str, float]]:
    found = []
    for node in onnx.load(file).graph.node:
        entry = {each.key: each.value for each in node.metadata_props}
        found.append((node.op_type, entry["htp.path"], entry["htp.rule"], float(entry["htp.confidence"])))
    return found


@pytest.mark.parametrize("again", [False, True])
def test_scripted_modules(again: bool, tmp_path: Path) -> None:
    """Two methods of one type share their scopes; a second export loses them all."""
    torch.manual_seed(0)
    model, file = torch.jit.script(Pair().eval()), tmp_path / "m.onnx"
    for _ in range(1 + again):
        HierarchyExporter().export(model, torch.randn(2, 4), file, opset_version=17)
    found = rows(file)
    assert [path for _, path, _, _ in found] == ["first.dense", "first.squash", "second.dense", "second.squash", "norm"]
    for operator, path, rule, confidence in found:
        assert (confidence <= 0.5) == (operator == "Tanh"), (path, rule)
    tags = {node.metadata["htp.tag"] for node in load_model(file).nodes()}
    assert "/Pair/Block.second/Linear" in tags


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_a_folded_norm_is_the_convolutions(exporter: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    file = tmp_path / "m.onnx"
    HierarchyExporter(exporter=exporter).export(Folded().eval(), torch.randn(1, 1, 8, 8), file)
    convolutions = [row for row in rows(file) if row[0].startswith("Conv")]
    assert [path for _, path, _, _ in convolutions] == ["down", "up"]
    if exporter == "dynamo":
        assert {rule for _, _, rule, _ in convolutions} == {"folded-norm"}
    proto = onnx.load(file)
    for node in proto.graph.node:  # the table carries it
        del node.metadata_props[:]
    onnx.save(proto, file)
    graph = load_model(file)
    PassManager(Pipeline.parse("htp")).run(graph)
    again = [node.attribution for node in graph.nodes() if node.op_type.startswith("Conv")]
    assert [(found.path, found.rule) for found in again] == [(path, rule) for _, path, rule, _ in convolutions]


class Traced(nn.Module):
    """torch.export runs what was traced before as it stands."""

    def __init__(self) -> None:
        super().__init__()
        self.pair = torch.jit.trace(Pair(), torch.randn(2, 4))
        self.single = torch.jit.trace(nn.Linear(4, 4), torch.randn(2, 4))
        self.plain, self.unused = Pair(), torch.jit.trace(Pair(), torch.randn(2, 4))

    def forward(self, x):
        return self.plain(self.single(self.pair(x)))


@pytest.mark.parametrize("export", ["ours", "torch"])
def test_traced_parts_of_a_model(export: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, x, file = Traced().eval(), torch.randn(2, 4), tmp_path / "m.onnx"
    if export == "ours":
        HierarchyExporter(exporter="dynamo").export(model, x, file)
    else:
        with modelexport.tagging(strict=True):
            torch.onnx.export(model, (x,), file, dynamo=True, verbose=False)
    found = rows(file)
    inside = ["first.dense", "first.squash", "second.dense", "second.squash", "norm"]
    assert [path for _, path, _, _ in found] == [
        *(f"pair.{path}" for path in inside),
        "single",
        *(f"plain.{path}" for path in inside),
    ]
    for operator, path, rule, confidence in found:
        assert (confidence <= 0.5) == (operator == "Tanh" and path.startswith("pair.")), (path, rule)
    calls = {module.path: module.calls for module in tagged_model(file, "model").modules}
    assert calls["pair.first"] == calls["pair.norm"] == 1 and calls["unused.first"] == calls["unused"] == 0


class Alike(Block):
    """Any two compare equal: torch lists one of them, and gives the other its name and its parts none."""

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return 1


class Tripled(Block):
    def _call_impl(self, *args: Any, **kwargs: Any) -> Any:
        return 3 * super()._call_impl(*args, **kwargs)


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_modules_that_compare_equal_are_two(exporter: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, x, file = nn.Sequential(Alike(), Alike(), Block()).eval(), torch.randn(2, 4), tmp_path / "m.onnx"
    HierarchyExporter(exporter=exporter).export(model, x, file)
    inside = [f"{at}.{part}" for at in range(3) for part in ("dense", "squash")]
    for (_, path, _, confidence), right in zip(rows(file), inside, strict=True):
        assert path == right or (path == "1" and confidence <= 0.5)
    assert [path for operator, path, _, _ in rows(file) if operator == "Gemm"] == inside[::2]


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_what_runs_around_forward_in_a_call_is_the_modules(exporter: Any, tmp_path: Path) -> None:
    model, file = nn.Sequential(Tripled(), Block()).eval(), tmp_path / "m.onnx"
    HierarchyExporter(exporter=exporter).export(model, torch.randn(2, 4), file)
    assert [path for operator, path, _, _ in rows(file) if operator == "Mul"] == ["0"]
