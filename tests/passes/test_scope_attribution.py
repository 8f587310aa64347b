"""scope-attribution: what is on record is applied, and nothing else."""

from __future__ import annotations

import base64
import json
import zlib

import pytest

from modelexport.ir import load_model
from modelexport.passes.evidence.own_tags import pack
from modelexport.passes.pipeline.base import PassContext
from modelexport.passes.scope_attribution import ScopeAttribution
from modelexport.passes.testing import check, make_model

PASS = "scope-attribution"


def test_own_tags_are_kept_verbatim() -> None:
    model = check(
        PASS,
        """
        agraph (float[N] X) => (float[N] Y) {
            ["/other/Relu"] a = Relu (X)
            # meta: {"htp.path": "enc", "htp.tag": "/M/Enc", "htp.source": "inherited"}
            # meta: {"htp.rule": "r", "htp.confidence": "0.37"}
            Y = Exp (a)
        }
        """,
        """
        a   enc   inherited/r   0.37
        Y   -
        """,
    )
    assert model.modules.tag("enc") == "/M/Enc"


def test_an_attribution_that_is_there_stays() -> None:
    check(
        PASS,
        """
        agraph (float[N] X) => (float[N] Y) {
            ["/enc/Relu"] Y = Relu (X)    # scope: dec scope/traced
        }
        """,
        "Y   dec   scope/traced",
    )


def test_torch_name_scopes_give_paths_and_classes() -> None:
    model = check(
        PASS,
        """
        agraph (float[N] X) => (float[N] Y) {
            a = Relu (X)
            # meta: pkg.torch.onnx.name_scopes=['', 'enc', 'enc.layer.0', 'relu']
            # meta: pkg.torch.onnx.class_hierarchy=['m.Net', 'm.Enc', 'm.Block', 'aten.relu']
            b = Shape (a)
            # meta: pkg.torch.onnx.name_scopes=['_empty_nn_module_stack_from_metadata_hook', 's']
            # meta: pkg.torch.onnx.class_hierarchy=['_empty_nn_module_stack_from_metadata_hook', 'aten.sym_size.int']
            c = Exp (a)
            # meta: {"pkg.torch.onnx.name_scopes": "['', 'exp']"}
            Y = Neg (c)
        }
        """,
        """
        a   enc.layer.0   scope/torch-name-scopes
        b   -
        c   .             scope/torch-name-scopes
        Y   -
        """,
    )
    assert model.modules["enc.layer.0"].cls == "m.Block"
    assert not model.modules.is_called("enc.layer")
    assert model.modules.tag("enc.layer.0") == "/Net/Enc/Block.0"


def test_other_exporters_records() -> None:
    check(
        PASS,
        """
        agraph (float[N] X) => (float[N] Y) {
            a = Relu (X)    # meta: pkg.onnxscript.name_scopes=['', 'layers.0', 'mlp']
            b = Exp (a)     # meta: winml.hierarchy.tag=/Net/Enc/Linear
            c = Neg (b)     # meta: namespace=: m.Net/enc: m.Enc/relu: aten.relu
            d = Abs (c)     # meta: namespace=net/block
            Y = Abs (d)     # meta: namespace=
        }
        """,
        """
        a   layers.0.mlp   scope/onnxscript-name-scopes
        b   Enc.Linear     scope/winml-tag
        c   enc            scope/namespace-scopes
        d   net.block      scope/namespace
        Y   -
        """,
    )


@pytest.mark.parametrize(
    "record",
    [
        "[" * 5000,
        "__import__('os').system('true')",
        "{'a': 1}",
        "['', 3]",
        "['', 'a..b', 'x']",
        "['" + "a" * 70000 + "']",
        "[" + "'a'," * 100000 + "]",
        "not python",
        "",
    ],
)
def test_hostile_records_are_ignored_with_one_warning(record: str) -> None:
    model = make_model("agraph (float[N] X) => (float[N] Y) {\n a = Relu (X)\n Y = Relu (a)\n}")
    for node in model.proto.graph.node:
        node.metadata_props.add(key="pkg.torch.onnx.name_scopes", value=record)
    model = load_model(model.proto.SerializeToString())
    ctx = PassContext()
    ScopeAttribution().run(model, ctx)
    assert [node.attribution for node in model.nodes()] == [None, None]
    assert len(ctx.warnings) <= 1


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


