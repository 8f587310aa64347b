"""Graphs whose records mislead, under other names, deeper, and put together: generated, and judged by their values."""

from __future__ import annotations

import random
import warnings
from collections import OrderedDict
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import ground_truth
import onnx
import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from modelexport import HierarchyExporter

WIDTH = 6
EXPORTERS = ["torchscript", "dynamo"]
ACTS = (nn.Tanh, nn.Sigmoid, nn.SiLU, nn.GELU, nn.Softsign)
WORDS = ("stem", "fc", "act", "linear", "inner", "out", "gate", "mix", "one", "two", "proj", "core", "tail")
SEEDS = [pytest.param(0), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 6))]


class Leaf(nn.Module):
    """A product and an activation, which may be another's too."""

    def __init__(self, names: list[str], act: nn.Module) -> None:
        super().__init__()
        self.names = names
        self.add_module(names[0], nn.Linear(WIDTH, WIDTH))
        self.add_module(names[1], act)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = getattr(self, self.names[1])(getattr(self, self.names[0])(x))
        return result


class Region(nn.Module):
    """Its parts in turn, each in a region that torch records as the caller's; with an operator of its own between."""

    def __init__(self, kinds: list[str], parts: nn.Module) -> None:
        super().__init__()
        self.kinds, self.parts = kinds, parts

    def forward(self, x: Tensor) -> Tensor:
        held = self.parts.values() if isinstance(self.parts, nn.ModuleDict) else self.parts
        for kind, part in zip(self.kinds, held, strict=True):
            if kind == "checkpoint":
                x = checkpoint(part, x, use_reentrant=True) * 0.5
            elif kind == "grad":
                with torch.no_grad(), torch.enable_grad():
                    x = part(x) - 1
            else:
                regions = {"no_grad": torch.no_grad, "autocast": lambda: torch.autocast("cpu", enabled=False)}
                with regions.get(kind, nullcontext)():
                    x = part(x)
                x = x + 1
        return x


class Choice(nn.Module):
    """One of its two parts, by what the input says."""

    def __init__(self, names: list[str], parts: list[nn.Module]) -> None:
        super().__init__()
        self.names = names
        for name, part in zip(names, parts, strict=True):
            self.add_module(name, part)

    def forward(self, x: Tensor) -> Tensor:
        first, second = (getattr(self, name) for name in self.names)
        result: Tensor = torch.cond(x.sum() > 0, lambda x: first(x), lambda x: second(x), (x,))
        return result


class Maker:
    """Models by a seed."""

    def __init__(self, seed: int, kinds: tuple[str, ...] = ("plain",), *, shared: bool = False) -> None:
        self.random, self.kinds = random.Random(seed), kinds
        self.act = self.random.choice(ACTS)() if shared else None

    def names(self, count: int) -> list[str]:
        return [f"{word}{self.random.choice(['', '_0', '2'])}" for word in self.random.sample(WORDS, count)]

    def leaf(self) -> nn.Module:
        return Leaf(self.names(2), self.act or self.random.choice(ACTS)())

    def model(self, depth: int) -> nn.Module:
        if not depth:
            return self.leaf()
        parts = [self.model(depth - 1), self.leaf()]
        kinds = [self.random.choice(self.kinds) for _ in parts]
        named = dict(zip(self.names(2), parts, strict=True))
        return Region(kinds, self.random.choice([nn.ModuleList(parts), nn.ModuleDict(named)]))


