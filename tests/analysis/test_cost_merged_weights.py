"""Weights that an exporter merged because they are equal don't say whose work it is."""

from onnx import parser

from modelexport.analysis import cost
from modelexport.ir.io.reader import from_proto

# Two copies of a layer that multiplies with the weight of a part, as nn.MultiheadAttention does with that of its output
# projection; torch's exporter leaves one of the equal weights, and notes its rewriting of both products.
TEXT = """<ir_version: 10, opset_import: ["" : 20]>
g (float[6,4] x) => (float[6,4] y) {
    ["n1"] a = Gemm (x, W)
    ["n2"] y = Gemm (a, W)
}"""


def layers(first: str, second: str, owner: str) -> dict[str, int]:
    """The work of each module, where the two products are of ``first`` and ``second`` and the weight of ``owner``."""
    proto = parser.parse_model(TEXT.replace("W", '"' + f"{owner}.weight" + '"'))
    weight = proto.graph.initializer.add(name=f"{owner}.weight", data_type=1, dims=[4, 4])
    weight.float_data.extend([1.0] * 16)
    for node, path in zip(proto.graph.node, (first, second), strict=True):
        for key, value in (("pkg.onnxscript.rewriter.rule_name", "RemoveOptionalBiasFromGemm"), ("htp.path", path),
                           ("htp.tag", "/M/" + path.replace(".", "/")), ("htp.source", "scope"), ("htp.rule", "test"),
                           ("htp.confidence", "1.0")):  # fmt: skip
            node.metadata_props.add(key=key, value=value)
    return {row.path: row.own["macs"] for row in cost(from_proto(proto)).modules if row.own["macs"]}


def test_equal_layers_cost_the_same():
    assert layers("one", "two", "one.out") == {"one": 96, "two": 96}
    assert layers("one.out", "two.out", "one.out") == {"one.out": 96, "two.out": 96}


def test_a_weight_that_nobody_else_reads_for_its_owner_tells_whose_work_it_is():
    assert layers("one.norm", "one.norm", "one.out") == {"one.out": 192}
    assert layers("two.norm", "three", "one.out") == {"one.out": 192}
