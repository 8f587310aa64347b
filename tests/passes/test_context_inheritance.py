"""context-inheritance: open nodes follow what is around them."""

from __future__ import annotations

import pytest

from modelexport.ir.errors import PipelineError
from modelexport.ir.io.writer import to_bytes
from modelexport.passes import Pipeline
from modelexport.passes.evidence.inference.confidence import confidence
from modelexport.passes.testing import check, make_model, run_pass

PASS = "context-inheritance"


def test_constants_follow_their_readers() -> None:
    check(
        PASS,
        """
        agraph (float[N] X) => (float[N] Y) {
            one = Constant <value = float {1}> ()
            two = Constant <value = float {2}> ()
            a = Add (X, one)     # scope: enc.layer.0.fc
            b = Add (a, two)     # scope: enc.layer.0.fc
            Y = Mul (b, two)     # scope: enc.layer.0.act
        }
        """,
        """
        one   enc.layer.0.fc   inherited/constant-consumers
        two   enc.layer.0      inherited/constant-common
        a     enc.layer.0.fc   scope
        b     enc.layer.0.fc   scope
        Y     enc.layer.0.act  scope
        """,
    )


def test_a_common_ancestor_is_a_module_that_is_called() -> None:
    """`layer` holds `layer.0` and `layer.1` and is never called itself."""
    check(
        PASS,
        """
        agraph (float[N] X) => (float[N] Y) {
            one = Constant <value = float {1}> ()
            a = Add (X, one)     # scope: enc.layer.0
            Y = Add (a, one)     # scope: enc.layer.1
        }
        """,
        {"one": "enc", "a": "enc.layer.0", "Y": "enc.layer.1"},
    )


def test_shape_chains_follow_their_readers() -> None:
    check(
        PASS,
        """
        agraph (float[N] X) => (float[M] Y) {
            a = Relu (X)         # scope: emb
            s = Shape (a)
            i = Constant <value = int64 {0}> ()
            g = Gather (s, i)
            u = Unsqueeze (g, i)
            Y = Reshape (a, u)   # scope: enc
        }
        """,
        """
        a   emb   scope
        s   enc   inherited/shape-consumers
        i   enc   inherited
        g   enc   inherited/shape-consumers
        u   enc   inherited/shape-consumers
        Y   enc   scope
        """,
    )


_ATTENTION = """
    agraph (float[2,4] X) => (float[2,4] Y)
    <float[4,4] "b.q.weight" = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}, float[4] "b.q.bias" = {1,2,3,4},
     float[4,4] w = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}, float[4] "b.k.bias" = {1,2,3,4},
     float[4,4] "c.out.weight" = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}, float[4] "n.weight" = {1,2,3,4},
     float eps = {1.0}, int64[1] axes = {1}> {
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
    }
"""


def test_a_graph_with_parameter_names_only() -> None:
    """Products with a module's bias, what normalises before its scale, and what runs between modules."""
    model = make_model(_ATTENTION)
    run_pass("scope-attribution", model)
    check(
        PASS,
        model,
        """
        q   b.q     parameter/initializer-name
        m   b.k     inherited/bias-product
        k   b.k     parameter/initializer-name
        t   b       inherited/producers
        p   b       inherited/producers
        s   b       inherited/producers
        o   c.out   parameter/initializer-name
        r   n       inherited/norm-growth
        v   n       inherited/norm-growth
        e   n       inherited/norm-growth
        d   n       inherited/norm-growth
        f   n       inherited/norm-growth
        Y   n       parameter/initializer-name
        """,
    )


def test_a_body_without_records_follows_its_owner() -> None:
    check(
        "context-inheritance",
        """
        agraph (float[N] X, bool C) => (float[N] Y) {
            a = If (C) <    # scope: enc
              then_branch = t () => (float[N] u) {
                u = Relu (X)
              },
              else_branch = e () => (float[N] v) {
                v = Neg (X)
              }>
            Y = Abs (a)     # scope: dec
        }
        """,
        {"u": "enc", "v": "enc", "a": "enc", "Y": "dec"},
    )


