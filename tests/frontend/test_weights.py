"""Weights on their way into a file: their bytes, and how much of them is copied at a time."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from modelexport import HierarchyExporter
from modelexport.frontend.export import weights
from modelexport.frontend.export.weights import inputs_to_initializers, taken_out

BLOCK = 1 << 20
TENSORS = {
    "transposed": torch.arange(900 * 700, dtype=torch.float32).reshape(900, 700).t(),
    "of one row": torch.arange(600_000, dtype=torch.float32).reshape(300_000, 2).t()[:1],
    "every other": torch.arange(900_000, dtype=torch.float64)[::2],
    "of four dimensions": torch.arange(600_000, dtype=torch.int32).reshape(10, 20, 30, 100).permute(3, 1, 0, 2),
    "in order": torch.arange(700_000, dtype=torch.float32),
    "bfloat16": torch.arange(1_000_000, dtype=torch.float32).to(torch.bfloat16).reshape(1000, 1000).t(),
    "bool": torch.arange(2_000_000).reshape(1000, 2000).t() % 3 == 0,
    "that learns": nn.Parameter(torch.ones(700, 900).t()),
    "of an expanded row": torch.arange(3000, dtype=torch.float32).expand(200, 3000),
}


def names_of_types(tensor: torch.Tensor) -> int:
    numbers = {torch.float32: 1, torch.float64: 11, torch.int32: 6, torch.bfloat16: 16, torch.bool: 9}
    return numbers[tensor.dtype]


@pytest.mark.parametrize("name", TENSORS)
def test_torchscript_weights(name: str) -> None:
    tensor = TENSORS[name]
    value = onnx.helper.make_tensor_value_info("w", names_of_types(tensor), list(tensor.shape))
    proto = onnx.helper.make_model(onnx.helper.make_graph([], "g", [value], []))
    weight = inputs_to_initializers(proto, {"w": tensor})["w"]
    plain = tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    assert_bytes(weight, plain, copied=not tensor.is_contiguous() and tensor.shape[0] > 1)


@pytest.mark.parametrize("name", [name for name, tensor in TENSORS.items() if tensor.dtype != torch.bfloat16])
def test_dynamo_weights(name: str) -> None:
    array = TENSORS[name].detach().numpy()
    value = onnx_ir.Value(name="w", const_value=onnx_ir.Tensor(array, name="w"))
    graph = onnx_ir.Graph([], [], nodes=[], initializers=[value], name="g")
    weight = taken_out(onnx_ir.Model(graph, ir_version=10))["w"]
    assert_bytes(weight, array.tobytes(), copied=not array.flags.c_contiguous and array.shape[0] > 1)


def assert_bytes(weight: weights.Weight, plain: bytes, *, copied: bool) -> None:
    sizes = [len(piece) for piece in weight.pieces()]
    assert weight.read() == plain and sum(sizes) == weight.nbytes == len(plain)
    assert max(sizes) <= BLOCK if copied else len(sizes) == 1
    stream = io.BytesIO()
    weight.write(stream)
    assert stream.getvalue() == plain


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_large_transposed_weights_in_a_file(exporter: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(600, 900), nn.Linear(900, 3)).eval()
    example = torch.ones(2, 5, 600)  # of three dimensions: the product's weight is transposed
    HierarchyExporter(exporter=exporter).export(model, example, tmp_path / "m.onnx")
    held = [numpy_helper.to_array(entry) for entry in onnx.load(tmp_path / "m.onnx").graph.initializer]
    wanted = model[0].weight.detach().numpy()  # type: ignore[union-attr, operator]
    assert any(array.shape == (600, 900) and np.array_equal(array, wanted.T) for array in held)
