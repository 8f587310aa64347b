"""Models that change what they are given and what they hold, generated: containers in containers, under any name."""

from __future__ import annotations

import copy
import random
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from onnxruntime.capi import onnxruntime_pybind11_state as errors
from test_same_as_plain import same
from torch import Tensor, nn

from modelexport import HierarchyExporter

WIDTH = 4
EXPORTERS = ["torchscript", "dynamo"]
SEEDS = [pytest.param(1), *(pytest.param(seed, marks=pytest.mark.slow) for seed in (0, *range(2, 12)))]
WORDS = ("cache", "past", "state", "x", "batch", "items", "args", "key", "value", "memory", "self_", "input")


def steps(length: int = 5) -> Tensor:
    return torch.linspace(-1, 1, length * WIDTH).reshape(1, length, WIDTH)


class Uses(nn.Module):
    """A product, and a change of what it was handed: ``change`` takes the container and the product."""

    def __init__(self, name: str, change: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.name, self.change = name, change
        self.add_module(name, nn.Linear(WIDTH, WIDTH))

    def forward(self, x: Tensor, held: Any) -> Tensor:
        return self.change(held, getattr(self, self.name)(x))


class Passes(nn.Module):
    """Hands the part ``key`` of what it was handed to the module inside."""

    def __init__(self, name: str, key: Any, inner: nn.Module) -> None:
        super().__init__()
        self.name, self.inside = name, key
        self.add_module(name, inner)

    def forward(self, x: Tensor, held: Any) -> Tensor:
        result: Tensor = getattr(self, self.name)(x, held if self.inside is None else held[self.inside]) * 0.5
        return result


def appended(held: list[Tensor], x: Tensor) -> Tensor:
    held.append(x)
    return torch.cat(held, 1)


def put_first(held: list[Tensor], x: Tensor) -> Tensor:
    held.insert(0, x)
    return torch.cat(held, 1)


def replaced(held: list[Tensor], x: Tensor) -> Tensor:
    held[0] = torch.cat([held[0], x], 1)
    return held[0]


def popped(held: list[Tensor], x: Tensor) -> Tensor:
    return x + held.pop(0).sum(1, keepdim=True)


def emptied(held: list[Tensor], x: Tensor) -> Tensor:
    total = torch.cat([*held, x], 1)
    held.clear()
    return total


def key_popped(held: dict[str, Tensor], x: Tensor) -> Tensor:
    return x + held.pop(min(held)).mean(1, keepdim=True)


def key_set(held: dict[str, Tensor], x: Tensor) -> Tensor:
    first = min(held)
    held[first] = torch.cat([held[first], x], 1)
    return held[first]


def updated(held: dict[str, Tensor], x: Tensor) -> Tensor:
    held.update(new=x)
    return torch.cat(list(held.values()), 1)


def added_in_place(held: Tensor, x: Tensor) -> Tensor:
    held += 1.0
    return x + held.mean(1, keepdim=True)


def written_in_place(held: Tensor, x: Tensor) -> Tensor:
    held[:, :1] = x[:, :1]
    return x + held.sum(1, keepdim=True)


CHANGES: dict[str, tuple[Callable[..., Tensor], ...]] = {
    "list": (appended, put_first, replaced, popped, emptied),
    "dict": (key_popped, key_set, updated),
    "tensor": (added_in_place, written_in_place),
}


def handed(seed: int) -> tuple[nn.Module, Any]:
    """A model that changes a container which it gets inside others, and its inputs."""
    made = random.Random(seed)
    kind = list(CHANGES)[seed % 3]
    held: Any = {"list": [steps(3), steps(2)], "dict": {"b": steps(3), "a": steps(2)}, "tensor": steps(3)}[kind]
    names = made.sample(WORDS, 6)
    model: nn.Module = Uses(names[0], made.choice(CHANGES[kind]))
    for depth in range(made.randrange(3)):
        shape = made.choice(("list", "dict", "plain", "tuple"))
        key: Any = {"list": 1, "tuple": 0, "dict": names[4], "plain": None}[shape]
        model = Passes(names[1 + depth], key, model)
        held = {"list": [steps(1), held], "tuple": (held, steps(1)), "dict": {names[4]: held}, "plain": held}[shape]
    return model, (steps(), held, {}) if isinstance(held, dict) else (steps(), held)


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_handed_in(seed: int, exporter: str, tmp_path: Path) -> None:
    same(lambda: handed(seed), exporter, tmp_path)


class Grows(nn.Module):
    """A table for the longest length seen."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        setattr(self, name, None)

    def forward(self, x: Tensor) -> Tensor:
        table = getattr(self, self.name)
        if table is None or table.shape[0] < x.shape[1]:
            table = torch.arange(x.shape[1], dtype=torch.float32)[:, None].cos()
            setattr(self, self.name, table)
        return x + table[: x.shape[1]]


class Registers(nn.Module):
    """A buffer that is registered by the first call."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, x: Tensor) -> Tensor:
        if not hasattr(self, self.name):
            made = torch.arange(x.shape[1], dtype=torch.float32)[:, None].cos()
            self.register_buffer(self.name, made, persistent=False)
        result: Tensor = x + getattr(self, self.name)[: x.shape[1]]
        return result


class Counts(nn.Module):
    """A number that each call counts up, in itself or in a container of its own."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        setattr(self, name, [0])

    def forward(self, x: Tensor) -> Tensor:
        counted = getattr(self, self.name)
        counted[0] += 1
        return x * counted[0]


class Once(nn.Module):
    """Its first call does something else."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        setattr(self, name, False)

    def forward(self, x: Tensor) -> Tensor:
        if not getattr(self, self.name):
            setattr(self, self.name, True)
            return x.tanh()
        return x.relu()


class Keeps(nn.Module):
    """Keeps what the last call computed, and adds it to the next one's."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        setattr(self, name, {})

    def forward(self, x: Tensor) -> Tensor:
        kept = getattr(self, self.name)
        result = x + kept["last"].mean() if "last" in kept else x * 2
        kept["last"] = result.detach()
        return result


KINDS = (Grows, Registers, Counts, Once, Keeps)


def remembering(seed: int) -> nn.Module:
    """A nest of modules with products and states, of the kinds and names that the seed says."""
    made = random.Random(seed)
    torch.manual_seed(seed)

    def nest(depth: int) -> nn.Module:
        parts: list[nn.Module] = [nn.Linear(WIDTH, WIDTH), made.choice(KINDS)(made.choice(WORDS[:5]))]
        if depth:
            parts.insert(made.randrange(3), nest(depth - 1))
        return nn.Sequential(OrderedDict(zip(made.sample(WORDS, len(parts)), parts, strict=True)))

    return nest(1 + seed % 3).eval()


def agrees(path: Path, seed: int, length: int) -> bool:
    """Whether the file computes what a model made anew computes when it is first called."""
    x = steps(length)
    with torch.no_grad():
        wanted = remembering(seed)(x).numpy()
    try:
        (found,) = onnxruntime.InferenceSession(str(path)).run(None, {"x": x.numpy()})
    except (errors.InvalidArgument, errors.RuntimeException, errors.Fail):  # shapes that do not fit
        return False
    return bool(found.shape == wanted.shape and np.allclose(found, wanted, atol=1e-4))


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_remembered(seed: int, exporter: Any, tmp_path: Path) -> None:
    options: dict[str, Any] = {"input_names": ["x"], "dynamic_axes": {"x": {1: "s"}}}
    same(lambda: (remembering(seed), (steps(),)), exporter, tmp_path, **copy.deepcopy(options))
    path = tmp_path / "tagged.onnx"
    HierarchyExporter(exporter=exporter).export(remembering(seed), (steps(),), path, **copy.deepcopy(options))
    plain = tmp_path / "torch" / "m.onnx"
    assert [agrees(path, seed, length) for length in (5, 9)] == [agrees(plain, seed, length) for length in (5, 9)]
    assert agrees(path, seed, 5)
