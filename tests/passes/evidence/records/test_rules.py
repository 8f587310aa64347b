"""One case for each rule that reads a record: names, metadata, tables, references, parameters' names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelexport.ir import load_model
from modelexport.ir.io.writer import save_model, to_bytes
from modelexport.passes.testing import check, make_model, run_pass

PASS = "scope-attribution"
SQUARE = "= {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}"


def graph(*nodes: str, inputs: str = "float[4,4] X", weights: str = "", modules: str = "") -> str:
    """A graph of these nodes, the last of which makes Y."""
    head = f"{modules}\nagraph ({inputs}) => (float[4,4] Y)" + (f"\n<{weights}>" if weights else "")
    return "\n".join([head, "{", *nodes, "}"])


def test_rule_node_name() -> None:
    check(PASS, graph('["/enc/fc/Relu"] Y = Relu (X)'), "Y enc.fc scope/node-name")


def test_rule_node_name_table() -> None:
    modules = "# module: . my.Net\n# module: enc my.Enc\n# module: enc.fc my.Linear"
    check(PASS, graph('["/enc/fc/Relu"] Y = Relu (X)', modules=modules), "Y enc.fc scope/node-name-table")


def test_rule_output_name() -> None:
    """An optimiser renamed the node; its output still has the exporter's name."""
    text = graph('[fused_3] "/enc/fc/Relu_output_0" = Relu (X)', '["/dec/Neg"] Y = Neg ("/enc/fc/Relu_output_0")')
    check(PASS, text, "/enc/fc/Relu_output_0 enc.fc scope/output-name\nY dec scope/node-name")


def test_rule_fused_name() -> None:
    """An optimiser's node of another operator, named after one that it replaced."""
    text = graph('["/enc/fc/MatMul/Fused"] Y = Relu (X)')
    check(PASS, text, "Y enc.fc scope/fused-name")


def test_rule_call_number() -> None:
    """Two modules spelled alike, and nothing but the order of their calls says which is which."""
    weights = ", ".join(f"float[4] {name} = {{{i},2,3,4}}" for i, name in enumerate(("w1", "w2")))
    weights += ", " + ", ".join(f'float[4] "l.{i}.fc.bias" = {{1,2,3,4}}' for i in range(2))
    nodes = ('["/fc/Mul"] a = Mul (X, w1)', '["/fc_1/Mul"] b = Mul (a, w2)')
    text = graph(*nodes, 'z = Add (b, "l.0.fc.bias")', 'Y = Add (z, "l.1.fc.bias")', weights=weights)
    check(PASS, text, "a l.0.fc scope/call-number\nb l.1.fc scope/call-number\n...")


def test_rule_torch_name_scopes() -> None:
    text = graph("Y = Relu (X)  # meta: pkg.torch.onnx.name_scopes=['', 'enc', 'enc.fc', 'relu']")
    check(PASS, text, "Y enc.fc scope/torch-name-scopes")


def test_rule_folded_norm() -> None:
    """torch records the norm that was folded; the convolution is the one whose weight it reads."""
    scopes = str(["", "stem", "stem.norm", "n"])
    nodes = (
        f'{made} = Conv ({read}, "stem.{weight}.weight")  # meta: '
        + json.dumps({"pkg.torch.onnx.name_scopes": scopes, "pkg.onnxscript.rewriter.rule_name": rule})
        for made, read, weight, rule in (
            ("a", "X", "conv", "RemoveOptionalBiasFromConv"),
            ("b", "a", "norm", "FuseBatchNormIntoConv"),
            ("Y", "b", "conv", "FuseBatchNormIntoConv"),
        )
    )
    weights = 'float[4,4,1] "stem.conv.weight" = {0}, float[4,4,1] "stem.norm.weight" = {0}'.replace(
        "{0}", "{" + ",".join(map(str, range(16))) + "}"
    )
    head = f"agraph (float[1,4,4] X) => (float[1,4,4] Y)\n<{weights}>"
    found = (
        "a stem.norm scope/torch-name-scopes\nb stem.norm scope/torch-name-scopes\nY stem.conv scope/folded-norm 0.90"
    )
    check(PASS, "\n".join([head, "{", *nodes, "}"]), found)


