"""A trace of a whole model on a file that holds a part of it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from modelexport.frontend.trace.value_trace import write_trace
from modelexport.ir.io.reader import from_proto
from modelexport.ir.io.trace_file import Trace, View, load_trace
from modelexport.ir.model import Model
from modelexport.passes import PassManager, value_attribution
from modelexport.passes.evidence.values.presence import lacking
from modelexport.passes.evidence.values.run_votes import Answer
from modelexport.passes.pipeline.base import PassContext


class Mixer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q, self.o = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        q = self.q(x)
        mask = torch.tril(torch.ones(x.shape[1], x.shape[1])) * 0.25 - 0.5
        return self.o(torch.softmax(q @ q.transpose(1, 2) + mask, -1) @ x)


class Whole(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder, self.head = Mixer(), Mixer(), nn.Linear(4, 3)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.head(self.decoder(y) + self.encoder(x).mean(1, keepdim=True))


class Part(nn.Module):
    def __init__(self, whole: Whole) -> None:
        super().__init__()
        self.decoder, self.head = whole.decoder, whole.head

    def forward(self, y: Tensor, context: Tensor) -> Tensor:
        return self.head(self.decoder(y) + context.mean(1, keepdim=True))


@pytest.fixture(scope="module")
def trace_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("trace") / "whole.htptrace"
    write_trace(whole(), {"x": torch.randn(2, 3, 4), "y": torch.randn(2, 3, 4)}, file)
    return file


@pytest.fixture(scope="module")
def trace(trace_file: Path) -> Trace:
    return load_trace(trace_file)


def whole() -> Whole:
    torch.manual_seed(0)
    return Whole().eval()


def exported(network: nn.Module, *names: str) -> onnx.ModelProto:
    buffer = io.BytesIO()
    example = (torch.randn(2, 3, 4),) * len(names)
    torch.onnx.export(network, example, buffer, input_names=list(names), output_names=["out"], dynamo=False)
    proto = onnx.load_from_string(buffer.getvalue())
    for node in proto.graph.node:
        node.name = ""
    return proto


def placed(proto: onnx.ModelProto, trace_file: Path) -> dict[str, str]:
    model = from_proto(proto)
    PassManager("htp-trace", context=PassContext(trace=trace_file)).run(model)
    return {node.first_output: node.attribution.path for node in model.nodes() if node.attribution is not None}


def test_no_node_of_a_part_is_of_a_module_that_the_part_lacks(
    trace_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the values say; names of values that exporters count up, ``Constant_367``, are equal by chance."""
    said = {"": "twin-named", "encoder": "twin-named", "decoder": "twin-tie"}

    def answers(target: View, trace: Trace, rtol: float) -> tuple[dict[int, Answer], dict[str, float]]:
        kinds = list(said.items())
        return {at: Answer(*kinds[at % 3], 1.0, (), True) for at in range(len(target.ops))}, {}

    monkeypatch.setattr(value_attribution, "answers", answers)
    model = from_proto(exported(Part(whole()), "y", "context"))
    value_attribution.ValueAttribution().run(model, PassContext(trace=trace_file))
    assert {node.attribution.path for node in model.nodes() if node.attribution is not None} == {"", "decoder"}


def test_the_whole_model_has_both(trace_file: Path) -> None:
    found = placed(exported(whole(), "x", "y"), trace_file)
    assert {path.split(".")[0] for path in found.values()} == {"", "encoder", "decoder", "head"}


def part(*, named: bool = True) -> Model:
    proto = exported(Part(whole()), "y", "context")
    for number, tensor in enumerate(() if named else proto.graph.initializer):
        for node in proto.graph.node:
            node.input[:] = [f"w{number}" if value == tensor.name else value for value in node.input]
        tensor.name = f"w{number}"
    return from_proto(proto)


PATHS = ("", "encoder", "encoder.q", "decoder.q", "head")


@pytest.mark.parametrize("named", [True, False])
def test_weights_are_known_by_name_or_by_value(trace: Trace, named: bool) -> None:
    assert lacking(part(named=named), trace, PATHS) == {"encoder", "encoder.q"}


def test_a_file_of_other_weights_lacks_nothing_for_certain(trace: Trace) -> None:
    model = part(named=False)
    for tensor in model.proto.graph.initializer:
        other = np.random.default_rng(1).normal(size=tuple(tensor.dims)).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(other, tensor.name))
    assert lacking(from_proto(model.proto), trace, PATHS) == frozenset()
