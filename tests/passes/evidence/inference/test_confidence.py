"""Confidence of guesses: what lies around a node, and how the shipped numbers follow it."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelexport.ir.errors import ConfigError
from modelexport.passes import PassManager
from modelexport.passes.context_inheritance import ContextInheritance
from modelexport.passes.evidence.inference.calibration import CalibrationContext
from modelexport.passes.evidence.inference.confidence import CHOSEN, MEASURED, confidence, estimate, names, numbers
from modelexport.passes.evidence.inference.situation import PLACED, UNPLACED, Place, Situation, fit, twentieths
from modelexport.passes.testing import make_model, run_pass

DATA = json.loads((files("modelexport.passes.evidence.inference") / "confidence.json").read_text(encoding="utf-8"))

_CHAIN = """
    agraph (float[2,4] X) => (float[2,4] Y)
    <float[4,4] "{a}" = {{1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}},
     float[4,4] "{b}" = {{1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,1}},
     float[4,4] "enc.in.weight" = {{2,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}},
     float[4,4] "enc.out.weight" = {{3,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}}> {{
        i = MatMul (X, "enc.in.weight")
        p = MatMul (i, "{a}")
        s = Softmax (p)
        q = MatMul (s, "{b}")
        Y = MatMul (q, "enc.out.weight")
    }}
