"""compare-values on the command line, with graphs and with PyTorch models as the reference."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from modelexport.cli.schema import schema

jsonschema = pytest.importorskip("jsonschema")
pytest.importorskip("onnxruntime")
SOURCE = """
import torch

class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = torch.nn.LayerNorm(8)
        self.fc = torch.nn.Linear(8, 8)

    def forward(self, x):
        return x + torch.tanh(self.fc(self.norm(x)))

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = torch.nn.ModuleList([Block(), Block()])
        self.head = torch.nn.Linear(8, 4)

    def forward(self, x, scale):
        for block in self.blocks:
            x = block(x)
        return self.head(x * scale)

def get_model():
    torch.manual_seed(0)
    return Net()

def get_inputs():
    torch.manual_seed(1)
    return {"x": torch.randn(2, 5, 8), "scale": torch.rand(1)}
"""
pytestmark = pytest.mark.usefixtures("folder")
Run = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_a_pytorch_reference(run: Run, exporter: str) -> None:
    Path("model.py").write_text(SOURCE)
    assert run("export", "model.py", "m.onnx", "--exporter", exporter)[0] == 0
    code, out, err = run("compare-values", "model.py", "m.onnx", "--format", "json")
    found = json.loads(out)
    jsonschema.validate(found, schema("compare_values"))
    assert (code, err, found["agree"], found["first"]) == (0, "", True, None)
    assert {"blocks.0.fc", "blocks.1.norm", "head"} <= {row["path"] for row in found["modules"] if row["values"]}
    proto = onnx.load("m.onnx")
    weight = next(tensor for tensor in proto.graph.initializer if tensor.name == "blocks.1.fc.bias")
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) + np.float32(0.5), weight.name))
    onnx.save(proto, "wrong.onnx")
    code, out, _ = run("compare-values", "model.py", "wrong.onnx", "--format", "json")
    found = json.loads(out)
    assert code == 1 and found["first"]["path"] == "blocks.1.fc"
    assert [row["path"] for row in found["modules"] if row["status"] == "diverges"] == ["blocks.1.fc"]
    assert run("compare-values", "model.py", "wrong.onnx", "--format", "selector") == (1, "at:blocks.1.fc\n", "")
    code, out, _ = run("compare-values", "m.onnx", "wrong.onnx", "--top", "1")
    assert code == 1 and "weights that differ: blocks.1.fc.bias" in out and out.count("agrees") == 0


def test_given_inputs(run: Run) -> None:
    Path("model.py").write_text(SOURCE)
    assert run("export", "model.py", "m.onnx", "--exporter", "torchscript")[0] == 0
    np.savez("inputs.npz", x=np.full((2, 5, 8), np.nan, np.float32))
    code, out, _ = run("compare-values", "model.py", "m.onnx", "--inputs", "inputs.npz", "--format", "json")
    assert (code == 0 and json.loads(out)["not_finite"] is None) or json.loads(out)["not_finite"]["in_reference"]
    np.savez("inputs.npz", y=np.zeros(1, np.float32))
    code, out, err = run("compare-values", "model.py", "m.onnx", "--inputs", "inputs.npz")
    assert (code, out) == (2, "") and "no input 'y'; inputs: x, scale" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none.onnx", "none.onnx"), "none.onnx: No such file"),
        (("none.py", "m.onnx"), "m.onnx: No such file"),
        (("NONE.ONNX", "m.onnx"), "NONE.ONNX: No such file"),
        (("a.onnx", "b.onnx", "--rtol", "-1"), "a tolerance is a number from 0"),
        (("a.onnx", "b.onnx", "--trust-remote-code"), "belong to a PyTorch reference"),
    ],
)
def test_wrong_usage(run: Run, arguments: tuple[str, ...], message: str) -> None:
    code, out, err = run("compare-values", *arguments)
    assert code == 2 and not out and message in err
