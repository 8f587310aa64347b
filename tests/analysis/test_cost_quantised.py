"""The work of each module is the same after quantisers, also where names of modules and further calls are alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from modelexport.analysis import cost

torch = pytest.importorskip("torch")
quantization = pytest.importorskip("onnxruntime.quantization")


class Alike(torch.nn.Module):
    """The second call of ``fc`` and the first one of ``fc_1`` are spelled alike."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.fc_1 = torch.nn.Linear(8, 8), torch.nn.Linear(8, 8)
        self.blocks = torch.nn.ModuleList(torch.nn.Linear(8, 8) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.fc_1(self.fc(torch.relu(self.fc(x))))
        return self.blocks[1](self.blocks[1](self.blocks[0](x)))


class Reader(quantization.CalibrationDataReader):  # type: ignore[misc,name-defined]
    def __init__(self) -> None:
        self.left = [{"x": np.random.default_rng(0).normal(size=(2, 3, 8)).astype(np.float32)}]

    def get_next(self) -> dict[str, np.ndarray] | None:
        return self.left.pop() if self.left else None


def operators(source: str, target: str) -> None:
    quantization.quantize_static(source, target, Reader(), quant_format=quantization.QuantFormat.QOperator)


def pairs(source: str, target: str) -> None:
    quantization.quantize_static(source, target, Reader(), quant_format=quantization.QuantFormat.QDQ)


@pytest.mark.parametrize("quantise", [quantization.quantize_dynamic, operators, pairs])
def test_each_module_does_the_work_it_did(quantise: Callable[[str, str], None], tmp_path: Path) -> None:
    from modelexport import HierarchyExporter

    torch.manual_seed(0)
    file, target = tmp_path / "m.onnx", tmp_path / "q.onnx"
    exporter = HierarchyExporter(sidecar=False)
    exporter.export(Alike().eval(), {"x": torch.randn(2, 3, 8)}, file, dynamo=False, opset_version=17)
    quantise(str(file), str(target))
    before, after = (
        {row.path: row.own["macs"] for row in cost(path).modules if row.own["macs"]} for path in (file, target)
    )
    assert before == {"fc": 768, "fc_1": 384, "blocks.0": 384, "blocks.1": 768}
    assert after == before
