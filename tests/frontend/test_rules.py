"""One case for each rule that an export itself gives: scopes, watched calls, copies, holders of weights."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import nn

from modelexport.frontend.export.attributing import DOUBT, Evidence, apply_scopes
from modelexport.frontend.torch.owners import WeightOwners
from modelexport.frontend.trace.naming import ModuleNames
from modelexport.ir import Model
from modelexport.ir.modules import Module
from modelexport.passes.testing import assert_attributions, make_model


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc, self.act, self.norm = nn.Linear(2, 2), nn.Tanh(), nn.BatchNorm1d(2)
        self.other = nn.Linear(2, 2)


@pytest.fixture(scope="module")
def owners() -> WeightOwners:
    torch.manual_seed(0)
    return WeightOwners(ModuleNames(Net()))


def applied(text: str, paths: Mapping[str, str], owners: WeightOwners | None = None, *, watched: bool = True) -> Model:
    model = make_model(text)
    for path in ("", "fc", "act", "norm", "other"):
        model.modules.add(Module(path, "my.Net" if not path else f"torch.nn.{path.capitalize()}", calls=1))
    apply_scopes(model, Evidence(paths, owners=owners, watched=watched))
    return model


PRODUCT = """
    agraph (float[2,2] X) => (float[2,2] Y) <float[2,2] "fc.weight" = {1,2,3,4}, float[2] "fc.bias" = {1,2}> {
        a = Gemm (X, "fc.weight", "fc.bias")%s
        Y = Tanh (a)
    }
"""


def test_rule_exporter_scope() -> None:
    assert_attributions(applied(PRODUCT % "", {"a": "fc"}), "a fc scope/exporter-scope 1.00\nY -")


def test_rule_watched_call() -> None:
    """The call that was watched says otherwise than what torch wrote into the node."""
    text = PRODUCT % "  # meta: pkg.torch.onnx.name_scopes=['', 'other', 'linear']"
    assert_attributions(applied(text, {"a": "fc"}), "a fc scope/watched-call 1.00\nY -")
    assert_attributions(applied(text, {"a": "other"}), "a -\nY -")  # the same: left to the passes


def test_rule_parameter_copy() -> None:
    """torch merges equal parameters and keeps the others as copies: each is its reader's, or its owner's."""
    text = """
        agraph (float[2] X) => (float[2] Y) <float[2] "fc.bias" = {1,2}> {
            "other.bias" = Identity ("fc.bias")
            "norm.bias" = Identity ("fc.bias")
            a = Add (X, "other.bias")
            b = Add (a, "norm.bias")
            Y = Mul (b, "norm.bias")
        }
    """
    assert_attributions(
        applied(text, {"a": "other", "b": "act", "Y": "fc"}),
        "other.bias other parameter/parameter-copy 1.00\nnorm.bias norm parameter/parameter-copy 1.00\n...",
    )


def test_rule_folded_norm(owners: WeightOwners) -> None:
    """An exporter folds a norm into the product before it, which is the product's module's."""
    assert_attributions(applied(PRODUCT % "", {"a": "norm"}, owners), "a fc scope/folded-norm 1.00\n...")


def test_rule_weight_holder(owners: WeightOwners) -> None:
    """No call confirms the record; the holder of the weights decides."""
    model = applied(PRODUCT % "", {"a": "other"}, owners, watched=False)
    assert_attributions(model, "a fc parameter/weight-holder 1.00\n...")


def test_rule_unconfirmed_scope(owners: WeightOwners) -> None:
    """No call confirms the record, no weight is read, and there are no neighbours: a guess, and no more."""
    text = 'agraph (float[2,2] X) => (float[2,2] Y) {\n ["/act/Exp"] Y = Exp (X)\n}'
    model = applied(text, {"Y": "act"}, owners, watched=False)
    assert_attributions(model, f"Y act scope/unconfirmed-scope {DOUBT:.2f}")
