"""A difference is exactly the edit, whatever nodes and values are called and in which order they stand."""

from __future__ import annotations

import io
import warnings

import onnx
import pytest
import torch
from difference_edits import EDITS, edited, scrambled

from modelexport.analysis.difference import ModelDiff, diff_models
from modelexport.ir import load_model
from modelexport.ir.io.writer import to_bytes
from modelexport.passes import PassManager, Pipeline


class Attention(torch.nn.Module):
    """Three like products in one module, two of them of the same value."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.query, self.key, self.value = (torch.nn.Linear(width, width) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        query, key, value = self.query(x), self.key(x), self.value(x)
        scores = query @ key.transpose(-1, -2) / 3
        return torch.softmax(scores, -1) @ value + query * key


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = torch.nn.ModuleList([Attention(), Attention()])
        self.norms = torch.nn.ModuleList([torch.nn.LayerNorm(8), torch.nn.LayerNorm(8)])
        self.act = torch.nn.GELU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block, norm in zip(self.blocks, self.norms, strict=True):
            x = norm(x + self.act(block(x)))
        return x.relu()


@pytest.fixture(scope="module", params=["torchscript", "dynamo"])
def tagged(request: pytest.FixtureRequest) -> onnx.ModelProto:
    torch.manual_seed(0)
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Net().eval(), (torch.randn(2, 5, 8),), stream, dynamo=request.param == "dynamo", verbose=False
        )
    model = load_model(stream.getvalue())
    PassManager(Pipeline.parse("htp")).run(model)
    return onnx.ModelProto.FromString(to_bytes(model))


def difference(a: onnx.ModelProto, b: onnx.ModelProto) -> ModelDiff:
    return diff_models(load_model(a.SerializeToString()), load_model(b.SerializeToString()))


@pytest.mark.parametrize("seed", range(3))
def test_other_names_and_orders_are_no_difference(tagged: onnx.ModelProto, seed: int) -> None:
    found = difference(tagged, scrambled(tagged, seed))
    assert found.identical and str(found) == "no differences"
    computing = sum(node.op_type != "Constant" for node in tagged.graph.node)
    assert found.same_nodes == computing


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", EDITS)
def test_exactly_the_edit_is_found(tagged: onnx.ModelProto, kind: str, seed: int) -> None:
    made = edited(tagged, kind, seed)
    if made is None:
        pytest.skip("this exporter leaves no place for such an edit")
    proto, expected = made
    found = difference(tagged, scrambled(proto, seed))
    counts = {m.path: (len(m.added), len(m.removed), len(m.changed), len(m.weights)) for m in found.modules}
    assert counts == expected and not found.model
