"""Models with forward hooks and pre-hooks, generated: plain TorchScript exports with a trace, judged by their values.

What a hook computes runs in the caller's time: torch names it after the caller or, where it computes before the call,
after what was called last. The calls that a trace has watched are right.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ground_truth
import onnx
import pytest
import torch
from torch import Tensor, nn

from modelexport import HierarchyExporter, tagging
from modelexport.frontend.trace.value_trace import write_trace
from modelexport.ir import load_model, save_model
from modelexport.passes import PassManager
from modelexport.passes.pipeline.base import PassContext

WIDTH = 8
SEEDS = [pytest.param(11), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(11))]
ACTS = (nn.ReLU, nn.Tanh, nn.Sigmoid, nn.GELU, nn.SiLU)
COMPUTED: tuple[Callable[[Tensor, float], Tensor], ...] = (
    lambda v, a: v * (a + 0.5),
    lambda v, a: v + a,
    lambda v, a: v.tanh(),
    lambda v, a: v.relu() * (a + 0.3),
    lambda v, a: v - v.mean(-1, keepdim=True),
    lambda v, a: v / (v.abs().sum(-1, keepdim=True) + 1),
    lambda v, a: v.reshape(-1, WIDTH).reshape(v.shape) * 1.2,
    lambda v, a: torch.cat([v[:, :4], v[:, 4:]], 1) * 0.9,
)


class Block(nn.Module):
    """Its parts one after the other, around them a sum or not."""

    def __init__(self, parts: list[nn.Module], summed: bool) -> None:
        super().__init__()
        self.parts, self.summed = nn.ModuleList(parts), summed

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for part in self.parts:
            y = part(y)
        return y + x if self.summed else y


class Unit(nn.Module):
    """A product, an activation, a normalisation, and what is inside."""

    def __init__(self, act: nn.Module, inner: nn.Module | None) -> None:
        super().__init__()
        self.proj, self.act, self.norm, self.inner = nn.Linear(WIDTH, WIDTH), act, nn.LayerNorm(WIDTH), inner

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.proj(x))
        if self.inner is not None:
            y = self.inner(y)
        result: Tensor = self.norm(y + x)
        return result


def nest(made: random.Random, depth: int) -> nn.Module:
    kind = made.randrange(3) if depth > 0 else 2
    if kind == 0:
        return nn.Sequential(*[nest(made, depth - 1) for _ in range(made.randrange(1, 4))])
    if kind == 1:
        return Block([nest(made, depth - 1) for _ in range(made.randrange(1, 3))], made.random() < 0.5)
    return Unit(made.choice(ACTS)(), nest(made, depth - 1) if depth > 0 else None)


def hook(made: random.Random, module: nn.Module) -> None:
    """Add a hook of one of the four kinds, which computes something."""
    steps = [(step, made.random()) for step in made.sample(COMPUTED, made.randrange(1, 3))]

    def run(value: Tensor) -> Tensor:
        for step, number in steps:
            value = step(value, number)
        return value

    kind = made.randrange(4)
    if kind == 0:
        module.register_forward_hook(lambda module, args, output: run(output))
    elif kind == 1:
        module.register_forward_pre_hook(lambda module, args: (run(args[0]),))
    elif kind == 2:
        module.register_forward_pre_hook(lambda module, args, kwargs: ((run(args[0]),), kwargs), with_kwargs=True)
    else:
        module.register_forward_hook(lambda module, args, kwargs, output: run(output), with_kwargs=True)


def hooked(seed: int) -> nn.Module:
    """A model of which half of the modules have hooks."""
    made = random.Random(seed)
    torch.manual_seed(seed)
    model = nest(made, made.randrange(1, 4)).eval()
    for parameter in model.parameters():
        if parameter.dim() == 1:
            nn.init.normal_(parameter)
    called = [module for module in model.modules() if not isinstance(module, nn.ModuleList)]
    for module in made.sample(called, max(1, len(called) // 2)):
        for _ in range(made.randrange(1, 3)):
            hook(made, module)
    return model


@pytest.mark.parametrize("seed", SEEDS)
def test_a_trace_decides_what_hooks_computed(seed: int, tmp_path: Path) -> None:
    model, example = hooked(seed), (torch.linspace(-1, 1, 4 * WIDTH).reshape(4, WIDTH).sin(),)
    plain, tagged = tmp_path / "plain.onnx", tmp_path / "tagged.onnx"
    options: Any = {"dynamo": False, "opset_version": 17}
    torch.onnx.export(model, example, plain, **options)
    trace = write_trace(model, example, tmp_path / "m.htptrace")
    graph = load_model(plain)
    PassManager("htp-trace", context=PassContext(trace=trace)).run(graph)
    assert not [line for line in graph.warnings if "another model" in line]
    save_model(graph, tagged)
    found = ground_truth.compared(model, example, tagged)
    assert found.wrong == [] and found.decided > 8
    HierarchyExporter(exporter="torchscript").export(model, example, tmp_path / "own.onnx", opset_version=17)
    theirs, ours = (paths(path) for path in (tagged, tmp_path / "own.onnx"))
    assert theirs == ours


def paths(file: Path) -> list[str]:
    """Paths in file order: numbers that torch counts up are in some names."""
    nodes = onnx.load(file).graph.node
    return [next(entry.value for entry in node.metadata_props if entry.key == "htp.path") for node in nodes]


class Late(nn.Module):
    """Hooks a part that two holders share, before the export or in its own forward."""

    def __init__(self, early: bool) -> None:
        super().__init__()
        part = nn.Linear(WIDTH, WIDTH)
        self.first, self.second = Block([part], True), Block([part, nn.ReLU()], False)
        self.is_hooked = False
        if early:
            self.hook()

    def hook(self) -> None:
        self.is_hooked = True
        self.first.parts[0].register_forward_hook(lambda module, args, output: output.tanh())
        self.second.register_forward_pre_hook(lambda module, args: (args[0] - 1,))

    def forward(self, x: Tensor) -> Tensor:
        if not self.is_hooked:
            self.hook()
        return self.second(self.first(x)).sigmoid()


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
@pytest.mark.parametrize("early", [False, True])
def test_hooks_made_while_the_model_runs(early: bool, exporter: Any, tmp_path: Path) -> None:
    HierarchyExporter(exporter=exporter).export(Late(early).eval(), torch.ones(2, WIDTH), tmp_path / "m.onnx")
    torch._dynamo.reset()
    with tagging():
        torch.onnx.export(
            Late(early).eval(), (torch.ones(2, WIDTH),), tmp_path / "t.onnx", dynamo=exporter == "dynamo", verbose=False
        )
    for file in ("m.onnx", "t.onnx"):
        found = {}
        for node in load_model(tmp_path / file).main.nodes:
            found.setdefault(node.op_type, set()).add(node.metadata["htp.path"])
        assert found["Tanh"] == found["Gemm"] == {"first.parts.0", "second.parts.0"}
        assert (found["Sub"], found["Relu"], found["Add"], found["Sigmoid"]) == (
            {"second"}, {"second.parts.1"}, {"first"}, {""}
        )  # fmt: skip
