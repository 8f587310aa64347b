"""scope-attribution where two modules are spelled alike or have one set of weights."""

from __future__ import annotations

from modelexport.passes.testing import check

PASS = "scope-attribution"


def test_a_name_that_is_also_a_further_call_is_told_apart_by_parameters() -> None:
    """`fc_1` is a module and the second call of `fc`: nodes without parameters are with what they compute from."""
    check(
        PASS,
        """
        agraph (float[4] X) => (float[4] Y)
        <float[4] "b.fc.w" = {1,2,3,4}, float[4] "b.fc_1.w" = {1,2,1,1}, float[4] w2 = {2,2,3,4}> {
            ["/b/fc/Mul"] a = Mul (X, "b.fc.w")
            ["/b/fc_1/Mul"] b = Mul (X, w2)
            ["/b/fc_1/Add"] c = Add (b, "b.fc_1.w")
            ["/b/Add"] d = Add (a, c)
            ["/b/fc_1/Mul_1"] e = Mul (d, "b.fc.w")
            ["/b/fc_1/Tanh"] Y = Tanh (e)
        }
        """,
        {"a": "b.fc", "b": "b.fc_1", "c": "b.fc_1", "d": "b", "e": "b.fc", "Y": "b.fc"},
    )


def test_children_of_such_modules_are_told_apart_too() -> None:
    check(
        PASS,
        """
        agraph (float[4] X) => (float[4] Y)
        <float[4] "h.op.in.w" = {1,2,3,4}, float[4] "h.op_1.in.w" = {1,2,1,1}> {
            ["/op/in/Mul"] a = Mul (X, "h.op.in.w")
            ["/op_1/in/Mul"] b = Mul (a, "h.op_1.in.w")
            ["/op_1/in/Mul_1"] c = Mul (b, "h.op.in.w")
            ["/op_1/in/Relu"] Y = Relu (c)
        }
        """,
        {"a": "h.op.in", "b": "h.op_1.in", "c": "h.op.in", "Y": "h.op.in"},
    )


def test_copies_of_a_module_whose_weights_were_merged_keep_their_names() -> None:
    """All of `layers.1` reads weights of `layers.0`: it is a copy of it. One shared child is a shared module."""
    check(
        PASS,
        """
        agraph (float[4] X) => (float[4] Y)
        <float[4] "e.layers.0.fc.b" = {1,2,3,4}, float[4] "e.layers.0.out.b" = {1,2,1,1},
         float[4] "s.0.fc.b" = {1,1,3,4}, float[4] "s.1.norm.b" = {1,1,1,4}> {
            ["/e/layers.0/fc/Add"] a = Add (X, "e.layers.0.fc.b")
            ["/e/layers.0/out/Add"] b = Add (a, "e.layers.0.out.b")
            ["/e/layers.1/fc/Add"] c = Add (b, "e.layers.0.fc.b")
            ["/e/layers.1/fc/Relu"] d = Relu (c)
            ["/e/layers.1/out/Add"] e = Add (d, "e.layers.0.out.b")
            ["/s.0/fc/Add"] f = Add (e, "s.0.fc.b")
            ["/s.1/fc/Add"] g = Add (f, "s.0.fc.b")
            ["/s.1/norm/Add"] Y = Add (g, "s.1.norm.b")
        }
        """,
        {
            "a": "e.layers.0.fc",
            "b": "e.layers.0.out",
            "c": "e.layers.1.fc",
            "d": "e.layers.1.fc",
            "e": "e.layers.1.out",
            "f": "s.0.fc",
            "g": "s.0.fc",
            "Y": "s.1.norm",
        },
    )


def test_a_copied_parameter_is_from_where_it_is_used() -> None:
    """A module that computes with its child's parameters itself has their copies; the child's own readers don't."""
    check(
        PASS,
        """
        agraph (float[4] X) => (float[4] Y)
        <float[4] "a.out.bias" = {1,2,3,4}> {
            "b.out.bias" = Identity ("a.out.bias")
            "c.out.bias" = Identity ("a.out.bias")
            ["/b/Add"] u = Add (X, "b.out.bias")
            ["/c/out/Add"] Y = Add (u, "c.out.bias")
        }
        """,
        """
        b.out.bias   -
        c.out.bias   c.out   parameter/initializer-name
        u            b
        Y            c.out
        """,
    )
