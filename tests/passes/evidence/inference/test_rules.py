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


@pytest.mark.parametrize(
    ("last", "after", "paths"),
    [
        (2, "e = Tanh (Y) Z = Neg (e)", {"e": "net.3"}),  # what a missing item does, done once more
        (2, "e = Tanh (Y) f = Tanh (e) Z = Neg (f)", {"e": "net.3", "f": "net.4"}),
        (2, "e = Neg (Y) Z = Tanh (e)", {}),  # another step than the missing item's
        (1, "e = Tanh (Y) Z = Neg (e)", {}),  # no number is missing
    ],
)
def test_rule_next_number(last: int, after: str, paths: dict[str, str]) -> None:
    """After the last item of a list, what does the same as a missing item of that list is the next item."""
    text = NUMBERED.format(last=last, between="d = Tanh (a)").replace("=> (float[2,4] Y)", "=> (float[2,4] Z)")
    model = make_model(text.replace('.weight")\n    }', f'.weight")\n        {after}\n    }}'))
    run_pass("parameter-attribution", model)
    run_pass("context-inheritance", model)
    found = {node.first_output: node.attribution for node in model.nodes()}
    assert {value: each.path for value, each in found.items() if each.rule == "next-number"} == paths


CELL = f"""
    agraph (float[2,4] X, float[2,4] H) => (float[2,4] Y)
    <float[4,4] "net.cell.weight_ih" {SQUARE}, float[4,4] "net.cell.weight_hh" {SQUARE},
     float[4,4] "net.out.weight" {SQUARE}> {{
        i = MatMul (X, "net.cell.weight_ih")
        s = Sigmoid (i)
        j = SECOND
        g = Tanh (j)
        m = Mul (s, g)
        r = Neg (AWAY)
        h = Add (m, r)
        a = Abs (h)
        Y = MatMul (a, "net.out.weight")
    }}
"""


@pytest.mark.parametrize(
    ("second", "away", "inside"),
    [
        ('MatMul (H, "net.cell.weight_hh")', "g", "sgmrh"),
        ('MatMul (H, "net.cell.weight_hh")', "X", "sgm"),
        ('MatMul (H, "net.cell.weight_ih")', "g", ""),  # two calls of one module
        ('MatMul (H, "net.out.weight")', "g", ""),  # of two modules
    ],
)
def test_rule_own_products(second: str, away: str, inside: str) -> None:
    """What joins the products of a module's own weights is that module's, up to where all their data meets."""
    model = make_model(CELL.replace("SECOND", second).replace("AWAY", away))
    run_pass("parameter-attribution", model)
    run_pass("context-inheritance", model)
    found = {node.first_output: node.attribution for node in model.nodes()}
    assert {value for value, each in found.items() if each.rule == "own-products"} == set(inside)
    assert not inside or {found[value].path for value in f"{inside}a"} == {"net.cell", "net"}


def test_a_normalisation_of_groups_is_one_module() -> None:
    """As torch.export writes it: weights are cast like the data, along axes that are counted up."""
    model = make_model(
        """
        agraph (float[1,4,2,2] X) => (float[1,4,2,2] Y)
        <float[4,4,1,1] "net.conv.weight" = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}, float[4] "net.norm.weight" =
         {1,2,3,4}, float[4] "net.norm.bias" = {4,3,2,1}, float[2] ones = {1,1}, float[2] zeros = {0,0},
         int64 from = {1}, int64 to = {3}, int64 by = {1}, int64[3] groups = {0,2,-1}> {
            c = Conv (X, "net.conv.weight")
            r = Reshape (c, groups)
            s = CastLike (ones, c)
            n = InstanceNormalization (r, s, zeros)
            size = Shape (c)
            b = Reshape (n, size)
            axes = Range (from, to, by)
            u = Unsqueeze ("net.norm.weight", axes)
            v = Unsqueeze ("net.norm.bias", axes)
            w = CastLike (u, b)
            m = Mul (b, w)
            o = CastLike (v, m)
            d = Add (m, o)
            Y = Relu (d)
        }
        """
    )
    run_pass("scope-attribution", model)
    check(
        PASS,
        model,
        """
        c      net.conv   parameter/initializer-name
        r      net.norm   inherited/norm-growth
        s      net.norm   inherited/constant-consumers
        n      net.norm   inherited/norm-growth
        size   net.norm   inherited/shape-consumers
        b      net.norm   inherited/norm-growth
        axes   net.norm   inherited/constant-consumers
        u      net.norm   parameter/initializer-name
        v      net.norm   parameter/initializer-name
        w      net.norm   parameter/initializer-name
        m      net.norm   parameter/initializer-name
        o      net.norm   parameter/initializer-name
        d      net.norm   parameter/initializer-name
        Y      net        inherited/producers
        """,
    )


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