def test_aliases_of_one_module_get_its_first_name() -> None:
    """Both paths compute with one weight and one bias; a weight alone may only be tied."""
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
        {"a": "shared", "b": "shared", "Y": "tied"},
    )
    assert model.modules["shared"].aliases == ("alias",)


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
        t   enc.q   parameter/initializer-name
        m   enc.q   parameter/initializer-name
        a   enc.q   parameter/initializer-name
        l   enc     parameter/initializer-parent
        e   -
        b   dec     scope/node-name
        h   emb     parameter/initializer-name
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


def test_scopes_in_bodies_and_functions_are_relative() -> None:
    check(
        PASS,
        """
        <ir_version: 10, opset_import: ["" : 18, "local" : 1]>
        agraph (float[N] X, bool C) => (float[N] Y) {
            a = If (C) <    # meta: pkg.torch.onnx.name_scopes=['', 'b', 'cond']
              then_branch = t () => (float[N] u) {
                u = Relu (X)    # meta: pkg.torch.onnx.name_scopes=['', 'relu']
              },
              else_branch = e () => (float[N] v) {
                v = Neg (X)    # meta: pkg.torch.onnx.name_scopes=['', 'fc', 'neg']
              }>
            c = local.fn (a)    # meta: pkg.torch.onnx.name_scopes=['', 'd', 'd.x', 'call']
            Y = local.fn (c)    # meta: pkg.torch.onnx.name_scopes=['', 'd', 'd.y', 'call']
        }
        <domain: "local", opset_import: ["" : 18]>
        fn (p) => (q) {
            q = Exp (p)    # meta: pkg.torch.onnx.name_scopes=['', 'inner', 'exp']
        }
        """,
        {"u": "b", "v": "b.fc", "a": "b", "c": "d.x", "Y": "d.y", "q": "d.inner"},
    )


def _with_table(nodes: list[list[object]]) -> str:
    modules = pack("modules", [["", "m.Net", "/Net", 1], ["enc", "m.Enc", "/Net/Enc", 1]])
    return f"""
        # model-meta: htp.modules={modules}
        # model-meta: htp.nodes={pack("nodes", nodes)}
        agraph (float[N] X) => (float[N] Y) {{
            [first] a = Relu (X)
            [""] b = Exp (a)
            [renamed] c = Neg (b)
            Y = Abs (c)
        }}
    """


def test_the_embedded_table_restores_tags() -> None:
    model = check(
        PASS,
        _with_table(
            [
                ["main", "first", "zzz", 1, "scope", "node-name", 0.99],
                ["main", "", "b", 0, "inherited", "shape-consumers", 0.5],
                ["main", "old", "c", 1, "scope", "node-name", 0.99],
            ]
        ),
        """
        first     enc   scope/node-name             0.99
        b         .     inherited/shape-consumers   0.50
        renamed   enc   reference/table-output      0.95
        Y         -
        """,
    )
    assert model.modules["enc"].cls == "m.Enc"


@pytest.mark.parametrize(
    "table",
    [
        "????",
        base64.b64encode(b"not zlib").decode(),
        base64.b64encode(zlib.compress(b"[1, 2")).decode(),
        base64.b64encode(zlib.compress(json.dumps({"v": 9, "nodes": []}).encode())).decode(),
        base64.b64encode(zlib.compress(b" " * (64 << 20))).decode(),
        pack("nodes", [["main", "first"]]),
        pack("nodes", [["main", "first", "a", 99, "scope", "x", 1.0]]),
        pack("nodes", [["main", "first", "a", 0, "guess", "x", 1.0]]),
        pack("nodes", [["main", "first", "a", 0, "scope", "x", 7]]),
        pack("nodes", [["main", 5, "a", 0, "scope", "x", 1.0]]),
        base64.b64encode(zlib.compress(b'{"v":1,"nodes":' + b"[" * 100000)).decode(),
    ],
)
def test_damaged_tables_are_ignored_with_one_warning(table: str) -> None:
    model = make_model("agraph (float[N] X) => (float[N] Y) {\n [first] a = Relu (X)\n Y = Abs (a)\n}")
    model.proto.metadata_props.add(key="htp.modules", value=pack("modules", [["", "m.Net", "/Net", 1]]))
    model.proto.metadata_props.add(key="htp.nodes", value=table)
    ctx = PassContext()
    ScopeAttribution().run(model, ctx)
    assert [node.attribution for node in model.nodes()] == [None, None]
    assert len(ctx.warnings) == 1


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
