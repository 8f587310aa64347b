"""One case for each rule that infers a module from what lies around a node: ``test_rule_<rule>``."""

from __future__ import annotations

import pytest

from modelexport.passes.testing import check, make_model, run_pass

PASS = "context-inheritance"
SQUARE = "= {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}"
BLOCK = f"""
    agraph (float[2,4] X) => (float[2,4] Y)
    <float[4,4] "b.q.weight" {SQUARE}, float[4] "b.q.bias" = {{1,2,3,4}}, float[4,4] w {SQUARE},
     float[4] "b.k.bias" = {{1,2,3,4}}, float[4,4] "c.out.weight" {SQUARE}, float[4] "n.weight" = {{1,2,3,4}},
     float eps = {{1.0}}, int64[1] axes = {{1}}> {{
        q = Gemm (X, "b.q.weight", "b.q.bias")
        m = MatMul (X, w)
        k = Add (m, "b.k.bias")
        t = Transpose (k)
        p = MatMul (q, t)
        s = Softmax (p)
        o = Gemm (s, "c.out.weight")
        r = Mul (o, o)
        v = ReduceMean (r, axes)
        e = Add (v, eps)
        d = Sqrt (e)
        f = Div (o, d)
        Y = Mul (f, "n.weight")
    }}
"""


@pytest.fixture(scope="module")
def block() -> dict[str, tuple[str, str]]:
    """Path and rule by output, in a graph with nothing but parameter names."""
    model = make_model(BLOCK)
    run_pass("scope-attribution", model)
    run_pass(PASS, model)
    found = {node.first_output: node.attribution for node in model.nodes()}
    return {output: (held.path, held.rule) for output, held in found.items() if held is not None}


def test_rule_bias_product(block: dict[str, tuple[str, str]]) -> None:
    """The product that a module's bias is added to is that module's, whatever its weight is called."""
    assert block["m"] == ("b.k", "bias-product")


def test_rule_producers(block: dict[str, tuple[str, str]]) -> None:
    """What reads two modules of one parent, on its way elsewhere, is that parent's."""
    assert block["p"] == block["s"] == ("b", "producers")


def test_rule_norm_growth(block: dict[str, tuple[str, str]]) -> None:
    """What normalises before a module's scale is that module's, from the mean to the division."""
    assert {output: block[output] for output in "rvedf"} == dict.fromkeys("rvedf", ("n", "norm-growth"))
    assert block["o"] == ("c.out", "initializer-name")


def test_rule_constant_consumers() -> None:
    check(
        PASS,
        """
        agraph (float[N] X) => (float[N] Y) {
            one = Constant <value = float {1}> ()
            a = Add (X, one)     # scope: enc.fc
            Y = Mul (a, one)     # scope: enc.fc
        }
        """,
        "one enc.fc inherited/constant-consumers\na enc.fc\nY enc.fc",
    )


def test_rule_constant_common() -> None:
    check(
        PASS,
        """
        agraph (float[N] X) => (float[N] Y) {
            one = Constant <value = float {1}> ()
            a = Add (X, one)     # scope: enc.fc
            Y = Mul (a, one)     # scope: enc.act
        }
        """,
        "one enc inherited/constant-common\na enc.fc\nY enc.act",
    )


SHAPES = """
    agraph (float[N] X, int64[2] I) => (float[M] Y, float[M] Z) {{
        a = Relu (X)           # scope: emb
        s = Shape (a)
        i = Constant <value = int64 {{0}}> ()
        g = Gather (s, i)
        Z = Reshape (a, g)     # scope: {first}
        Y = Expand (Z, g)      # scope: {second}
    }}
"""


def test_rule_shape_consumers() -> None:
    check(
        PASS,
        SHAPES.format(first="enc.view", second="enc.view"),
        "a emb\ns enc.view inherited/shape-consumers\ni enc.view\ng enc.view inherited/shape-consumers\n"
        "Z enc.view\nY enc.view",
    )


def test_rule_shape_common() -> None:
    check(
        PASS,
        SHAPES.format(first="enc.view", second="enc.expand"),
        "a emb\ns enc\ni enc\ng enc inherited/shape-common\nZ enc.view\nY enc.expand",
    )


def test_rule_neighbours() -> None:
    """Data on its way from one module to another is in the one that holds both."""
    check(
        PASS,
        """
        agraph (float[N] X) => (float[N] Y, float[N] Z) {
            a = Relu (X)      # scope: emb.one
            c = Exp (X)       # scope: enc.one
            b = Add (a, c)
            Y = Neg (b)       # scope: enc.two
            Z = Abs (b)       # scope: enc.three
        }
        """,
        "a emb.one\nc enc.one\nb enc inherited/neighbours\nY enc.two\nZ enc.three",
    )


def test_rule_consumers() -> None:
    """Data that only goes to one inner module is prepared by that module's own code."""
    check(
        PASS,
        """
        agraph (float[N] X) => (float[N] Y) {
            a = Relu (X)          # scope: enc.one
            b = Exp (a)
            Y = Neg (b)           # scope: dec.block.two
        }
        """,
        "a enc.one\nb dec.block.two inherited/consumers\nY dec.block.two",
    )


