"""scope-attribution on names: scopes in node names, call suffixes, holders, parameters."""

from __future__ import annotations

from modelexport.ir import load_model
from modelexport.passes.pipeline.base import PassContext
from modelexport.passes.scope_attribution import ScopeAttribution
from modelexport.passes.testing import check, make_model

PASS = "scope-attribution"


def test_names_give_scopes() -> None:
    check(
        PASS,
        """
        agraph (float[N] X) => (float[N] Y) {
            ["/enc/layer.0/fc/Relu"] a = Relu (X)
            ["/enc/layer.0/Relu_1"] b = Relu (a)
            ["/seq/seq.2/seq.2.1/Erf"] c = Erf (b)
            ["/Exp"] d = Exp (c)
            [Relu_5] e = Relu (d)
            [""] Y = Relu (e)
        }
        """,
        """
        a   enc.layer.0.fc   scope/node-name
        b   enc.layer.0      scope/node-name
        c   seq.2.1          scope/node-name
        d   .                scope/node-name
        e   -
        Y   -
        """,
    )


def test_call_suffixes_are_told_from_names_by_the_graph() -> None:
    """`fc_1` reads the weight of `fc`: a further call. `ln_1` owns a weight: a name. `bn_1` has its own operator."""
    check(
        PASS,
        """
        agraph (float[4] X) => (float[4] Y)
        <float[4] "fc.weight" = {1,2,3,4}, float[4] "h.ln_1.weight" = {1,2,1,1},
         float[4] w1 = {1,2,3,4}, float[4] w2 = {2,2,3,4}> {
            ["/fc/Mul"] a = Mul (X, "fc.weight")
            ["/fc_1/Mul"] b = Mul (a, "fc.weight")
            ["/h/ln_1/Mul"] c = Mul (b, "h.ln_1.weight")
            ["/act/Relu"] d = Relu (c)
            ["/act_1/Relu"] e = Relu (d)
            ["/act_2/Tanh"] f = Tanh (e)
            ["/conv/Mul"] g = Mul (f, w1)
            ["/conv_1/Mul"] h = Mul (g, w2)
            ["/block_2_3/Relu"] i = Relu (h)
            ["/h/ln_1_1/Mul"] Y = Mul (i, "h.ln_1.weight")
        }
        """,
        {
            "a": "fc",
            "b": "fc",
            "c": "h.ln_1",
            "d": "act",
            "e": "act",
            "f": "act_2",
            "g": "conv",
            "h": "conv_1",
            "i": "block_2_3",
            "Y": "h.ln_1",
        },
    )


def test_holders_recursion_and_glued_numbers_by_parameter_names() -> None:
    check(
        PASS,
        """
        agraph (float[4] X) => (float[4] Y)
        <float[4] "holder.inner.w" = {1,2,3,4}, float[4] "rec.fc.w" = {1,2,1,1}, float[4] "f.0.conv.w" = {1,2,3,4}> {
            ["/inner/Mul"] a = Mul (X, "holder.inner.w")
            ["/inner/Relu"] b = Relu (a)
            ["/rec/fc/Mul"] c = Mul (b, "rec.fc.w")
            ["/rec/rec/fc/Mul"] d = Mul (c, "rec.fc.w")
            ["/rec/rec/Tanh"] e = Tanh (d)
            ["/f/f.0/conv/Mul"] Y = Mul (e, "f.0.conv.w")
        }
        """,
        {"a": "holder.inner", "b": "holder.inner", "c": "rec.fc", "d": "rec.fc", "e": "rec", "Y": "f.0.conv"},
    )


def test_a_module_goes_by_the_name_it_was_called_by() -> None:
    """The exporter records the caller's name, whatever other names share the weights."""
    model = check(
        PASS,
        """
        agraph (float[4] X) => (float[4] Y)
        <float[4] "alias.weight" = {1,2,3,4}, float[4] "alias.bias" = {1,2,1,1}, float[4] "tied.bias" = {1,1,1,2}> {
            a = LayerNormalization (X, "alias.weight", "alias.bias")
            # meta: pkg.torch.onnx.name_scopes=['', 'shared', 'x']
            # meta: pkg.torch.onnx.class_hierarchy=['m.Net', 'm.Norm', 'x']
            b = LayerNormalization (a, "alias.weight", "alias.bias")
            # meta: pkg.torch.onnx.name_scopes=['', 'alias', 'x']
            # meta: pkg.torch.onnx.class_hierarchy=['m.Net', 'm.Norm', 'x']
            Y = LayerNormalization (b, "alias.weight", "tied.bias")
            # meta: pkg.torch.onnx.name_scopes=['', 'tied', 'x']
            # meta: pkg.torch.onnx.class_hierarchy=['m.Net', 'm.Norm', 'x']
        }
        """,
        {"a": "shared", "b": "alias", "Y": "tied"},
    )
    assert {module.path for module in model.modules} == {"", "shared", "alias", "tied"}


def test_a_name_that_nothing_called_before_is_no_further_call() -> None:
    """`fc_2` is not the second call of `shared.fc`, which is called from elsewhere."""
    check(
        PASS,
        """
        agraph (float[4] X) => (float[4] Y)
        <float[4] "shared.fc.bias" = {1,2,3,4}> {
            ["/fc_2/Relu"] a = Relu (X)
            ["/shared/fc/Add"] Y = Add (a, "shared.fc.bias")
        }
        """,
        {"a": "fc_2", "Y": "shared.fc"},
    )


