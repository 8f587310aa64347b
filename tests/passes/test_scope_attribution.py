"""scope-attribution: what is on record is applied, and nothing else."""

from __future__ import annotations

import base64
import json
import zlib

import pytest

from modelexport.ir import load_model
from modelexport.ir.io.embedded_tags import pack
from modelexport.passes import PassManager
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
            s = Sin (a)     # meta: pkg.onnxscript.name_scopes=['', 'layers.0', 'layers.0.mlp']
            b = Exp (s)     # meta: winml.hierarchy.tag=/Net/Enc/Linear
            c = Neg (b)     # meta: namespace=: m.Net/enc: m.Enc/relu: aten.relu
            d = Abs (c)     # meta: namespace=net/block
            Y = Abs (d)     # meta: namespace=
        }
        """,
        """
        a   layers.0.mlp   scope/onnxscript-name-scopes
        s   layers.0.mlp   scope/onnxscript-name-scopes
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
        renamed   enc   reference/table-output
        Y         -
        """,
    )
    assert model.modules["enc"].cls == "m.Enc"


def test_what_was_made_of_a_node_is_found_by_the_beginning_of_its_name() -> None:
    check(
        PASS,
        _with_table(
            [["main", "first_1", "b", 1, "scope", "node-name", 0.99], ["main", "x", "c_1", 1, "scope", "r", 0.9]]
        )
        .replace("[first]", "[first_1_QuantizeLinear]")
        .replace("[renamed] c", "[c_1_quantized] cc")
        .replace("Abs (c)", "Abs (cc)")
        .replace('[""] b', "[first] bb")
        .replace("Neg (b)", "Neg (bb)"),
        """
        first_1_QuantizeLinear   enc   reference/table-prefix
        first                    -
        c_1_quantized            enc   reference/table-prefix
        Y                        -
        """,
    )


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


_SHARED_BIAS = """
agraph (float[N,4] X) => (float[N,4] Y) <int8[4] "a.norm.bias_q" = {1,2,3,4}, float s = {0.5}, int8 z = {0}> {
    d1 = DequantizeLinear ("a.norm.bias_q", s, z)
    ["/a/norm/Add"] h = Add (X, d1)
    d2 = DequantizeLinear ("a.norm.bias_q", s, z)
    ["/b/norm/Add"] Y = Add (h, d2)
}
"""


def test_what_carries_a_merged_weight_is_its_readers() -> None:
    """Equal biases of two norms are one initializer; a tool puts a DequantizeLinear before each reader."""
    model = make_model(_SHARED_BIAS.replace("a.norm.bias_q", "a.norm.bias"))
    PassManager("htp").run(model)
    assert {node.first_output: node.attribution.path for node in model.nodes() if node.attribution} == {
        "d1": "a.norm",
        "h": "a.norm",
        "d2": "b.norm",
        "Y": "b.norm",
    }
