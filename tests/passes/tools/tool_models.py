"""Small random models for the tests of tool passes, exported both ways, and what the tools alone make of them."""

from __future__ import annotations

import io
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import torch


class Stacked(torch.nn.Module):
    """Linear layers, normalisations with equal fresh weights, an activation of many operators and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = torch.nn.ModuleList([Block() for _ in range(2)])
        self.norm = torch.nn.LayerNorm(16)
        self.head = torch.nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


class Block(torch.nn.Module):
    """One of the stack."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.LayerNorm(16)
        self.up = torch.nn.Linear(16, 32)
        self.act = torch.nn.GELU()
        self.down = torch.nn.Linear(32, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = x + self.down(self.act(self.up(self.norm(x))))
        return y


class Convolved(torch.nn.Module):
    """Convolutions with normalisations that optimisers fold, and a head on a flattened value."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU())
        self.body = torch.nn.Sequential(torch.nn.Conv2d(4, 4, 3, padding=1), torch.nn.BatchNorm2d(4), torch.nn.ReLU())
        self.head = torch.nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.head(self.body(self.stem(x)).flatten(1))
        return y


MODELS = {"stacked": (Stacked, (2, 3, 16)), "convolved": (Convolved, (2, 1, 4, 4))}
EXPORTERS = ("torchscript", "dynamo")


@cache
def exported(name: str, exporter: str) -> bytes:
    """The serialized export of a model with fresh weights, the same ones in every process."""
    make, shape = MODELS[name]
    torch.manual_seed(0)
    model, inputs, stream = make().eval(), torch.randn(*shape), io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if exporter == "dynamo":
            program = torch.onnx.export(model, (inputs,), dynamo=True, verbose=False, input_names=["x"])
            assert program is not None
            program.save(stream)
        else:
            torch.onnx.export(model, (inputs,), stream, dynamo=False, opset_version=17, input_names=["x"])
    return stream.getvalue()


def calibration(name: str, folder: Path) -> Path:
    """Two samples for a model."""
    shape = MODELS[name][1]
    path = folder / "c.npz"
    np.savez(path, x=np.random.default_rng(0).standard_normal((2, *shape)).astype(np.float32))
    return path


def same(ours: onnx.ModelProto, theirs: onnx.ModelProto) -> bool:
    """Whether two models are equal field by field, tables of metadata in any order."""
    return _sorted(ours).SerializeToString(deterministic=True) == _sorted(theirs).SerializeToString(deterministic=True)


def _sorted(proto: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    entries = sorted(copy.metadata_props, key=lambda entry: str(entry.key))
    del copy.metadata_props[:]
    copy.metadata_props.extend(entries)
    return copy