def test_a_module_table_decides_names() -> None:
    check(
        PASS,
        """
        # module: . my.Net
        # module: holder my.Holder calls=0
        # module: holder.act torch.nn.ReLU
        # module: conv torch.nn.Conv2d
        # module: conv_1 torch.nn.Conv2d
        agraph (float[N] X) => (float[N] Y) {
            ["/act/Relu"] a = Relu (X)
            ["/act_1/Relu"] b = Relu (a)
            ["/conv/Relu"] c = Relu (b)
            ["/conv_1/Relu"] Y = Relu (c)
        }
        """,
        """
        a   holder.act   scope/node-name-table
        b   holder.act   scope/node-name-table
        c   conv
        Y   conv_1
        """,
    )


def test_names_that_fusions_made() -> None:
    check(
        PASS,
        """
        <ir_version: 10, opset_import: ["" : 18, "com.microsoft" : 1]>
        agraph (float[N] X) => (float[N] Y) {
            ["/a/MatMul/MatMulScaleFusion/"] r = com.microsoft.FusedMatMul (X, X)
            ["fused /b/Gemm"] "/act/Relu_output_0" = com.microsoft.FusedGemm (r, r)
            [Gelu] "/c/Mul_1_output_0" = com.microsoft.Gelu ("/act/Relu_output_0")
            ["/d/Relu_output_0_nchwc"] Y = Conv ("/c/Mul_1_output_0", X)
        }
        """,
        """
        r                    a     scope/fused-name
        /act/Relu_output_0   act   scope/output-name
        /c/Mul_1_output_0    c     scope/output-name
        Y                    d     scope/fused-name
        """,
    )


def test_parameter_names_come_last() -> None:
    check(
        PASS,
        """
        agraph (float[4] X, int64[N] I) => (float[4] Y)
        <float[4,4] "enc.q.weight" = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}, float[4] "enc.q.bias" = {1,2,1,1},
         float[4,4] "emb.weight" = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}> {
            t = Transpose ("enc.q.weight")
            m = MatMul (X, t)
            a = Add (m, "enc.q.bias")
            l = MatMul ("enc.q.weight", a)
            e = Gather ("emb.weight", I)
            ["/dec/Add"] b = Add (l, "enc.q.bias")
            h = MatMul (b, "emb.weight")
            Y = Relu (h)
        }
        """,
        """
        t   enc.q   parameter/initializer-shared
        m   enc.q   parameter/initializer-shared
        a   enc.q   parameter/initializer-shared
        l   enc     parameter/initializer-parent
        e   emb     parameter/initializer-shared
        b   dec     scope/node-name
        h   emb     parameter/initializer-shared
        Y   -
        """,
    )


def test_merged_initializers_place_no_node() -> None:
    """Biases of zeros are merged into one by exporters; a copy under its own name says whose it was."""
    check(
        PASS,
        """
        agraph (float[4] X) => (float[4] Y)
        <float[4] "a.bias" = {0,0,0,0}, float[4] "b.weight" = {1,2,3,4}, float[4] "c.bias" = {0,0,0,0}> {
            u = Add (X, "a.bias")
            v = Mul (u, "b.weight")
            w = Add (v, "a.bias")
            "d.bias" = Identity ("c.bias")
            x = Add (w, "c.bias")
            Y = Add (x, "d.bias")
        }
        """,
        """
        u        -
        v        b
        w        -
        d.bias   d   parameter/initializer-name
        x        c
        Y        d   parameter/initializer-name
        """,
    )


def test_an_unnamed_copy_of_a_merged_initializer_places_no_node() -> None:
    """Without names nothing says whose parameter the copy was; who reads the original still is where it says."""
    check(
        PASS,
        """
        agraph (float[4] X) => (float[4] Y)
        <float[4] "c.bias" = {0,0,0,0}> {
            v1 = Identity ("c.bias")
            x = Add (X, "c.bias")
            Y = Add (x, v1)
        }
        """,
        """
        v1   -
        x    c   parameter/initializer-name
        Y    -
        """,
    )


def test_a_holder_with_a_scope_of_its_own_is_not_skipped() -> None:
    check(
        PASS,
        """
        agraph (float[4] X) => (float[4] Y)
        <float[4] "emb.norm.weight" = {1,2,3,4}> {
            ["/emb/norm/Mul"] a = Mul (X, "emb.norm.weight")
            ["/norm/Relu"] Y = Relu (a)
        }
        """,
        {"a": "emb.norm", "Y": "norm"},
    )


def test_names_that_are_not_paths_give_nothing() -> None:
    model = make_model(
        "agraph (float[N] X) => (float[N] Y) {\n a = Relu (X)\n b = Relu (a)\n c = Relu (b)\n Y = Relu (c)\n}"
    )
    names = ("/a//Relu", "/" + "a/" * 3000 + "Relu", "/", "/a\tb/Relu")
    for node, name in zip(model.proto.graph.node, names, strict=True):
        node.name = name
    model = load_model(model.proto.SerializeToString())
    ScopeAttribution().run(model, PassContext())
    assert [node.attribution for node in model.nodes()] == [None] * 4


def test_names_of_endless_depth_are_refused_with_one_warning() -> None:
    lines = "\n".join(f"v{i + 1} = Relu (v{i})" for i in range(40))
    model = make_model(f"agraph (float[N] v0) => (float[N] v40) {{\n{lines}\n}}")
    for index, node in enumerate(model.proto.graph.node):
        node.name = f"/{'/'.join(f'a{index}_{depth}' for depth in range(200))}/Relu"
    model = load_model(model.proto.SerializeToString())
    ctx = PassContext()
    ScopeAttribution().run(model, ctx)
    attributed = sum(node.attribution is not None for node in model.nodes())
    assert 0 < attributed < 40
    assert len(model.modules) < 2000
    assert len(ctx.warnings) == 1
