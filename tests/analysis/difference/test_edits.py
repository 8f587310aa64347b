"""A difference is exactly the edit, whatever nodes and values are called and in which order they stand."""

from __future__ import annotations

import io
import warnings

import onnx
import pytest
import torch
from difference_edits import EDITS, edited, told
from difference_forms import forgetful, in_bodies, in_functions, scrambled

from modelexport.analysis.difference import ModelDiff, diff_models
from modelexport.ir import load_model
from modelexport.ir.io.writer import to_bytes
from modelexport.passes import PassManager, Pipeline
from modelexport.passes.testing import make_model


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
def exported(request: pytest.FixtureRequest) -> onnx.ModelProto:
    torch.manual_seed(0)
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Net().eval(), (torch.randn(2, 5, 8),), stream, dynamo=request.param == "dynamo", verbose=False
        )
    return onnx.shape_inference.infer_shapes(onnx.ModelProto.FromString(stream.getvalue()))


def with_tags(proto: onnx.ModelProto) -> onnx.ModelProto:
    model = load_model(proto.SerializeToString())
    PassManager(Pipeline.parse("htp")).run(model)
    return onnx.ModelProto.FromString(to_bytes(model))


def difference(a: onnx.ModelProto, b: onnx.ModelProto) -> ModelDiff:
    return diff_models(load_model(a.SerializeToString()), load_model(b.SerializeToString()))


@pytest.fixture(scope="module")
def tagged(exported: onnx.ModelProto) -> onnx.ModelProto:
    return with_tags(exported)


@pytest.fixture(scope="module", params=["bodies", "functions"])
def in_parts(request: pytest.FixtureRequest, exported: onnx.ModelProto) -> onnx.ModelProto:
    """The same with some of its nodes in branches of an If, or in local functions."""
    form = {"bodies": in_bodies, "functions": in_functions}[request.param]
    return forgetful(with_tags(form(exported, runs=2, length=9)))


@pytest.mark.parametrize("seed", range(3))
def test_other_names_and_orders_are_no_difference(tagged: onnx.ModelProto, seed: int) -> None:
    found = difference(tagged, scrambled(tagged, seed))
    assert found.identical and str(found) == "no differences"
    computing = sum(node.op_type != "Constant" for node in tagged.graph.node)
    assert found.same_nodes == computing


def test_tags_are_no_difference(exported: onnx.ModelProto, tagged: onnx.ModelProto) -> None:
    """Without tags nothing says that ``blocks`` is a container which is never called."""
    found = [difference(tagged, exported), difference(exported, tagged)]
    assert [each.to_dict()["modules"] for each in found] == [[], []]
    assert [each.module_counts[0] - each.module_counts[1] for each in found] == [0, 0]


def test_they_are_none_in_bodies_and_functions(in_parts: onnx.ModelProto) -> None:
    assert difference(in_parts, scrambled(in_parts, 0)).identical


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kind", EDITS)
def test_exactly_the_edit_is_found(tagged: onnx.ModelProto, kind: str, seed: int) -> None:
    made = edited(tagged, kind, seed)
    if made is None:
        pytest.skip("this exporter leaves no place for such an edit")
    proto, expected = made
    assert told(difference(tagged, scrambled(proto, seed))) in expected


@pytest.mark.parametrize("kind", EDITS)
def test_exactly_the_edit_is_found_inside(in_parts: onnx.ModelProto, kind: str) -> None:
    made = edited(in_parts, kind, 0, inside=True)
    if made is None:
        pytest.skip("no inner node has a place for such an edit")
    proto, expected = made
    assert told(difference(in_parts, scrambled(proto, 0))) in expected


def test_swapped_operands_are_told_apart_from_their_twins() -> None:
    """Three like pairs of nodes: the readers of two say which of the third is which."""
    model = """
        g (float[2] X) => (float[2] Y, float[2] Z, float[2] W) {
            a = Exp (X)  # scope: m
            b = Sin (X)  # scope: m
            a1 = Neg (a)  # scope: m
            b1 = Neg (b)  # scope: m
            Y = Sub (a1, b1)  # scope: m
            a2 = Neg (a)  # scope: m
            b2 = Neg (b)  # scope: m
            Z = Mul (a2, b2)  # scope: m
            a3 = Neg (a)  # scope: m
            b3 = Neg (b)  # scope: m
            W = Div (a3, b3)  # scope: m
        }
    """
    found = diff_models(make_model(model), make_model(model.replace("(a1, b1)", "(b1, a1)")))
    [change] = found.modules[0].changed
    assert change.a.op_type == "Sub"


def test_a_node_that_reads_one_value_twice() -> None:
    model = """
        g (float[2] X) => (float[N] Y) {
            a = Exp (X)  # scope: m
            b = Concat <axis = 0> (a, a)  # scope: m
            Y = Neg (b)  # scope: m
        }
    """
    other = model.replace("Exp", "Sin").replace("(b)", "(c)").replace("b = ", "c = ")
    assert diff_models(make_model(model), make_model(other)).node_counts == {
        "added": 1, "removed": 1, "changed": 0, "same": 2
    }  # fmt: skip
