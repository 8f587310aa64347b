"""Profiles in which a name is not enough: kept ones of renamed copies, names of several graphs, graphs of constants."""

from __future__ import annotations

import json

import onnx
import pytest
from onnx import parser

from modelexport.analysis import profile
from modelexport.cli import modelexport
from modelexport.ir.attribution import Attribution, Source
from modelexport.ir.io.reader import from_proto

HEAD = '<ir_version: 8, opset_import: ["" : 17, "own" : 1]>'
WEIGHTS = "<float[4,4] W = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}, float[4] B = {1,2,3,4}>"
UNNAMED = f"""{HEAD} g (float[2,4] x) => (float[2,4] y) {WEIGHTS} {{
    a = MatMul (x, W) b = Add (a, B) c = Relu (b) d = MatMul (c, W) y = Add (d, B) }}"""
BODIES = f"""{HEAD} g (float[2,4] x, int64 n, bool k) => (float[2,4] y) {WEIGHTS} {{
    a = Relu (x)
    b = Loop (n, k, a) <body = l (int64 i, bool c, float[2,4] v) => (bool e, float[2,4] w)
        {{ e = Identity (c) t = MatMul (v, W) u = Add (t, B) w = Relu (u) }}>
    y = Relu (b) }}"""
FUNCTIONS = f"""{HEAD} g (float[2,4] x) => (float[2,4] y) {WEIGHTS} {{ a = own.F (x, W) y = own.F (a, W) }}
    <domain: "own", opset_import: ["" : 17]> F (p, q) => (r) {{ s = MatMul (p, q) r = Relu (s) }}"""
SCAN = f"""{HEAD} g (float[6,4] x, float[4] s) => (float[4] y, float[6,4] z) {WEIGHTS} {{
    f, z = Scan <num_scan_inputs = 1, body = l (float[4] v, float[4] r) => (float[4] o, float[4] p)
        <float[4,4] V = {{1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}}, float[4] D = {{1,2,3,4}}>
        {{ t = MatMul (r, V) p = Add (t, D) o = Add (v, p) }}> (s, x)
    a = MatMul (f, W) y = Add (a, B) }}"""
CONSTANT = f"{HEAD} g () => (float[4,4] y) {WEIGHTS} {{ a = MatMul (W, W) y = Relu (a) }}"


def own_times(document):
    return {row["path"]: row["self_us"] for row in document["modules"] if row["self_us"]}


@pytest.mark.parametrize("level", ["disable", "all"])
@pytest.mark.parametrize("name", ["", "same"])
@pytest.mark.parametrize("text", [UNNAMED, BODIES, FUNCTIONS], ids=["chain", "bodies", "functions"])
def test_a_kept_profile_is_read_again_where_nodes_have_no_names_of_their_own(text, name, level, tmp_path):
    proto = parser.parse_model(text)
    for node in proto.graph.node:
        node.name = name
    model = from_proto(proto)
    for number, node in enumerate(model.nodes()):
        node.attribute_to(Attribution(f"part{number % 3}", Source.SCOPE, "test", 1.0))
    kept = tmp_path / "p.json"
    ran = profile(model, runs=2, warmup=1, optimization=level, save_profile=kept).to_dict()
    read = profile(model, recorded=kept, optimization=level).to_dict()
    assert own_times(read) == own_times(ran) and not read["unattributed"] and not ran["unattributed"]
    assert [node["node"] for node in read["nodes"]] == [node["node"] for node in ran["nodes"]]


def test_what_onnxruntime_makes_under_one_name_in_several_graphs_is_told_apart(tmp_path):
    """A vector's product becomes a Gemm between two Reshapes, called the same in the graph and in the body."""
    proto = parser.parse_model(SCAN)
    proto.graph.node[0].name = "/rec/Scan"
    for node in proto.graph.node[1:]:
        node.name = f"/head/{node.op_type}"
    kept = tmp_path / "p.json"
    ran = profile(from_proto(proto), runs=3, warmup=1, save_profile=kept).to_dict()
    made = [node for node in ran["nodes"] if node["op_type"] == "Reshape"]
    assert {node["path"] for node in made} == {"rec", "head"}
    assert not ran["unattributed"] and ran["attributed_share"] == 1
    assert own_times(profile(from_proto(proto), recorded=kept).to_dict()) == own_times(ran)


def test_a_graph_of_constants_has_nothing_to_time(tmp_path, capsys):
    file = tmp_path / "m.onnx"
    onnx.save(parser.parse_model(CONSTANT), file)
    kept = tmp_path / "p.json"
    for options in (["--save-profile", str(kept)], ["--profile", str(kept)]):
        assert modelexport.main(["profile", str(file), *options, "--format", "json"]) == 0
        out, err = capsys.readouterr()
        found = json.loads(out)
        assert (found["node_us"], found["attributed_share"], found["nodes"]) == (0, None, [])
        assert "no node was left to run" in err


def test_unnamed_nodes_in_a_body_are_of_the_module_that_runs_it():
    """onnxruntime makes a Loop of SequenceMap, with nodes of its own around the body's."""
    text = f"""{HEAD} g (float[2,4] x) => (float[4,4] y) {{
        ["/a/Relu"] h = Relu (x)
        ["/a/SequenceConstruct"] s = SequenceConstruct (h, x)
        ["/map/SequenceMap"] q = SequenceMap <body = l (float[2,4] e) => (float[2,4] f)
            {{ ["/map/Neg"] f = Neg (e) }}> (s)
        ["/a/ConcatFromSequence"] y = ConcatFromSequence <axis = 0> (q) }}"""
    report = profile(from_proto(parser.parse_model(text)), runs=2, warmup=1).to_dict()
    assert report["unattributed"] == [] and report["attributed_share"] == 1
    inner = [node for node in report["nodes"] if node["op_type"] in ("SequenceAt", "SequenceInsert")]
    assert inner and {(node["path"], node["source"]) for node in inner} == {("map", "inherited")}
