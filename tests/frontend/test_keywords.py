"""Keyword arguments of a forward: tensors become inputs, all else is bound to what was given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from modelexport.frontend.export.exporter import HierarchyExporter


class Switched(nn.Module):
    """What it computes depends on arguments that are no tensors."""

    def forward(self, x: Tensor, bias: Tensor, *, double: bool = False, factor: float = 1.0) -> Tensor:
        y = x * 2.0 if double else x
        return y * factor + bias


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, [1.5, 2.5]), ({"double": True}, [2.5, 4.5]), ({"double": True, "factor": 3.0}, [6.5, 12.5])],
)
def test_keywords_that_are_no_tensors_are_bound(
    exporter: Any, given: dict[str, Any], expected: list[float], tmp_path: Path
) -> None:
    example = {"x": torch.tensor([1.0, 2.0]), "bias": torch.tensor([0.5, 0.5]), **given}
    HierarchyExporter(exporter=exporter).export(Switched(), example, tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession((tmp_path / "m.onnx").read_bytes())
    assert [value.name for value in session.get_inputs()] == ["x", "bias"]
    feed = {"x": np.array([1, 2], np.float32), "bias": np.array([0.5, 0.5], np.float32)}
    assert session.run(None, feed)[0].tolist() == expected
