"""Modules of holders without scopes of their own, which TorchScript numbers like calls of one module."""

from __future__ import annotations

from modelexport.passes.testing import check, make_model, run_pass

PASS = "scope-attribution"


def _weights(*names: str) -> str:
    """Initializers of different values."""
    return ", ".join(f'float[4] "{name}" = {{{number},2,3,4}}' for number, name in enumerate(names))


def test_modules_of_like_holders_are_numbered_like_calls() -> None:
    """`layer.forward(x)` leaves no scope of the layer: what is in the second one is spelled like a second call."""
    check(
        PASS,
        f"""
        agraph (float[4] X) => (float[4] Y)
        <{_weights(*(f"enc.layer.{number}.{name}.weight" for number in (0, 1) for name in ("att.q", "ff.l")))}> {{
            ["/enc/att/q/Mul"] a = Mul (X, "enc.layer.0.att.q.weight")
            ["/enc/att/act/Exp"] b = Exp (a)
            ["/enc/att/Neg"] c = Neg (b)
            ["/enc/ff/l/Mul"] d = Mul (c, "enc.layer.0.ff.l.weight")
            ["/enc/ff/act/Exp"] e = Exp (d)
            ["/enc/att/q_1/Mul"] f = Mul (e, "enc.layer.1.att.q.weight")
            ["/enc/att/act_1/Exp"] g = Exp (f)
            ["/enc/att_1/Neg"] h = Neg (g)
            ["/enc/ff/l_1/Mul"] i = Mul (h, "enc.layer.1.ff.l.weight")
            ["/enc/ff/act_1/Exp"] Y = Exp (i)
        }}
        """,
        {
            "a": "enc.layer.0.att.q",
            "b": "enc.layer.0.att.act",
            "c": "enc.layer.0.att",
            "d": "enc.layer.0.ff.l",
            "e": "enc.layer.0.ff.act",
            "f": "enc.layer.1.att.q",
            "g": "enc.layer.1.att.act",
            "h": "enc.layer.1.att",
            "i": "enc.layer.1.ff.l",
            "Y": "enc.layer.1.ff.act",
        },
    )


def test_holders_with_scopes_have_no_further_calls_elsewhere() -> None:
    """A module of the root called as often as blocks with one of that name are: the blocks' have the block's scope."""
    check(
        PASS,
        f"""
        agraph (float[4] X) => (float[4] Y) <{_weights("blocks.0.norm.weight", "blocks.1.norm.weight")}> {{
            ["/blocks.0/norm/Mul"] a = Mul (X, "blocks.0.norm.weight")
            ["/norm/Exp"] b = Exp (a)
            ["/blocks.1/norm/Mul"] c = Mul (b, "blocks.1.norm.weight")
            ["/norm_1/Exp"] Y = Exp (c)
        }}
        """,
        {"a": "blocks.0.norm", "b": "norm", "c": "blocks.1.norm", "Y": "norm"},
    )


def test_parameters_say_in_which_order_holders_are_called() -> None:
    """A dictionary of modules is called in the order of the caller's code, not of the alphabet; one twice."""
    check(
        PASS,
        f"""
        agraph (float[4] X) => (float[4] Y) <{_weights("t.text.att.q.weight", "t.audio.att.q.weight")}> {{
            ["/att/q/Mul"] a = Mul (X, "t.text.att.q.weight")
            ["/att/act/Exp"] b = Exp (a)
            ["/att/Neg"] c = Neg (b)
            ["/att/q_1/Mul"] d = Mul (c, "t.audio.att.q.weight")
            ["/att/act_1/Exp"] e = Exp (d)
            ["/att_1/Neg"] f = Neg (e)
            ["/att/q_2/Mul"] g = Mul (f, "t.text.att.q.weight")
            ["/att/act_2/Exp"] h = Exp (g)
            ["/att_2/Neg"] Y = Neg (h)
        }}
        """,
        {
            "a": "t.text.att.q",
            "b": "t.text.att.act",
            "c": "t.text.att",
            "d": "t.audio.att.q",
            "e": "t.audio.att.act",
            "f": "t.audio.att",
            "g": "t.text.att.q",
            "h": "t.text.att.act",
            "Y": "t.text.att",
        },
    )


