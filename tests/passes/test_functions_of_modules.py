"""Exports with a local function for each module: its weights are arguments, and calls in it have no scopes."""

from __future__ import annotations

import io

import onnx
import pytest
import torch
from torch import Tensor, nn

from modelexport.ir.io.reader import from_proto
from modelexport.ir.model import Model
from modelexport.passes import PassManager


class Act(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 8)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.fc(x))


class Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = Act(), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.up(x))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.mlp = nn.LayerNorm(4), Mlp()

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mlp(self.norm(x))


class Net(nn.Module):
    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block() for _ in range(blocks))
        for parameter in self.parameters():
            parameter.data += torch.randn_like(parameter)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x.tanh()


def tagged(blocks: int, *classes: type[nn.Module]) -> Model:
    buffer = io.BytesIO()
    torch.manual_seed(0)
    torch.onnx.export(
        Net(blocks).eval(), (torch.randn(1, 4),), buffer,
        dynamo=False, opset_version=17, export_modules_as_functions=set(classes),
    )  # fmt: skip
    proto = onnx.load_from_string(buffer.getvalue())
    assert len(proto.functions) == len(classes)
    model = from_proto(proto)
    PassManager("htp").run(model)
    return model


def found(model: Model) -> dict[str, tuple[str, float]]:
    return {
        node.op_type: (node.attribution.path, node.attribution.confidence)
        for node in model.nodes()
        if node.attribution is not None
    }


@pytest.mark.filterwarnings("ignore")
def test_rule_call_arguments() -> None:
    """A call is the function's module, and the function's body its callers'."""
    tags = found(tagged(1, Block, Mlp))
    assert tags["Block"][0] == "blocks.0" and tags["Mlp"][0] == "blocks.0.mlp"
    assert tags["LayerNormalization"][0] == "blocks.0.norm"
    assert tags["Add"][0] == "blocks.0"  # of the function's argument and what a call in it makes
    assert tags["Tanh"][0] == ""


@pytest.mark.filterwarnings("ignore")
def test_rule_call_argument() -> None:
    """A call that hands over the weights of one module may be this module's or that of one around it."""
    tags = found(tagged(1, Block, Mlp, Act))
    assert tags["Mlp"][0] == "blocks.0.mlp"
    assert tags["Act"][1] <= 0.5 and tags["Act"][0].startswith("blocks.0.mlp.up")


@pytest.mark.filterwarnings("ignore")
def test_a_function_of_several_modules_is_of_what_they_share() -> None:
    model = tagged(2, Block, Mlp)
    calls = [node.attribution.path for node in model.main.nodes if node.op_type == "Block" and node.attribution]
    assert calls == ["blocks.0", "blocks.1"]
    inside = {node.attribution.path for graph in model.functions for node in graph.nodes if node.attribution}
    assert inside == {""}
