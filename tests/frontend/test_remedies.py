"""Exports that torch refuses: the message has the cause and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stateful import _Of, x
from torch import Tensor, nn

from modelexport.frontend.export.exporter import HierarchyExporter
from modelexport.frontend.inputs.example_inputs import Inputs
from modelexport.frontend.inputs.remedies import remedy
from modelexport.ir.errors import ExportError, InputError


@dataclass
class Batch:
    x: Tensor


@dataclass
class Outer:
    inner: Batch


class Box:
    def __init__(self) -> None:
        self.x = x()


def said(model: nn.Module, inputs: Any, exporter: Any, folder: Path) -> str:
    with pytest.raises(ExportError) as caught:
        HierarchyExporter(exporter=exporter).export(model, inputs, folder / "m.onnx")
    assert not list(folder.iterdir()) and "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        ((Batch(x()),), "argument 0 is Batch, a dataclass: wrap the model"),
        ((Outer(Batch(x())),), "argument 0 is Outer, a dataclass"),
        (([x(), Batch(x())],), "argument 0[1] is Batch, a dataclass"),
        (({"a": [Batch(x())]}, {}), "argument 0['a'][0] is Batch, a dataclass"),
        ((Box(),), "argument 0 is Box, no tensor and no container"),
        (({x()},), "argument 0 is a set: give a tuple or a list"),
        ((np.ones(3),), "argument 0 is a NumPy array: give torch.from_numpy"),
    ],
)
def test_inputs(inputs: Any, told: str, tmp_path: Path) -> None:
    assert told in said(_Of(lambda self, value, *more: self.fc(x())), inputs, "torchscript", tmp_path)


def test_inputs_with_dynamo(tmp_path: Path) -> None:
    told = said(_Of(lambda self, value: self.fc(value[0].x)), ([Batch(x())],), "dynamo", tmp_path)
    assert "argument 0[0] is Batch, a dataclass: wrap the model" in told


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_outputs(exporter: str, tmp_path: Path) -> None:
    model = _Of(lambda self, x: Batch(self.fc(x)))
    assert "forward returns Batch: wrap the model in one that returns" in said(model, (x(),), exporter, tmp_path)


def test_a_dataclass_alone(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"or \(example_inputs,\) where forward takes a Batch"):
        HierarchyExporter().export(nn.ReLU(), Batch(x()), tmp_path / "m.onnx")  # type: ignore[arg-type]


def test_wrappers() -> None:
    held = nn.DataParallel(nn.Linear(4, 4))
    assert "give model.module" in remedy(held, Inputs((), {}), "RuntimeError: no")
    assert "model._orig_mod" in remedy(torch.compile(nn.Linear(4, 4)), Inputs((), {}), "RuntimeError: no")
    assert remedy(nn.Linear(4, 4), Inputs((), {}), "RuntimeError: no") == ""


def test_sharded_models(tmp_path: Path) -> None:
    from torch import distributed
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    store = distributed.FileStore(str(tmp_path / "store"), 1)
    distributed.init_process_group("gloo", rank=0, world_size=1, store=store)
    try:
        model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
        fully_shard(model[0], mesh=init_device_mesh("cpu", (1,)))
        folder = tmp_path / "out"
        folder.mkdir()
        told = said(model, (x(),), "dynamo", folder)
    finally:
        distributed.destroy_process_group()
    assert "FSDPLinear is sharded (FSDP): load the full state dict" in told