def test_rule_guessed_consumers() -> None:
    """The shape that an inferred node reads is worth what that node is."""
    check(
        PASS,
        """
        agraph (float[N] X) => (float[N] Y) {
            a = Relu (X)          # scope: enc.one
            s = Shape (a)
            b = Reshape (a, s)
            Y = Neg (b)           # scope: enc.two
        }
        """,
        "a enc.one\ns enc.one inherited/guessed-consumers\nb enc.one inherited/producers\nY enc.two",
    )


def test_rule_flattened_product() -> None:
    """Data is flattened to a matrix for a Gemm, and its result gets the shape back: a linear layer's own reshapes."""
    check(
        PASS,
        """
        agraph (float[2,3,4] X, int64[2] flat, int64[3] back) => (float[2,3,4] Y)
        <float[4,4] W = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}> {
            a = Relu (X)                # scope: act
            m = Reshape (a, flat)
            p = Gemm (m, W)             # scope: block.fc
            r = Reshape (p, back)
            Y = Relu (r)                # scope: act
        }
        """,
        """
        a   act        scope
        m   block.fc   inherited/flattened-product
        p   block.fc   scope
        r   block.fc   inherited/flattened-product
        Y   act        scope
        """,
    )


NUMBERED = """
    agraph (float[2,4] X) => (float[2,4] Y)
    <float[4,4] "net.0.weight" = {{1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}},
     float[4,4] "net.{last}.weight" = {{2,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}}, float C = {{2}}> {{
        a = MatMul (X, "net.0.weight")
        {between}
        Y = MatMul (d, "net.{last}.weight")
    }}
"""


@pytest.mark.parametrize(
    ("last", "between", "paths"),
    [
        (2, "d = Tanh (a)", {"d": "net.1"}),
        (3, "d = Tanh (a)", {"d": "net.1"}),  # what ends a step and does nothing any more is last
        (3, "b = Tanh (a) c = Neg (b) d = Mul (c, C)", {"b": "net.1", "c": "net.2", "d": "net.2"}),
        (2, "b = Sigmoid (a) c = Mul (a, b) d = Mul (c, C)", {"b": "net.1", "c": "net.1", "d": "net.1"}),
        (6, "d = Tanh (a)", {}),  # too far from each other to be one list's neighbours
        (3, "b = Neg (a) c = Exp (b) d = Tanh (c)", {"b": "net.1", "c": "net.1", "d": "net.2"}),
    ],
)
def test_rule_missing_number(last: int, between: str, paths: dict[str, str]) -> None:
    """A number that is missing in a list is of a module without parameters: what lies between the others is its."""
    model = make_model(NUMBERED.format(last=last, between=between))
    run_pass("parameter-attribution", model)
    run_pass("context-inheritance", model)
    found = {node.first_output: node.attribution for node in model.nodes()}
    assert {value: each.path for value, each in found.items() if each.rule == "missing-number"} == paths


RECURRENT = """
    agraph (float[2,1,4] X, float[1,16,4] W, float[1,16,4] R) => (float[2,1,4] Y) {{
        a = {before} (X)         # scope: {scope}
        h = LSTM <hidden_size = 4> (a, W, R)
        s = Squeeze (h)
        Y = Neg (s)              # scope: net.head
    }}
"""


def test_rule_recurrent() -> None:
    """A recurrent operator that nothing names is in what holds all around it, with what gives its result a shape."""
    check(
        PASS,
        RECURRENT.format(before="Softmax", scope="net.emb"),
        "a net.emb\nh net inherited/recurrent\ns net inherited/recurrent\nY net.head",
    )


def test_rule_recurrent_scope() -> None:
    """A module on record that only moves data before a recurrent operator is the one that computes."""
    check(
        PASS,
        RECURRENT.format(before="Transpose", scope="net.lstm"),
        "a net.lstm\nh net.lstm inherited/recurrent-scope\ns net.lstm inherited/recurrent-scope\nY net.head",
    )


def test_rule_owner() -> None:
    check(
        PASS,
        """
        agraph (float[N] X, bool C) => (float[N] Y) {
            Y = If (C) <    # scope: enc
              then_branch = t () => (float[N] u) { u = Relu (X) },
              else_branch = e () => (float[N] v) { v = Neg (X) }>
        }
        """,
        "u enc inherited/owner\nv enc inherited/owner\nY enc",
    )


def test_rule_caller() -> None:
    check(
        PASS,
        """
        <ir_version: 10, opset_import: ["" : 18, "local" : 1]>
        agraph (float[N] X) => (float[N] Y) {
            a = local.fn (X)    # scope: enc.x
            Y = local.fn (a)    # scope: enc.y
        }
        <domain: "local", opset_import: ["" : 18]>
        fn (p) => (q) {
            q = Neg (p)
        }
        """,
        "a enc.x\nY enc.y\nq enc inherited/caller",
    )


def test_rule_nearest_ancestor() -> None:
    check(
        "fallback-tagging",
        """
        agraph (float[N] X, bool C) => (float[N] Y) {
            Y = If (C) <    # scope: enc
              then_branch = t () => (float[N] u) { u = Relu (X) },
              else_branch = e () => (float[N] v) { v = Neg (X) }>
        }
        """,
        "u enc fallback/nearest-ancestor\nv enc fallback/nearest-ancestor\nY enc",
    )


def test_rule_root() -> None:
    check("fallback-tagging", "g (float[N] X) => (float[N] Y) {\n Y = Relu (X)\n}", "Y . fallback/root")