"""


def situations(text: str) -> dict[str, Situation]:
    """What the guesses of a model rest on, by value."""
    model = make_model(text)
    run_pass("scope-attribution", model)
    context = CalibrationContext()
    PassManager([ContextInheritance()], context=context, assume=ContextInheritance.requires).run(model)
    found = context.situations
    return {node.first_output: found[node] for node in model.nodes() if node in found}


def test_what_lies_around_a_node() -> None:
    named = situations(_CHAIN.format(a="enc.p.weight", b="enc.q.weight"))
    assert named["s"].place == Place("Softmax", 2, False, PLACED, PLACED, 1, 1, 1, 1)
    assert named["s"].placed == 20 and set(named) == {"s"}
    bare = situations(_CHAIN.format(a="w1", b="w2"))
    assert set(bare) == {"p", "s", "q"}
    assert bare["p"].place.unplaced and bare["q"].place.unplaced and not bare["s"].place.unplaced
    assert (bare["s"].place.before, bare["s"].place.after) == (UNPLACED, UNPLACED)
    assert (bare["p"].place.before, bare["p"].place.after) == (PLACED, UNPLACED)
    assert bare["p"].placed == 10


def test_guesses_for_what_no_name_is_on_are_trusted_less() -> None:
    named = situations(_CHAIN.format(a="enc.p.weight", b="enc.q.weight"))
    bare = situations(_CHAIN.format(a="w1", b="w2"))
    assert estimate(bare["p"]) < 0.3 and estimate(bare["q"]) < 0.3
    assert estimate(bare["s"]) < estimate(named["s"])


def test_a_transposed_or_dequantised_weight_counts_as_one() -> None:
    found = situations("""
        agraph (float[2,4] X) => (float[2,4] Y)
        <int8[4,4] w = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}, float scale = {0.5},
         float[4] "n.weight" = {1,2,3,4}> {
            d = DequantizeLinear (w, scale)
            t = Transpose (d)
            m = MatMul (X, t)
            e = Exp (m)
            Y = Mul (e, "n.weight")
        }
    """)
    assert found["m"].place.unplaced and not found["e"].place.unplaced and not found["t"].place.unplaced


def test_a_guess_taken_from_another_knows_it() -> None:
    found = situations("""
        agraph (float[2,4] X) => (float[2,4] Y)
        <float[4] "a.weight" = {1,2,3,4}, float[4] "b.weight" = {2,2,3,4}, int64[1] first = {0}> {
            i = Mul (X, "a.weight")
            s = Shape (i)
            g = Gather (s, first)
            r = Reshape (i, g)
            Y = Mul (r, "b.weight")
        }
    """)
    assert found["r"].by_rule == found["r"].rule and found["r"].by_place == found["r"].place
    assert found["g"].rule == "guessed-consumers" and found["g"].by_place == found["r"].place
    assert found["s"].by_rule == found["r"].rule


def test_a_body_computes_with_nameless_weights_of_the_graph_around_it() -> None:
    text = """
        agraph (float[4,4] X, bool C) => (float[4,4] Y) <float[4,4] {w} = {{1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}}> {{
            ["/enc/If"] Y = If (C) <
                then_branch = t () => (float[4,4] t) {{ ["/enc/Exp"] e = Exp (X)  t = MatMul (e, {w}) }},
                else_branch = f () => (float[4,4] f) {{ ["/enc/Neg"] f = Neg (X) }}
            >
        }}
    """
    assert situations(text.format(w="w"))["t"].place.unplaced
    assert "t" not in situations(text.format(w='"enc.p.weight"'))


@pytest.mark.parametrize(
    ("path", "others", "expected"),
    [
        ("a", (), 0),
        ("a.b", ("c", "a.b"), 1),
        ("a", ("a.b",), 2),
        ("", ("a",), 2),
        ("a", ("a.b.c",), 3),
        ("", ("a.b",), 3),
        ("a", ("ab.c", "b"), 4),
    ],
)
def test_how_a_guess_lies_to_the_modules_around(path: str, others: tuple[str, ...], expected: int) -> None:
    assert fit(path, others) == expected


def test_twentieths() -> None:
    assert (twentieths(0, 0), twentieths(0, 3), twentieths(1, 3), twentieths(3, 3)) == (20, 0, 7, 20)


def test_the_shipped_trees_use_features_that_there_are() -> None:
    place = Place("Add", 2, False, 1, 1, 1, 1, 2, 1)
    count = len(numbers(Situation("neighbours", place, "neighbours", place, 20, 20, 1, 1, 2, 2, 3), {
        kind: {} for kind in DATA["situations"]["levels"]
    }))  # fmt: skip
    waiting = list(DATA["situations"]["trees"])
    assert len(waiting) >= 100
    used = set()
    while waiting:
        tree = waiting.pop()
        if isinstance(tree, list):
            feature, threshold, low, high = tree
            assert 0 <= feature < count and isinstance(threshold, float | int)
            used.add(feature)
            waiting += [low, high]
        else:
            assert -20 < tree < 20
    assert len(used) > 10


_PLACES = st.builds(
    Place,
    st.sampled_from(("Add", "Relu", "NoSuchOperator", "")),
    st.integers(0, 2),
    st.booleans(),
    st.integers(0, 3),
    st.integers(0, 3),
    st.integers(0, 5),
    st.integers(0, 5),
    st.integers(0, 3),
    st.integers(0, 3),
)
_RULES = st.sampled_from(("neighbours", "producers", "consumers", "guessed-consumers", "of-tomorrow"))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.builds(
        Situation,
        _RULES,
        _PLACES,
        _RULES,
        _PLACES,
        st.integers(0, 20),
        st.integers(0, 20),
        st.integers(0, 4),
        st.integers(0, 4),
        st.integers(0, 4),
        st.integers(0, 4),
        st.integers(0, 6),
    )
)
def test_every_situation_has_a_confidence(situation: Situation) -> None:
    assert 0 <= estimate(situation) <= 1
    assert names(situation).keys() == DATA["situations"]["levels"].keys()


def test_no_number_of_a_situation_names_a_module() -> None:
    """Levels are of rules, operator types and codes only: nothing may depend on how modules are called."""
    levels = DATA["situations"]["levels"]
    for kind in ("around", "around by"):
        assert all(len(name.split()) == 4 and name.split()[0] in levels["by"] | levels["rule"] for name in levels[kind])
    assert all(name.isidentifier() for name in levels["operator"] | levels["by operator"])


def test_every_rule_has_a_share() -> None:
    with pytest.raises(ConfigError, match="no confidence for rule 'no-such-rule'; pass confidence=, or add the rule"):
        confidence("no-such-rule")
    assert confidence("owner") == CHOSEN["owner"] and not CHOSEN.keys() & MEASURED.keys()
    assert all(0 <= share <= 1 for share in DATA["rules"].values())