def judged(model: nn.Module, given: Any, exporter: Any, folder: Path, **options: Any) -> ground_truth.Comparison:
    example = (torch.linspace(-1, 1, 2 * WIDTH).reshape(2, WIDTH),)
    HierarchyExporter(exporter=exporter).export(given, example, folder / "m.onnx", **options)
    return ground_truth.compared(model, example, folder / "m.onnx")


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("seed", SEEDS)
def test_regions(seed: int, exporter: str, tmp_path: Path) -> None:
    torch.manual_seed(seed)
    kinds = ("no_grad", "autocast", "grad", "plain")
    kinds += (
        ("checkpoint",) if exporter == "dynamo" else ()
    )  # TorchScript's trace fails on some of these, in torch alone
    model = Maker(seed, kinds).model(1 + seed % 3).eval()
    found = judged(model, model, exporter, tmp_path)
    assert found.wrong == [] and found.decided > 4


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("seed", SEEDS)
def test_one_activation_for_all(seed: int, exporter: str, tmp_path: Path) -> None:
    torch.manual_seed(seed)
    model = Maker(seed, ("no_grad", "plain"), shared=True).model(1 + seed % 3).eval()
    found = judged(model, model, exporter, tmp_path)
    assert found.wrong == [] and found.decided > 4


@pytest.mark.parametrize("seed", SEEDS)
def test_scripts(seed: int, tmp_path: Path) -> None:
    torch.manual_seed(seed)
    maker = Maker(seed)

    def nested(depth: int) -> nn.Module:
        parts = [nn.Linear(WIDTH, WIDTH), maker.random.choice(ACTS)(), *([nested(depth - 1)] if depth else [])]
        return nn.Sequential(OrderedDict(zip(maker.names(len(parts)), parts, strict=True)))

    model = nested(1 + seed % 3).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.script(model)
    for _ in range(2):  # a second export of a script has no scopes at all
        found = judged(model, script, "torchscript", tmp_path)
        assert [wrong for wrong in found.wrong if wrong.confidence > 0.5] == []
    products = [path for path, operator, _ in ground_truth.paths_in(tmp_path / "m.onnx").values() if operator == "Gemm"]
    assert products == [path for path, module in model.named_modules() if isinstance(module, nn.Linear)]


@pytest.mark.parametrize("exporter", ["dynamo"])
@pytest.mark.parametrize("ran", [False, True], ids=["cold", "ran"])
@pytest.mark.parametrize("seed", SEEDS)
def test_branches(seed: int, ran: bool, exporter: str, tmp_path: Path) -> None:
    torch.manual_seed(seed)
    maker = Maker(seed, ("no_grad", "plain"))
    names = maker.names(2)
    choice = Choice(names, [maker.leaf(), maker.leaf()])
    place = maker.names(1)[0]
    model = nn.Sequential(OrderedDict([("before", maker.leaf()), (place, choice)])).eval()
    example = (torch.ones(2, WIDTH),)
    torch._dynamo.reset()
    if ran:
        with torch.no_grad():
            model(*example)
    HierarchyExporter(exporter=exporter).export(model, example, tmp_path / "m.onnx")
    owners = {f"{path}.weight": path for path, module in model.named_modules() if isinstance(module, nn.Linear)}
    seen = set()
    for graph in graphs(onnx.load(tmp_path / "m.onnx").graph):
        for node in graph.node:
            entry = {each.key: each.value for each in node.metadata_props}
            owner = next((owners[value] for value in node.input if value in owners), None)
            if owner is not None and float(entry["htp.confidence"]) >= 0.9:
                assert entry["htp.path"] == owner
                seen.add(owner)
            if "Choice" in entry["htp.tag"] and entry["htp.path"] != place:
                assert f"/Choice.{place}/Leaf." in entry["htp.tag"] or "/Choice/Leaf." in entry["htp.tag"]
    assert seen == set(owners.values())


@pytest.mark.parametrize("seed", SEEDS)
def test_functions(seed: int, tmp_path: Path) -> None:
    torch.manual_seed(seed)
    model = Maker(seed).model(1 + seed % 3).eval()
    example = (torch.ones(2, WIDTH),)
    HierarchyExporter(exporter="torchscript").export(
        model, example, tmp_path / "m.onnx", opset_version=17, export_modules_as_functions={Leaf}
    )
    called = [
        path for path, operator, _ in ground_truth.paths_in(tmp_path / "m.onnx").values() if operator.startswith("Leaf")
    ]
    assert sorted(called) == sorted(path for path, module in model.named_modules() if isinstance(module, Leaf))


def graphs(graph: onnx.GraphProto) -> Any:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from graphs(attribute.g)
