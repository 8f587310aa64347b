"""Whose work it is, what counts, and what the command prints."""

import json
from pathlib import Path

import jsonschema
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelexport.analysis import cost
from modelexport.cli.modelexport import main
from modelexport.cli.schema import schema
from modelexport.ir.io.reader import from_proto, load_model
from modelexport.ir.io.writer import save_model
from modelexport.passes.pipeline.manager import PassManager

FLOAT = TensorProto.FLOAT


def info(name, shape, kind=FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def tag(node, path):
    segments = path.replace("layers.", "Layer:").replace(".", "/").replace(":", ".")  # a list is no level of a tag
    for key, value in (("htp.path", path), ("htp.tag", f"/M/{segments}".rstrip("/")),
                       ("htp.source", "scope"), ("htp.rule", "test"), ("htp.confidence", "1.0")):  # fmt: skip
        node.metadata_props.add(key=key, value=value)
    return node


def weight(name, *shape, dtype=np.float32):
    return numpy_helper.from_array(np.ones(shape, dtype), name)


def model(nodes, weights=(), inputs=(("x", (2, 4)),), outputs=(("y", None),), opsets=(("", 17),), functions=()):
    graph = helper.make_graph(
        list(nodes), "g", [info(*each) for each in inputs], [info(*each) for each in outputs], list(weights)
    )
    imports = [helper.make_opsetid(*each) for each in opsets]
    proto = helper.make_model(graph, opset_imports=imports, ir_version=10, functions=list(functions))
    return from_proto(proto)


def node(op_type, inputs, outputs, name, path, domain="", **attributes):
    return tag(helper.make_node(op_type, inputs, outputs, name=name, domain=domain, **attributes), path)


def small():
    """Two layers of two modules each and a head; layers.1 is not above layers.10."""
    return model(
        [
            node("MatMul", ["x", "layers.1.fc.weight"], ["a"], "m1", "layers.1.fc"),
            node("Relu", ["a"], ["b"], "r1", "layers.1"),
            node("MatMul", ["b", "layers.10.fc.weight"], ["c"], "m10", "layers.10.fc"),
            node("Transpose", ["c"], ["d"], "t", "", perm=[1, 0]),
            node("Add", ["d", "bias"], ["y"], "add", ""),
        ],
        [
            weight("layers.1.fc.weight", 4, 3),
            weight("layers.10.fc.weight", 3, 5),
            weight("bias", 5, 2, dtype=np.float16),
        ],
    )


def numbers(report, name, part="total"):
    return {row["path"]: row[part][name] for row in report.to_dict()["modules"]}


def test_self_and_total():
    found = cost(small())
    assert numbers(found, "macs") == {
        "": 54, "layers": 54, "layers.1": 24, "layers.1.fc": 24, "layers.10": 30, "layers.10.fc": 30,
    }  # fmt: skip
    assert numbers(found, "macs", "self") == {
        "": 0, "layers": 0, "layers.1": 0, "layers.1.fc": 24, "layers.10": 0, "layers.10.fc": 30,
    }  # fmt: skip
    assert numbers(found, "elements")["layers.1"] == 6
    assert numbers(found, "elements")[""] == 16  # Relu and Add; Transpose moves only
    assert numbers(found, "parameters") == {
        "": 37, "layers": 27, "layers.1": 12, "layers.1.fc": 12, "layers.10": 15, "layers.10.fc": 15,
    }  # fmt: skip
    assert numbers(found, "weight_bytes")[""] == 27 * 4 + 10 * 2
    assert numbers(found, "activation_bytes") == {
        "": 4 * (6 + 6 + 10 + 10 + 10), "layers": 88, "layers.1": 48, "layers.1.fc": 24, "layers.10": 40,
        "layers.10.fc": 40,
    }  # fmt: skip


def test_the_tree_adds_up_and_parents_come_first():
    rows = cost(small()).to_dict()["modules"]
    seen = {}
    for row in rows:
        assert row["parent"] is None or row["parent"] in seen
        seen[row["path"]] = row
    for row in rows:
        for name, number in row["total"].items():
            assert number == row["self"][name] + sum(r["total"][name] for r in rows if r["parent"] == row["path"])


def test_nothing_is_changed():
    source = small()
    before = source.proto.SerializeToString()
    cost(source)
    assert source.proto.SerializeToString() == before
    assert all(node.attribution is None for node in source.nodes())


@pytest.mark.parametrize(
    ("op_type", "domain"), [("FusedGemm", "com.microsoft"), ("Gemm", ""), ("FusedMatMul", "com.microsoft")]
)
def test_work_of_fused_nodes_follows_the_weight(op_type, domain):
    attributes = {"activation": "Relu"} if op_type == "FusedGemm" else {}
    fused = node(op_type, ["x", "fc.weight"], ["y"], "n", "act", domain, **attributes)
    source = model([fused], [weight("fc.weight", 4, 3)], opsets=(("", 17), ("com.microsoft", 1)))
    found = cost(source)
    where = "fc" if domain else "act"
    other = {"fc": "act", "act": "fc"}[where]
    assert numbers(found, "macs")[where] == 24
    assert numbers(found, "macs").get(other, 0) == 0
    assert found.nodes[0].charged_to == ("fc" if domain else None)
    assert found.nodes[0].path == "act"
    assert numbers(found, "activation_bytes")["act"] == 24


def test_a_rewrite_rule_on_the_node_tells_of_a_fusion():
    plain = node("Conv", ["x", "conv.weight"], ["y"], "n", "norm")
    plain.metadata_props.add(key="pkg.onnxscript.rewriter.rule_name", value="FuseBatchNormIntoConv")
    source = model([plain], [weight("conv.weight", 3, 4, 1)], inputs=(("x", (1, 4, 5)),))
    found = cost(source)
    assert numbers(found, "macs")["conv"] == 60
    assert numbers(found, "macs")["norm"] == 0


@pytest.mark.parametrize(("bias", "charged"), [("mix.out.bias", None), ("mix.bias", "mix.out")])
def test_a_weight_that_the_outer_module_borrows_stays_with_it(bias, charged):
    """F.linear(x, self.out.weight, self.out.bias), rewritten; with another bias the outer module's Add was fused."""
    gemm = node("Gemm", ["x", "mix.out.weight", bias], ["y"], "n", "mix")
    gemm.metadata_props.add(key="pkg.onnxscript.rewriter.rule_name", value="MatMulAddToGemm")
    found = cost(model([gemm], [weight("mix.out.weight", 4, 3), weight(bias, 3)]))
    assert found.nodes[0].charged_to == charged
    turned = node("FusedMatMul", ["x", "mix.out.weight"], ["y"], "n", "mix", "com.microsoft", transB=1)
    found = cost(model([turned], [weight("mix.out.weight", 3, 4)], opsets=(("", 17), ("com.microsoft", 1))))
    assert found.nodes[0].charged_to is None


def retold(nodes, weights, tmp_path, edit):
    """A model tagged by its nodes' own tags, saved with the table, then without node metadata and edited."""
    source = model(nodes, weights, opsets=(("", 17), ("com.microsoft", 1)))
    PassManager("htp").run(source)
    save_model(source, tmp_path / "m.onnx")
    proto = onnx.load(tmp_path / "m.onnx")
    for each in proto.graph.node:
        del each.metadata_props[:]
    edit(proto.graph)
    return from_proto(proto)


def test_a_product_joined_with_its_scaling_keeps_the_module_of_the_product(tmp_path):
    def fuse(graph):
        fused = helper.make_node("FusedMatMul", ["a", "a"], ["/mix/Mul_output_0"], domain="com.microsoft", transB=1)
        fused.name = "/mix/qk/MatMul/MatMulScaleFusion/"
        graph.node[1].CopyFrom(fused)
        del graph.node[2]

    nodes = [
        node("Relu", ["x"], ["a"], "/mix/Relu", "mix"),
        node("MatMul", ["a", "a"], ["b"], "/mix/qk/MatMul", "mix.qk"),
        node("Mul", ["b", "half"], ["/mix/Mul_output_0"], "/mix/Mul", "mix"),
        node("Neg", ["/mix/Mul_output_0"], ["y"], "/Neg", ""),
    ]
    found = cost(retold(nodes, [weight("half")], tmp_path, fuse))
    assert [(each.path, each.charged_to) for each in found.nodes][:2] == [("mix", None), ("mix", "mix.qk")]
    assert numbers(found, "macs", "self") == {"": 0, "mix": 0, "mix.qk": 16}


def test_a_product_that_gives_the_next_one_its_input_keeps_its_module(tmp_path):
    """onnxslim makes one Gemm of product and bias, and names its output after the Linear that comes directly after."""

    between = "/two/MatMul_output_0_pre_reshape_out"

    def join(graph):
        del graph.node[:]
        for name, value, out in (("one", "x", between), ("two", between, "y")):
            gemm = helper.make_node("Gemm", [value, f"{name}.weight", f"{name}.bias"], [out])
            gemm.name = f"/{name}/MatMul_output_0"
            graph.node.append(gemm)

    nodes = [
        node("MatMul", ["x", "one.weight"], ["/one/MatMul_output_0"], "/one/MatMul", "one"),
        node("Add", ["/one/MatMul_output_0", "one.bias"], ["/one/Add_output_0"], "/one/Add", "one"),
        node("MatMul", ["/one/Add_output_0", "two.weight"], ["/two/MatMul_output_0"], "/two/MatMul", "two"),
        node("Add", ["/two/MatMul_output_0", "two.bias"], ["y"], "/two/Add", "two"),
    ]
    weights = [weight("one.weight", 4, 3), weight("one.bias", 3), weight("two.weight", 3, 5), weight("two.bias", 5)]
    assert numbers(cost(retold(nodes, weights, tmp_path, join)), "macs") == {"": 54, "one": 24, "two": 30}


def test_a_tied_weight_stays_with_the_head():
    source = model(
        [
            node("Gather", ["emb.weight", "i"], ["e"], "g", "emb"),
            node("FusedMatMul", ["e", "emb.weight"], ["y"], "m", "head", "com.microsoft", transB=1),
        ],
        [weight("emb.weight", 7, 4)],
        inputs=(("i", (2,), TensorProto.INT64),),
        opsets=(("", 17), ("com.microsoft", 1)),
    )
    found = cost(source)
    assert numbers(found, "macs") == {"": 56, "emb": 0, "head": 56}
    assert numbers(found, "parameters")[""] == 28


def test_weights_count_once_and_packed():
    source = model(
        [
            node("DequantizeLinear", ["w", "scale"], ["f"], "dq", "fc"),
            node("MatMul", ["x", "f"], ["h"], "m", "fc"),
            node("MatMul", ["h", "shared"], ["k"], "a", "one"),
            node("MatMul", ["k", "shared"], ["y"], "b", "two"),
        ],
        [
            helper.make_tensor("w", TensorProto.INT4, [4, 3], [1] * 12),
            helper.make_tensor("scale", FLOAT, [], [1.0]),
            weight("shared", 3, 3),
        ],
        opsets=(("", 21),),
    )
    found = cost(source)
    assert numbers(found, "parameters") == {"": 22, "fc": 13, "one": 9, "two": 0}
    assert numbers(found, "weight_bytes") == {"": 46, "fc": 10, "one": 36, "two": 0}
    assert numbers(found, "macs") == {"": 60, "fc": 24, "one": 18, "two": 18}


def loop(count):
    body = helper.make_graph(
        [
            node("MatMul", ["h", "cell.weight"], ["k"], "m", "cell"),
            node("Identity", ["go"], ["on"], "i", "cell"),
        ],
        "body",
        [info("i", (), TensorProto.INT64), info("go", (), TensorProto.BOOL), info("h", (2, 4))],
        [info("on", (), TensorProto.BOOL), info("k", (2, 4))],
    )
    return model(
        [node("Loop", [count, "", "x"], ["y"], "loop", "", body=body)],
        [weight("cell.weight", 4, 4), helper.make_tensor("three", TensorProto.INT64, [], [3])],
        inputs=(("x", (2, 4)), ("n", (), TensorProto.INT64)),
    )


def test_bodies_count_once_an_iteration():
    found = cost(loop("n"), {"n": np.array(5)})
    assert (found.shapes, found.total["macs"], found.unknown) == ("run", 5 * 32, ())
    assert numbers(found, "activation_bytes")["cell"] == 5 * (32 + 1)
    assert cost(loop("three"), run=False).total["macs"] == 3 * 32
    unknown = cost(loop("n"), run=False)
    assert {each.node for each in unknown.unknown} == {"loop", "m", "i"}
    assert unknown.total["macs"] == 0
    assert {row.path: row.partial for row in unknown.modules} == {"": True, "cell": True}
    assert [n.macs for n in unknown.nodes if n.node == "m"] == [None]


@pytest.mark.parametrize(("condition", "macs"), [(True, 32), (False, 0)])
def test_the_branch_that_is_taken_counts(condition, macs):
    then = helper.make_graph([node("MatMul", ["x", "w"], ["t"], "m", "a")], "t", [], [info("t", (2, 4))])
    other = helper.make_graph([node("Neg", ["x"], ["e"], "n", "b")], "e", [], [info("e", (2, 4))])
    source = model(
        [node("If", ["c"], ["y"], "if", "", then_branch=then, else_branch=other)],
        [weight("w", 4, 4)],
        inputs=(("x", (2, 4)), ("c", (), TensorProto.BOOL)),
    )
    found = cost(source, {"c": np.array(condition)})
    assert (found.total["macs"], found.total["elements"]) == (macs, 8 * (not condition))


def test_functions_count_at_each_call_for_the_caller():
    function = helper.make_function(
        "my", "f", ["a", "w"], ["b"], [helper.make_node("MatMul", ["a", "w"], ["b"])], [helper.make_opsetid("", 17)]
    )
    source = model(
        [node("f", ["x", "v"], ["h"], "one", "left", "my"), node("f", ["h", "w"], ["y"], "two", "right", "my")],
        [weight("v", 4, 3), weight("w", 3, 5)],
        opsets=(("", 17), ("my", 1)),
        functions=[function],
    )
    assert numbers(cost(source), "macs") == {"": 54, "left": 24, "right": 30}


def test_quantised_nodes_count_like_the_float_ones():
    source = model(
        [
            node("QuantizeLinear", ["x", "s", "z"], ["q"], "q", "fc"),
            node("DequantizeLinear", ["q", "s", "z"], ["d"], "d", "fc"),
            node("MatMul", ["d", "fc.weight"], ["y"], "m", "fc"),
        ],
        [weight("fc.weight", 4, 3), weight("s"), numpy_helper.from_array(np.array(0, np.uint8), "z")],
    )
    found = cost(source)
    assert (found.total["macs"], found.total["elements"]) == (24, 0)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    onnx.save(small().proto, tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


@pytest.mark.parametrize("options", [[], ["--by", "node"], ["--by", "op"], ["--depth", "1"], ["--top", "2"],
                                     ["--sort", "macs"], ["--no-run"]])  # fmt: skip
def test_json_is_what_the_schema_says(options, file, capsys):
    assert main(["cost", str(file), "--format", "json", *options]) == 0
    document = json.loads(capsys.readouterr().out)
    jsonschema.validate(document, schema("cost"))
    assert document["total"]["macs"] == 54
    assert ("nodes" in document) == (options == ["--by", "node"])


def test_depth_sort_and_top(file, capsys):
    def paths(*options):
        assert main(["cost", str(file), "--format", "json", *options]) == 0
        return [row["path"] for row in json.loads(capsys.readouterr().out)["modules"]]

    assert paths("--depth", "0") == [""]
    assert paths("--top", "1") == ["layers.10.fc"]
    assert paths("--sort", "macs")[2:] == ["layers.10", "layers.10.fc", "layers.1", "layers.1.fc"]
    assert paths()[2:] == ["layers.1", "layers.1.fc", "layers.10", "layers.10.fc"]


def test_the_table_is_a_tree(file, capsys):
    assert main(["cost", str(file)]) == 0
    out = capsys.readouterr().out.splitlines()
    assert "54 multiply-accumulates (108 FLOPs), 37 parameters" in out[0]
    rows = [line.split()[:3] for line in out[4:]]
    layers = [["Layer.1", "0", "24"], ["fc", "24", "24"], ["Layer.10", "0", "30"], ["fc", "30", "30"]]
    assert rows == [["/M", "0", "54"], *layers]
    assert [len(line) - len(line.lstrip()) for line in out[4:]] == [0, 2, 4, 2, 4]


def test_csv_has_a_line_per_node(file, capsys):
    assert main(["cost", str(file), "--format", "csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["node,op_type,path,macs,charged_to", "m1,MatMul,layers.1.fc,24,"]
    assert len(lines) == 6


def test_unknown_work_is_a_warning_and_no_finding(tmp_path, capsys):
    odd = node("Odd", ["x"], ["y"], "odd", "a", "of.mine")
    onnx.save(model([odd], opsets=(("", 17), ("of.mine", 1))).proto, tmp_path / "m.onnx")
    assert main(["cost", str(tmp_path / "m.onnx")]) == 0
    out, err = capsys.readouterr()
    assert "work of 1 node is not known" in err
    assert ">=0" in out


@pytest.mark.parametrize(
    "options",
    [
        ["--input-shape", "nope:1"],
        ["--input-shape", "x:1,2,3"],
        ["--input-shape", "x:99999999999999999999,4"],
        ["--inputs", "missing.npz"],
        ["--by", "nothing"],
        ["--top", "0"],
    ],
)
def test_wrong_input_is_one_line_and_2(options, file, capsys):
    assert main(["cost", str(file), *options]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "rror: " in err


def test_inputs_from_a_file(tmp_path, capsys):
    source = small()
    dim = source.proto.graph.input[0].type.tensor_type.shape.dim[0]
    dim.dim_param = "n"
    source.proto.graph.node[4].op_type = "Identity"
    del source.proto.graph.node[4].input[1]
    onnx.save(source.proto, tmp_path / "m.onnx")
    np.savez(tmp_path / "in.npz", x=np.zeros((10, 4), np.float32))
    assert main(["cost", str(tmp_path / "m.onnx"), "--inputs", str(tmp_path / "in.npz"), "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["inputs"] == {"x": [10, 4]}
    assert document["total"]["macs"] == 270
    assert load_model(tmp_path / "m.onnx") is not None