def test_a_function_without_records_follows_its_callers() -> None:
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
            r = Exp (p)
            q = Neg (r)
        }
        """,
        {"a": "enc.x", "Y": "enc.y", "r": "enc", "q": "enc"},
    )


def test_nothing_known_leaves_nodes_open() -> None:
    check(PASS, "agraph (float[N] X) => (float[N] Y) {\n a = Relu (X)\n Y = Exp (a)\n}", "a -\nY -")


def test_siblings_outvote_a_border() -> None:
    """The last block's sum is followed by nothing of its own block, yet is where the other blocks' sums are."""
    blocks = 4
    weights = ", ".join(f'float[4] "h.{i}.{name}.weight" = {{1,2,3,4}}' for i in range(blocks) for name in ("fc", "ln"))
    lines, x = [], "X"
    for i in range(blocks):
        lines += [
            f'n{i} = Mul ({x}, "h.{i}.ln.weight")',
            f"t{i} = Tanh (n{i})",
            f'f{i} = Mul (t{i}, "h.{i}.fc.weight")',
            f"s{i} = Add (f{i}, {x})",
        ]
        x = f"s{i}"
    text = f"agraph (float[4] X) => (float[4] Y)\n<{weights}> {{\n" + "\n".join(lines) + f"\nY = Identity ({x})\n}}"
    model = make_model(text)
    run_pass("scope-attribution", model)
    run_pass(PASS, model)
    paths = {node.first_output: node.attribution.path for node in model.nodes() if node.attribution is not None}
    assert [paths[f"s{i}"] for i in range(blocks)] == [f"h.{i}" for i in range(blocks)]
    assert [paths[f"t{i}"] for i in range(blocks)] == [f"h.{i}" for i in range(blocks)]


def test_running_it_writes_nothing() -> None:
    model = make_model(_ATTENTION)
    before = to_bytes(make_model(_ATTENTION))
    run_pass("scope-attribution", model)
    run_pass(PASS, model)
    assert to_bytes(model) == before


CHAIN = """
agraph (float[N] X) => (float[N] Y) {
    a = Exp (X)
    b = Exp (a)
    c = Exp (b)
    Y = Relu (c)         # scope: enc.act
}
"""


def test_max_hops_bounds_how_far_the_deciding_node_may_be() -> None:
    assert decided(CHAIN, 1) == ["c", "Y"]
    assert decided(CHAIN, 2) == ["b", "c", "Y"]
    assert decided(CHAIN, 3) == ["a", "b", "c", "Y"]


def decided(text: str, max_hops: int) -> list[str]:
    model = make_model(text)
    run_pass(f"{PASS}{{max-hops={max_hops}}}", model)
    return [node.first_output for node in model.nodes() if node.attribution is not None]


def test_max_hops_is_at_least_one() -> None:
    with pytest.raises(PipelineError, match="below 1"):
        Pipeline.parse(f"{PASS}{{max-hops=0}}")


def test_where_next_to_nothing_is_on_record_inferred_tags_are_trusted_less() -> None:
    shares = [confidence("producers", support) for support in (0.01, 0.5)]
    assert shares == sorted(shares) and shares[0] < shares[1]
    assert confidence("owner", 0.01) == confidence("owner", 1.0)  # was never measured in such graphs


def test_a_body_is_never_surer_than_its_owner() -> None:
    from modelexport.ir.attribution import Attribution, Source
    from modelexport.passes.context_inheritance import ContextInheritance
    from modelexport.passes.pipeline.base import PassContext
    from modelexport.passes.testing import make_model

    model = make_model("""
        agraph (bool C, float[2] X) => (float[2] Y) {
            Y = If (C) <then_branch = t () => (float[2] a) { a = Relu (X) },
                        else_branch = e () => (float[2] b) { b = Neg (X) }>
        }
    """)
    owner = next(node for node in model.nodes() if node.op_type == "If")
    owner.attribute_to(Attribution("block", Source.SCOPE, "node-name", 0.3))
    ContextInheritance().run(model, PassContext())
    inside = [node.attribution for node in model.nodes() if node is not owner]
    assert [(found.path, found.confidence) for found in inside] == [("block", 0.3)] * 2


_RESIDUAL = """
agraph (float[2,2] X) => (float[2,2] Y)
<float[2,2] "layers.0.attn.fc.weight" = {1,2,3,4}, float[2] "layers.0.norm.weight" = {1,2}, float[2] eps = {3,4},
 float[2,2] "layers.1.attn.fc.weight" = {2,2,3,4}, float[2] "layers.1.norm.weight" = {2,2}> {
    a = MatMul (X, "layers.0.attn.fc.weight")    # scope: layers.0.attn.fc
    g = Tanh (a)                                 # scope: layers.0.attn
    h = Add (a, g)
    n = Mul (h, "layers.0.norm.weight")          # scope: layers.0.norm
    b = MatMul (n, "layers.1.attn.fc.weight")    # scope: layers.1.attn.fc
    i = Add (b, n)
    Y = Mul (i, "layers.1.norm.weight")          # scope: layers.1.norm
}
"""


def test_a_sum_that_a_norm_reads_is_the_blocks() -> None:
    model = make_model(_RESIDUAL)
    run_pass(PASS, model)
    held = {node.first_output: node.attribution for node in model.nodes()}
    assert held["h"] is not None and held["h"].path == "layers.0"
    assert held["i"] is not None and held["i"].path == "layers.1"