def test_rule_onnxscript_name_scopes() -> None:
    text = graph("Y = Relu (X)  # meta: pkg.onnxscript.name_scopes=['', 'layers.0', 'mlp']")
    check(PASS, text, "Y layers.0.mlp scope/onnxscript-name-scopes")


def test_rule_namespace_scopes() -> None:
    text = graph("Y = Relu (X)  # meta: namespace=: m.Net/enc: m.Enc/relu: aten.relu")
    check(PASS, text, "Y enc scope/namespace-scopes")


def test_rule_namespace() -> None:
    check(PASS, graph("Y = Relu (X)  # meta: namespace=net/block"), "Y net.block scope/namespace")


def test_rule_winml_tag() -> None:
    check(PASS, graph("Y = Relu (X)  # meta: winml.hierarchy.tag=/Net/Enc/Linear"), "Y Enc.Linear scope/winml-tag")


def tabled(change: dict[str, tuple[str, str]]) -> str | bytes:
    """A file with our table but without our tags in nodes, as tools leave it that rename or fuse nodes."""
    model = make_model(graph("[relu_7] r = Relu (X)  # scope: a", "[neg_8] Y = Neg (r)  # scope: b"))
    run_pass("attribute-embedding", model)
    proto = load_model(to_bytes(model)).proto
    for node in proto.graph.node:
        del node.metadata_props[:]
        node.name, node.op_type = change.get(node.name, (node.name, node.op_type))
    return proto.SerializeToString()


def test_rule_table_output() -> None:
    """The operator changed, the output is the one that the table lists."""
    model = load_model(tabled({"relu_7": ("new", "Sigmoid")}))
    check(PASS, model, "r a reference/table-output\nY b")


def test_rule_table_prefix() -> None:
    """A tool put its own node in, named after one of the table's."""
    model = load_model(tabled({}))
    proto = model.proto
    proto.graph.node[1].input[0] = "fresh"
    proto.graph.node.add(op_type="Cast", name="relu_7_cast", input=["r"], output=["fresh"])
    proto.graph.node.insert(1, proto.graph.node.pop())
    check(PASS, load_model(proto.SerializeToString()), "r a\nfresh a reference/table-prefix\nY b")


def reference(folder: Path) -> Path:
    model = make_model(graph('["/enc/Relu"] "/enc/Relu_out" = Relu (X)  # scope: enc', 'Y = Neg ("/enc/Relu_out")'))
    run_pass("fallback-tagging", model)
    run_pass("attribute-embedding", model)
    save_model(model, folder / "reference.onnx")
    return folder / "reference.onnx"


def test_rule_reference_node_name(tmp_path: Path) -> None:
    text = graph('["/enc/Relu"] a = Relu (X)', "Y = Exp (a)")
    check("reference-attribution", text, "a enc reference/reference-node-name\n...", reference=reference(tmp_path))


def test_rule_reference_output_name(tmp_path: Path) -> None:
    text = graph('[new] "/enc/Relu_out" = Relu (X)', 'Y = Exp ("/enc/Relu_out")')
    expected = "/enc/Relu_out enc reference/reference-output-name\n..."
    check("reference-attribution", text, expected, reference=reference(tmp_path))


def test_rule_reference_prefix(tmp_path: Path) -> None:
    text = graph('["/enc/Relu/SomeFusion/"] a = Relu (X)', "Y = Exp (a)")
    check("reference-attribution", text, "a enc reference/reference-prefix\n...", reference=reference(tmp_path))


def test_rule_initializer_name() -> None:
    text = graph('Y = MatMul (X, "enc.fc.weight")', weights=f'float[4,4] "enc.fc.weight" {SQUARE}')
    check(PASS, text, "Y enc.fc parameter/initializer-name")