def test_a_module_called_twice_in_each_of_like_holders() -> None:
    check(
        PASS,
        f"""
        agraph (float[4] X) => (float[4] Y) <{_weights("l.0.att.q.weight", "l.1.att.q.weight")}> {{
            ["/att/q/Mul"] a = Mul (X, "l.0.att.q.weight")
            ["/att/act/Exp"] b = Exp (a)
            ["/att/act_1/Exp"] c = Exp (b)
            ["/att/q_1/Mul"] d = Mul (c, "l.1.att.q.weight")
            ["/att/act_2/Exp"] e = Exp (d)
            ["/att/act_3/Exp"] Y = Exp (e)
        }}
        """,
        {
            "a": "l.0.att.q",
            "b": "l.0.att.act",
            "c": "l.0.att.act",
            "d": "l.1.att.q",
            "e": "l.1.att.act",
            "Y": "l.1.att.act",
        },
    )


def test_an_order_that_no_parameter_tells_is_said_to_be_a_guess() -> None:
    check(
        PASS,
        f"""
        agraph (float[4] X) => (float[4] Y)
        <float[4] w1 = {{1,2,3,4}}, float[4] w2 = {{2,2,3,4}}, {_weights("l.0.fc.bias", "l.1.fc.bias")}> {{
            ["/fc/Mul"] a = Mul (X, w1)
            ["/fc_1/Mul"] b = Mul (a, w2)
            z = Add (b, "l.0.fc.bias")
            Y = Add (z, "l.1.fc.bias")
        }}
        """,
        """
        a   l.0.fc   scope/call-number
        b   l.1.fc   scope/call-number
        z   l.0.fc   parameter
        Y   l.1.fc   parameter
        """,
    )


def test_digits_of_other_scripts_are_names() -> None:
    model = make_model(f"""
        agraph (float[4] X) => (float[4] Y) <{_weights("l.².fc.bias", "l.³.fc.bias")}> {{
            ["/fc/Mul"] a = Mul (X, "l.².fc.bias")
            ["/fc_1/Mul"] Y = Mul (a, "l.³.fc.bias")
        }}
    """)
    for graph in model.graphs():
        assert graph.initializers == ["l.².fc.bias", "l.³.fc.bias"]
    run_pass(PASS, model)
    assert [node.attribution and node.attribution.path for node in model.nodes()] == ["l.².fc", "l.³.fc"]


def test_a_number_that_is_part_of_a_name() -> None:
    """Every holder has `mlp` and `mlp_1`; what is in `/mlp_1` can't be of a further call of `mlp`."""
    check(
        PASS,
        f"""
        agraph (float[4] X) => (float[4] Y)
        <{_weights(*(f"l.{number}.{name}.n.weight" for number in (0, 1) for name in ("mlp", "mlp_1")))}> {{
            ["/mlp/n/Mul"] a = Mul (X, "l.0.mlp.n.weight")
            ["/mlp_1/n/Mul"] b = Mul (a, "l.0.mlp_1.n.weight")
            ["/mlp/n_1/Mul"] c = Mul (b, "l.1.mlp.n.weight")
            ["/mlp_1/n_1/Mul"] Y = Mul (c, "l.1.mlp_1.n.weight")
        }}
        """,
        {"a": "l.0.mlp.n", "b": "l.0.mlp_1.n", "c": "l.1.mlp.n", "Y": "l.1.mlp_1.n"},
    )


def test_what_only_some_holders_have_is_said_to_be_a_guess() -> None:
    model = check(
        PASS,
        f"""
        agraph (float[4] X) => (float[4] Y)
        <{_weights("l.0.att.q.weight", "l.1.att.q.weight", "l.2.att.q.weight")}> {{
            ["/att/q/Mul"] a = Mul (X, "l.0.att.q.weight")
            ["/att/q_1/Mul"] b = Mul (a, "l.1.att.q.weight")
            ["/att/act/Exp"] c = Exp (b)
            ["/att/q_2/Mul"] d = Mul (c, "l.2.att.q.weight")
            ["/att/act_1/Exp"] Y = Exp (d)
        }}
        """,
        {"a": "l.0.att.q", "b": "l.1.att.q", "c": "l.0.att.act", "d": "l.2.att.q", "Y": "l.0.att.act"},
    )
    rules = {node.first_output: node.attribution.rule for node in model.nodes() if node.attribution is not None}
    assert rules["c"] == rules["Y"] == "call-number" and rules["b"] == "node-name"
