"""Products of quantised layers: a layer's product, its bias and what is between them are one module's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_dynamic, quantize_static
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from torch import Tensor, nn

from modelexport.ir.io.reader import from_proto
from modelexport.passes import PassManager

MODULES = ("conv", "up", "head")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.up, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8, 32), nn.Linear(32, 8)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.conv(x)).mean((2, 3)).unsqueeze(1)
        return self.head(torch.relu(self.up(x)))


class Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self) -> None:
        self.left = [{"x": np.random.default_rng(0).normal(size=(1, 3, 6, 6)).astype(np.float32)}]

    def get_next(self) -> dict[str, np.ndarray] | None:
        return self.left.pop() if self.left else None


def dynamic(source: str, target: str) -> None:
    quantize_dynamic(source, target)


def operators(source: str, target: str) -> None:
    quantize_static(source, target, Reader(), quant_format=QuantFormat.QOperator)


def qdq(source: str, target: str) -> None:
    quantize_static(source, target, Reader(), quant_format=QuantFormat.QDQ)


def four_bits(source: str, target: str) -> None:
    quantizer = MatMulNBitsQuantizer(onnx.load(source), block_size=16, is_symmetric=True)
    quantizer.process()
    quantizer.model.save_model_to_file(target)


def fused(source: Path, target: Path) -> Path:
    """As onnxruntime runs it, with operators such as DynamicQuantizeMatMul and QLinearMatMul."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(target), 4
    onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
    return target


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("net")
    torch.manual_seed(0)
    torch.onnx.export(
        Net().eval(), (torch.randn(1, 3, 6, 6),), str(folder / "net.onnx"), input_names=["x"], dynamo=False,
        opset_version=17,
    )  # fmt: skip
    return folder / "net.onnx"


def stripped(file: Path) -> tuple[onnx.ModelProto, dict[str, str]]:
    """Without names of nodes and values, and what each node's own name said: the module at its beginning."""
    proto = onnx.load(file)
    kept = {each.name for each in (*proto.graph.initializer, *proto.graph.input, *proto.graph.output)}
    new: dict[str, str] = {}
    truth: dict[str, str] = {}
    for node in proto.graph.node:
        for names in (node.input, node.output):
            names[:] = [name if not name or name in kept else new.setdefault(name, f"v{len(new)}") for name in names]
        atoms = node.name.split("/")
        if len(atoms) > 2 and atoms[1] in MODULES:
            truth[node.output[0]] = atoms[1]
        node.name = ""
    return proto, truth


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("optimised", [False, True])
@pytest.mark.parametrize("quantise", [dynamic, operators, qdq, four_bits])
def test_products_are_their_layers(
    exported: Path, tmp_path: Path, quantise: Callable[[str, str], None], optimised: bool
) -> None:
    quantised = tmp_path / "q.onnx"
    quantise(str(exported), str(quantised))
    proto, truth = stripped(fused(quantised, tmp_path / "o.onnx") if optimised else quantised)
    kinds = {node.op_type for node in proto.graph.node if node.output[0] in truth}
    assert kinds & {"MatMulInteger", "QLinearMatMul", "MatMul", "MatMulNBits", "DynamicQuantizeMatMul", "QGemm"}
    model = from_proto(proto)
    PassManager("htp").run(model)
    activations = ("Relu", "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")
    found = {
        node.first_output: (node.op_type, node.attribution.path, truth[node.first_output])
        for node in model.nodes()
        if node.attribution is not None and node.first_output in truth
    }
    assert {"up", "head"} <= {true for _, _, true in found.values()}
    wrong = [each for each in found.values() if each[0] not in activations and each[1] != each[2]]
    assert wrong == []
