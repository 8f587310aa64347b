"""A model as a chain of stages."""

from __future__ import annotations

import numpy as np
import pytest

from modelexport.ir.errors import ConfigError
from modelexport.ir.model import Model
from modelexport.passes.partition.extraction import Piece
from modelexport.passes.partition.stages import split_chain
from modelexport.passes.partition.verification import verify
from modelexport.passes.running.session import as_ort_values
from modelexport.passes.testing import make_model

SKIPS = """
    # module: a  my.Block calls=2
    # module: b  my.Block
    # module: c  my.Block
    g (float[N,2] X, float[N,2] unused) => (float[N,2] Y, float[2] fixed, float[N,2] early) <float[2] W = {1, 2}> {
        [double] fixed = Add (W, W)        # scope: .
        [first] early = Mul (X, fixed)     # scope: .
        [a0] p = Exp (early)               # scope: a
        [b0] q = Mul (p, fixed)            # scope: b
        [side] z = Neg (X)                 # scope: .
        [c0] r = Add (q, early)            # scope: c
        [last] Y = Add (r, z)              # scope: .
    }
"""


def node_names(piece: Piece) -> list[str]:
    return [node.name for node in piece.model.main.nodes]


def feeds(model: Model, **arrays: np.ndarray) -> dict[str, object]:
    return as_ort_values(arrays, {})


def test_stages_hold_what_depends_on_their_module() -> None:
    chain = split_chain(make_model(SKIPS), ["b", "c"])
    assert [node_names(stage) for stage in chain.stages] == [
        ["double", "first", "a0", "side"],
        ["double", "b0"],
        ["c0", "last"],
    ]
    assert [stage.model.main.inputs for stage in chain.stages] == [["X"], ["p"], ["early", "q", "z"]]
    assert chain.sources == ({"X": "input"}, {"p": 0}, {"early": 0, "q": 1, "z": 0})
    assert chain.stages[0].model.main.outputs == ["fixed", "early", "p", "z"]
    assert chain.outputs == (("Y", 2), ("fixed", 0), ("early", 0))


def test_running_the_stages_gives_the_bits_of_the_whole() -> None:
    whole = make_model(SKIPS)
    chain = split_chain(whole, ["b", "c"])
    rows = np.random.default_rng(0).standard_normal((3, 2), np.float32)
    found = verify(whole, chain.stages, feeds(whole, X=rows, unused=rows))
    assert found.compared == 6 and found.different == () and not found.unverifiable


def test_a_wrong_stage_is_noticed() -> None:
    whole = make_model(SKIPS)
    chain = split_chain(whole, ["b", "c"])
    wrong = make_model(SKIPS.replace("Exp", "Tanh"))
    rows = np.random.default_rng(0).standard_normal((3, 2), np.float32)
    assert verify(wrong, chain.stages, feeds(whole, X=rows, unused=rows)).different == ("p",)


def test_random_operators_are_not_verifiable() -> None:
    text = """
        g (float[2] X) => (float[2] Y) {
            n = RandomNormalLike (X)    # scope: a
            Y = Add (X, n)              # scope: b
        }
    """
    chain = split_chain(make_model(text), ["b"])
    assert "random" in verify(make_model(text), chain.stages, {}).unverifiable


@pytest.mark.parametrize(
    ("at", "message"),
    [
        (["c", "b"], "c depends on b: name them in the order"),
        (["b", "b"], "the stage at b would be empty"),
        (["."], "the stage before . would be empty"),
        (["d"], "no module 'd'"),
        ([], "nothing to split at"),
    ],
)
def test_cuts_that_make_no_chain_are_refused(at: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        split_chain(make_model(SKIPS), at)


INDEPENDENT_PART = """
    g (float[2] X, float[2] M) => (float[2] Y) {
        [n0] o = Relu (X)        # scope: .
        [mask] m = Neg (M)       # scope: layer.1
        [n1] p = Exp (o)         # scope: layer.0
        [n2] Y = Add (p, m)      # scope: layer.1
    }
"""


def test_a_part_that_reads_nothing_does_not_hide_the_wrong_order() -> None:
    assert len(split_chain(make_model(INDEPENDENT_PART), ["layer.0", "layer.1"]).stages) == 3
    with pytest.raises(ConfigError, match=r"layer\.1 depends on layer\.0: name them in the order"):
        split_chain(make_model(INDEPENDENT_PART), ["layer.1", "layer.0"])


def test_modules_that_read_each_other_are_cut_in_either_order() -> None:
    text = """
        g (float[2] X, float[2] M) => (float[2] Y) {
            [n0] o = Relu (X)     # scope: .
            [n1] p = Exp (o)      # scope: a
            [n2] q = Neg (p)      # scope: b
            [n3] r = Tanh (q)     # scope: a
            [n4] s = Relu (r)     # scope: b
            [n5] t = Neg (M)      # scope: b
            [n6] Y = Add (s, t)   # scope: .
        }
    """
    for at, second in ((["a", "b"], ["n1"]), (["b", "a"], ["n5"])):
        assert [node_names(stage) for stage in split_chain(make_model(text), at).stages][1] == second


def test_a_module_can_be_cut_inside() -> None:
    text = """
        g (float[2] X) => (float[2] Y) {
            [n0] o = Relu (X)     # scope: .
            [n1] p = Relu (o)     # scope: enc.0
            [n2] q = Exp (p)      # scope: enc.1
            [n3] Y = Neg (q)      # scope: enc.2
        }
    """
    chain = split_chain(make_model(text), ["enc", "enc.1"])
    assert [node_names(stage) for stage in chain.stages] == [["n0"], ["n1"], ["n2", "n3"]]
