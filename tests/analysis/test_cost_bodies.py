"""Bodies that onnxruntime runs as parts of other operators, and functions whose attributes have defaults."""

import numpy as np
import pytest
from onnx import parser

from modelexport.analysis import cost, profile
from modelexport.ir.io.reader import from_proto

HEAD = '<ir_version: 10, opset_import: ["" : 17, "my" : 1]>'
MAPPED = f"""{HEAD} g (float[N,3] x, float[3,4] w) => (float[N,4] y) <int64 axis = {{0}}> {{
    ["/a/Split"] s = SplitToSequence <axis = 0, keepdims = 1> (x)
    ["/map/SequenceMap"] r = SequenceMap <body = l (float[1,3] e) => (float[1,4] f) {{
        ["/map/fc/MatMul"] m = MatMul (e, w)
        ["/map/act/Relu"] f = Relu (m) }}> (s)
    ["/a/Concat"] y = ConcatFromSequence <axis = 0> (r) }}"""
WITH_DEFAULT = f"""{HEAD} g (float[2,3] x, float[5,3] v, float[5,6] w) => (float[2,6] y) {{
    ["/a/f"] h = my.f (x, v)
    ["/b/f"] y = my.f <turned = 0> (h, w) }}
<domain: "my", opset_import: ["" : 17]>
f <turned: int = 1> (a, b) => (c) {{ c = Gemm <transB: int = @turned> (a, b) }}"""


def test_the_body_of_a_sequence_map_counts_once_for_each_element():
    model = from_proto(parser.parse_model(MAPPED))
    found = cost(model, {"x": np.ones((5, 3), np.float32)})
    assert (found.shapes, found.unknown) == ("run", ())
    assert {row.path: row.own["macs"] for row in found.modules if row.own["macs"]} == {"map.fc": 5 * 3 * 4}
    assert {row.path: row.own["elements"] for row in found.modules if row.own["elements"]} == {"map.act": 5 * 4}
    static = cost(model, shapes={"x": (5, 3)}, run=False)
    assert {"/map/fc/MatMul", "/map/act/Relu"} <= {each.node for each in static.unknown}
    assert {row.path for row in static.modules if row.partial} >= {"", "map", "map.fc", "map.act"}


def test_a_body_of_which_a_run_shows_nothing_is_unknown(monkeypatch):
    """As in an onnxruntime that calls its nodes otherwise."""
    from modelexport.passes.running import shapes

    monkeypatch.setattr(shapes, "name_in_body", lambda name: name)
    found = cost(from_proto(parser.parse_model(MAPPED)), {"x": np.ones((5, 3), np.float32)})
    assert {each.node for each in found.unknown} == {"/map/fc/MatMul", "/map/act/Relu"}
    assert found.modules[0].partial and found.total["macs"] == 0


def test_counts_of_a_profile_that_is_cut_short_are_lower_bounds(monkeypatch, tmp_path):
    from modelexport.ir.io.writer import save_model
    from modelexport.passes.running import shapes

    text = f"""{HEAD} g (float[1,2] x, int64 n) => (float[1,2] z) <float[2,2] w = {{1, 2, 3, 4}}, bool yes = {{1}}> {{
        ["/loop/Loop"] y = Loop <body = b (int64 i, bool c, float[1,2] s) => (bool d, float[1,2] t) {{
            ["/loop/fc/MatMul"] t = MatMul (s, w)
            ["/loop/Identity"] d = Identity (c) }}> (n, yes, x)
        ["/head/MatMul"] z = MatMul (y, w) }}"""
    save_model(from_proto(parser.parse_model(text)), tmp_path / "m.onnx")
    arrays = {"n": np.array(9)}
    assert cost(tmp_path / "m.onnx", arrays).total["macs"] == 9 * 4 + 4
    runs = []

    def cut(path, whole=shapes.read_events):
        runs.append(path)
        events = list(whole(path))
        inner = [place for place, event in enumerate(events) if "/loop/fc" in str(event.get("name"))]
        yield from events[: inner[5]]

    monkeypatch.setattr(shapes, "read_events", cut)
    found = cost(tmp_path / "m.onnx", arrays)
    partial = {row.path for row in found.modules if row.partial}
    assert partial == {"", "loop", "loop.fc", "head"} and found.total["macs"] == 5 * 4
    assert {each.reason for each in found.unknown if each.path == "loop.fc"} == {"the profile of the run is cut short"}
    assert len(runs) == 1


@pytest.mark.parametrize("optimization", ["disable", "all"])
def test_the_time_of_such_a_body_is_of_its_modules(optimization):
    model = from_proto(parser.parse_model(MAPPED))
    arrays = {"x": np.ones((5, 3), np.float32)}
    report = profile(model, arrays, runs=2, warmup=1, optimization=optimization)
    paths = {node.node: node.path for node in report.nodes}
    assert (paths["/map/fc/MatMul"], paths["/map/act/Relu"]) == ("map.fc", "map.act")


@pytest.mark.parametrize("run", [True, False])
def test_an_attribute_that_a_call_leaves_out_has_the_default_of_the_function(run):
    found = cost(from_proto(parser.parse_model(WITH_DEFAULT)), run=run)
    assert found.unknown == ()
    assert {row.path: row.own["macs"] for row in found.modules if row.own["macs"]} == {"a": 2 * 3 * 5, "b": 2 * 5 * 6}
    report = profile(from_proto(parser.parse_model(WITH_DEFAULT)), runs=2, warmup=0)
    assert {node.path for node in report.nodes} == {"a", "b"}
