"""Buffers that a forward changes or replaces are as torch's own export leaves them: nothing else runs the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from modelexport.frontend.export.exporter import HierarchyExporter


class Counting(nn.Module):
    """One buffer that every forward replaces, one that it writes to."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("replaced", torch.zeros(1))
        self.register_buffer("written", torch.zeros(1))
        self.fc = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        self.replaced = self.replaced + 1
        self.written.add_(1)
        return self.fc(x) + self.replaced


@pytest.mark.parametrize("tracking", [True, False], ids=["records", "values"])
@pytest.mark.parametrize(("exporter", "runs"), [("torchscript", 1.0), ("dynamo", 0.0)])
def test_buffers_are_as_plain_torch_leaves_them(exporter: Any, runs: float, tracking: bool, tmp_path: Path) -> None:
    plain, model = Counting().eval(), Counting().eval()
    torch.onnx.export(plain, (torch.ones(1, 2),), tmp_path / "p.onnx", dynamo=exporter == "dynamo", verbose=False)
    before = model.replaced
    given = {} if tracking else {"builtin_tracking": False}
    HierarchyExporter(exporter=exporter, **given).export(model, torch.ones(1, 2), tmp_path / "m.onnx")
    left = {name: float(value) for name, value in model.named_buffers()}
    assert left == {name: float(value) for name, value in plain.named_buffers()} == dict.fromkeys(left, runs)
    assert (model.replaced is before) == (not runs)