def test_a_parameter_of_its_own_places_a_node_before_one_that_equal_ones_were_merged_into() -> None:
    """onnxruntime keeps one of two equal biases; the weight that nobody else reads is the product's."""
    weights = (
        f'float[4,4] "fc.weight" {SQUARE}, float[4] "norm.weight" = {{1,2,3,4}}, float[4] "norm.bias" = {{4,3,2,1}}'
    )
    nodes = ('a = Gemm (X, "fc.weight", "norm.bias")', 'Y = LayerNormalization (a, "norm.weight", "norm.bias")')
    found = "a fc parameter/initializer-name\nY norm parameter/initializer-name"
    check(PASS, graph(*nodes, weights=weights), found)


def test_rule_initializer_shared() -> None:
    """Two nodes compute with one weight: it may have been two before equal ones were merged."""
    nodes = ('a = MatMul (X, "enc.fc.weight")', 'Y = MatMul (a, "enc.fc.weight")')
    text = graph(*nodes, weights=f'float[4,4] "enc.fc.weight" {SQUARE}')
    check(PASS, text, "a enc.fc parameter/initializer-shared\nY enc.fc parameter/initializer-shared")


def test_rule_initializer_parent() -> None:
    """A weight on the left of a product is used by other code than its module's own."""
    text = graph('Y = MatMul ("enc.fc.weight", X)', weights=f'float[4,4] "enc.fc.weight" {SQUARE}')
    check(PASS, text, "Y enc parameter/initializer-parent")


@pytest.mark.parametrize(
    ("items", "path"),
    [
        ("net.0 net.2 net.4", "net.1"),  # numbers are left out, as by modules without parameters
        ("net.2 net.0", "net.3"),
        ("net.0 net.1", ""),  # a list of nothing but layers: the code around it
        ("enc.net.3 enc.net.2", "enc"),
        ("net.fc net.out", "net"),
    ],
)
def test_an_activation_that_was_fused_into_a_layer(items: str, path: str) -> None:
    first, *others = items.split()
    weights = ", ".join(f'float[4,4] "{item}.weight" {SQUARE}' for item in items.split())
    nodes = [f'b{number} = MatMul (a, "{item}.weight")' for number, item in enumerate(others)]
    product = f'a = com.microsoft.FusedGemm <activation = "Relu"> (X, "{first}.weight")'
    model = make_model(graph(product, *nodes, "Y = Neg (b0)", weights=weights))
    run_pass(PASS, model)
    found = next(node.attribution for node in model.nodes() if node.first_output == "a")
    assert (found.path, found.rule) == (path, "initializer-parent")


def test_rule_initializer_packed() -> None:
    """A module that makes three products with one parameter of its own makes that of its child's weight as well."""
    names = ("l.2.a.in_proj_bias", "l.2.a.out_proj.weight", "l.1.a.out_proj.weight", "b.out_proj.weight", "b.bias")
    weights = ", ".join(f'float[4,4] "{name}" {SQUARE}' for name in names)
    nodes = (
        'a = Add (X, "l.2.a.in_proj_bias")',
        'b = Gemm (a, "l.2.a.out_proj.weight")',
        'c = Gemm (b, "l.1.a.out_proj.weight")',  # whose own parameter was merged with that of the first
        'd = Add (c, "b.bias")',
        'e = Gemm (d, "b.out_proj.weight")',
        'Y = MatMul (e, "l.2.a.out_proj.weight")',  # three dimensions: the child was called
    )
    placed = "b l.2.a {rule}\nc l.1.a {rule}".format(rule="parameter/initializer-packed 1.00")
    found = f"a l.2.a parameter/initializer-name\n{placed}\nd b parameter/initializer-name\n"
    found += "e b.out_proj parameter/initializer-name\nY l.2.a.out_proj parameter/initializer-shared"
    check(PASS, graph(*nodes, weights=weights), found)


def test_rule_initializer_several() -> None:
    """Weights of several modules joined, as many of one as of another."""
    weights = f'float[4,4] "enc.q.weight" {SQUARE}, float[4,4] "enc.k.weight" {SQUARE}'
    nodes = ('w = Concat <axis = 1> ("enc.q.weight", "enc.k.weight", X)', "Y = Relu (w)")
    check(PASS, graph(*nodes, weights=weights), "w enc.k parameter/initializer-several\nY -")
