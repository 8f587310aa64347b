"""Profiles written by hand, whose numbers are known."""

import json

import jsonschema
import pytest
from onnx import TensorProto, helper

from modelexport.analysis import profile
from modelexport.cli.modelexport import main
from modelexport.cli.schema import schema
from modelexport.ir.errors import InputError
from modelexport.ir.io.reader import from_proto

KEYS = ("htp.path", "htp.tag", "htp.source", "htp.rule", "htp.confidence")


def node(op_type, inputs, outputs, name, path, source="scope", **attributes):
    made = helper.make_node(op_type, inputs, outputs, name=name, **attributes)
    if path is not None:
        tag = "/M" + "".join(f"/{part}" for part in path.split(".") if part)
        for key, value in zip(KEYS, (path, tag, source, "test", "0.5" if source == "fallback" else "1.0"), strict=True):
            made.metadata_props.add(key=key, value=value)
    return made


def chain(*nodes, opset=17):
    """Each node reads what the one before makes."""
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [2]) for n in ("v0", f"v{len(nodes)}"))
    graph = helper.make_graph(list(nodes), "g", [x], [y])
    return from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8))


def unary(number, name, path, op_type="Relu", source="scope"):
    return node(op_type, [f"v{number}"], [f"v{number + 1}"], name, path, source)


def model():
    return chain(
        unary(0, "n0", "enc.a"), unary(1, "n1", "enc.b", "Neg"), unary(2, "n2", ""), unary(3, "n3", "dec", "Abs")
    )


def event(name, ts, dur, op="Relu", provider="CPUExecutionProvider"):
    return {
        "cat": "Node", "pid": 1, "tid": 1, "ts": ts, "dur": dur, "ph": "X", "name": f"{name}_kernel_time",
        "args": {"op_name": op, "provider": provider},
    }  # fmt: skip


def run(ts, dur):
    return {"cat": "Session", "pid": 1, "tid": 1, "ts": ts, "dur": dur, "ph": "X", "name": "model_run", "args": {}}


OPS = ("Relu", "Neg", "Relu", "Abs")


def one_run(start, durations, total):
    events, at = [], start
    for number, duration in enumerate(durations):
        events.append(event(f"n{number}", at, duration, OPS[number]))
        at += duration + 1
    return [*events, run(start, total)]


@pytest.fixture
def write(tmp_path):
    def write(data, name="p.json", lines=False):
        path = tmp_path / name
        text = "[\n" + ",\n".join(map(json.dumps, data)) + "\n]" if lines else json.dumps(data)
        path.write_text(text)
        return path

    return write


def numbers(report):
    return {row["path"]: (row["self_us"], row["total_us"]) for row in report.to_dict()["modules"]}


RUNS = [
    *one_run(0, (500, 500, 500, 500), 2100),  # the first run is special: dropped
    *one_run(3000, (10, 20, 30, 40), 110),
    *one_run(4000, (12, 20, 30, 44), 130),
    *one_run(5000, (11, 90, 30, 42), 190),
]


@pytest.mark.parametrize("form", ["list", "lines", "object"])
def test_medians_by_module(form, write):
    data = {"traceEvents": RUNS} if form == "object" else RUNS
    report = profile(model(), recorded=write(data, lines=form == "lines"))
    assert numbers(report) == {"": (30, 103), "enc": (0, 31), "enc.a": (11, 11), "enc.b": (20, 20), "dec": (42, 42)}
    assert report.runs == 3
    assert report.run_us == {"median": 130, "min": 110, "p90": 178}
    assert report.node_us == 103
    assert report.attributed_share == 1
    assert [n.us for n in report.nodes] == [11, 20, 30, 42]
    shares = {row["path"]: row["share"] for row in report.to_dict()["modules"]}
    assert shares["enc"] == pytest.approx(31 / 103)
    assert report.warnings == ()


def test_a_single_run_counts(write):
    report = profile(model(), recorded=write(RUNS[:5]))
    assert (report.runs, report.node_us, report.run_us["median"]) == (1, 2000, 2100)
    bare = profile(model(), recorded=write([each for each in RUNS if each["name"] != "model_run"]))
    assert bare.runs == 1
    assert bare.run_us == {"median": None, "min": None, "p90": None}
    assert [n.us for n in bare.nodes] == [533, 630, 590, 626]  # all events are one run


def test_an_incomplete_last_run_is_dropped_with_a_warning(write):
    cut = [*RUNS, event("n0", 6000, 900)]
    report = profile(model(), recorded=write(cut))
    assert (report.runs, report.node_us) == (3, 103)
    assert any("ends inside a run" in line for line in report.warnings)
    short = [*RUNS, event("n0", 6000, 900), run(6000, 901)]
    report = profile(model(), recorded=write(short))
    assert (report.runs, report.node_us) == (3, 103)
    assert any("incomplete" in line for line in report.warnings)


def test_a_profile_that_ends_inside_the_first_run_says_so(write, monkeypatch):
    from modelexport.analysis.profiling import ort_events

    bare = write([each for each in RUNS if each["name"] != "model_run"])
    assert profile(model(), recorded=bare).warnings == ()
    monkeypatch.setattr(ort_events, "_MOST_EVENTS", 16)
    assert ["inside the first run" in line for line in profile(model(), recorded=bare).warnings] == [True]
    assert profile(model(), recorded=write(RUNS, "whole.json")).warnings == ()


def test_events_of_no_module_are_the_roots(write):
    extra = [event("reorder", 3050, 7, "ReorderInput"), event("reorder", 4050, 7, "ReorderInput")]
    extra.append(event("reorder", 5050, 7, "ReorderInput"))
    extra.append(event("reorder", 50, 7, "ReorderInput"))
    report = profile(model(), recorded=write([*RUNS, *extra]))
    assert numbers(report)[""] == (37, 110)
    document = report.to_dict()
    assert document["unattributed"] == [{"node": "reorder", "op_type": "ReorderInput", "us": 7}]
    assert document["attributed_share"] == pytest.approx(103 / 110)
    assert sum(row["self_us"] for row in document["modules"]) == document["node_us"] == 110
    assert {each["node"] for each in document["nodes"]} == {"n0", "n1", "n2", "n3"}


def test_fallback_is_not_attributed(write):
    source = chain(unary(0, "n0", "a"), unary(1, "n1", "", "Neg", source="fallback"))
    report = profile(source, recorded=write([event("n0", 0, 30), event("n1", 40, 10, "Neg")]))
    assert report.attributed_share == 0.75
    assert report.to_dict()["unattributed"] == []


def test_the_time_of_bodies_counts_once(write):
    inner = helper.make_graph(
        [node("Neg", ["h"], ["k"], "inner", "cell"), node("Identity", ["go"], ["on"], "on", "cell")],
        "b",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("h", TensorProto.FLOAT, [2]),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("k", TensorProto.FLOAT, [2]),
        ],
    )
    loop = node("Loop", ["n", "", "v0"], ["v1"], "loop", "", body=inner)
    graph = helper.make_graph(
        [loop],
        "g",
        [
            helper.make_tensor_value_info("v0", TensorProto.FLOAT, [2]),
            helper.make_tensor_value_info("n", TensorProto.INT64, []),
        ],
        [helper.make_tensor_value_info("v1", TensorProto.FLOAT, [2])],
    )
    source = from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    events = [
        event("inner", 105, 10, "Neg"),
        event("on", 116, 2, "Identity"),
        event("inner", 120, 14, "Neg"),
        event("on", 135, 3, "Identity"),
        event("loop", 100, 55, "Loop"),
        run(90, 80),
    ]
    report = profile(source, recorded=write(events))
    assert numbers(report) == {"": (26, 55), "cell": (29, 29)}
    assert {n.node: n.us for n in report.nodes} == {"loop": 26, "inner": 24, "on": 5}
    trace = report.chrome_trace()["traceEvents"]
    slices = [(e["name"], e["ts"], e["dur"]) for e in trace if e["ph"] == "X"]
    assert ("Loop loop", 100, 55) in slices
    assert ("cell", 105, 33) in slices


def test_time_by_provider(write):
    events = [event("n0", 0, 30, "Relu", "CUDAExecutionProvider"), event("n1", 40, 10, "Neg")]
    document = profile(model(), recorded=write(events)).to_dict()
    rows = {row["path"]: row["providers"] for row in document["modules"]}
    assert rows[""] == {"CUDAExecutionProvider": 30, "CPUExecutionProvider": 10}
    assert rows["enc.b"] == {"CPUExecutionProvider": 10}
    assert document["runtime"]["providers"] == ["CUDAExecutionProvider", "CPUExecutionProvider"]


def test_unnamed_nodes_are_found_by_their_place(write):
    source = chain(unary(0, "", "a"), unary(1, "", "b", "Neg"), unary(2, "", "c"))
    events = [event("Relu_0", 0, 3), event("Neg_1", 4, 5, "Neg"), event("Relu_2", 9, 7)]
    assert numbers(profile(source, recorded=write(events), optimization="disable")) == {
        "": (0, 15), "a": (3, 3), "b": (5, 5), "c": (7, 7),
    }  # fmt: skip
    wrong = [event("Relu_1", 0, 3), event("Neg_0", 4, 5, "Neg")]  # places in another graph
    report = profile(source, recorded=write(wrong), optimization="disable")
    assert numbers(report)[""] == (8, 8)
    assert report.attributed_share == 0


def test_short_nodes_are_told(write):
    report = profile(model(), recorded=write([event("n0", 0, 1), event("n1", 4, 1, "Neg"), event("n2", 9, 5)]))
    assert any("29% of the time is in nodes below 2 us" in line for line in report.warnings)


ENGINE = [
    {"count": 50},
    {"name": "n0 + n1", "timeMs": 5.0, "averageMs": 0.1, "medianMs": 0.09, "percentage": 60},
    {"name": "Reformatting CopyNode for Input Tensor 0 to n2", "timeMs": 1.0, "averageMs": 0.02, "percentage": 10},
    {"name": "{ForeignNode[n2...n3]}", "timeMs": 2.0, "percentage": 20},
    {"name": "__myl_Fc_0x1", "timeMs": 1.0, "averageMs": 0.01, "medianMs": 0.01, "percentage": 10},
]


def test_an_engines_layers_belong_to_what_their_modules_have_in_common(write):
    report = profile(model(), recorded=write(ENGINE))
    assert report.source == "tensorrt"
    assert report.runs == 50
    assert {n.node: (n.path, n.us) for n in report.nodes} == {
        "n0 + n1": ("enc", 90),
        "Reformatting CopyNode for Input Tensor 0 to n2": (None, 20),
        "{ForeignNode[n2...n3]}": ("", 40),
        "__myl_Fc_0x1": (None, 10),
    }
    assert numbers(report)[""] == (70, 160)
    assert report.attributed_share == pytest.approx(130 / 160)
    jsonschema.validate(report.to_dict(), schema("profile"))


@pytest.mark.parametrize("separator", ["\x1e", "\x1f"])
def test_layer_information_names_the_nodes(separator, write):
    metadata = separator.join(f"[ONNX Layer: {name}]" for name in ("n0", "n1"))
    layers = {"Layers": [{"Name": "__myl_Fc_0x1", "LayerType": "kgen", "Metadata": metadata}, "old"], "Bindings": []}
    report = profile(model(), recorded=write(ENGINE), layer_info=write(layers, "l.json"))
    (layer,) = [n for n in report.nodes if n.node == "__myl_Fc_0x1"]
    assert (layer.path, layer.op_type) == ("enc", "kgen")


def test_a_foreign_node_is_all_that_lies_between(write):
    source = chain(*(unary(i, f"n{i}", f"enc.layer.{i // 2}.{'ab'[i % 2]}") for i in range(6)))
    report = profile(source, recorded=write([{"name": "{ForeignNode[n2...n3]}", "averageMs": 1.5}]))
    assert (report.nodes[0].path, report.nodes[0].us) == ("enc.layer.1", 1500)
    report = profile(source, recorded=write([{"name": "{ForeignNode[n1...n4]}", "averageMs": 1.5}]))
    assert report.nodes[0].path in ("enc", "enc.layer")
    report = profile(source, recorded=write([{"name": "PWN(n0, n1)", "averageMs": 1.5}]))
    assert report.nodes[0].path == "enc.layer.0"


@pytest.mark.parametrize("time", ['"five"', "-5", "NaN", "Infinity", "true", "[5]"])
@pytest.mark.parametrize("key", ["dur", "ts"])
def test_a_time_that_is_none_is_refused(time, key, tmp_path):
    other = {"dur": "ts", "ts": "dur"}[key]
    event = f'{{"cat": "Node", "name": "x_kernel_time", "{key}": {time}, "{other}": 1, "args": {{}}}}'
    (tmp_path / "p.json").write_text(f"[{event}]")
    with pytest.raises(InputError, match=f"x_kernel_time.*: {key} is no time"):
        profile(model(), recorded=tmp_path / "p.json")


@pytest.mark.parametrize("text", ["", "{}", "[]", "[1, 2]", "not json", '[{"count": 3}]', '{"traceEvents": 3}', "null"])
def test_what_is_no_profile_is_refused(text, tmp_path):
    path = tmp_path / "p.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"p\.json"):
        profile(model(), recorded=path)
    with pytest.raises(InputError, match=r"missing\.json"):
        profile(model(), recorded=tmp_path / "missing.json")


def test_speedscope_has_a_stack_for_each_node(write):
    document = profile(model(), recorded=write(RUNS)).speedscope()
    names = [frame["name"] for frame in document["shared"]["frames"]]
    (drawn,) = document["profiles"]
    assert (drawn["type"], drawn["unit"], drawn["endValue"]) == ("sampled", "microseconds", 103)
    stacks = [[names[index] for index in sample] for sample in drawn["samples"]]
    assert stacks == [
        ["/M", "enc", "enc.a", "Relu n0"], ["/M", "enc", "enc.b", "Neg n1"], ["/M", "Relu n2"], ["/M", "dec", "Abs n3"],
    ]  # fmt: skip
    assert drawn["weights"] == [11, 20, 30, 42]


def test_chrome_trace_is_one_median_run(write):
    trace = profile(model(), recorded=write(RUNS)).chrome_trace()["traceEvents"]
    slices = [(e["name"], e["cat"], e["ts"], e["dur"]) for e in trace if e["ph"] == "X"]
    assert ("Relu n0", "node", 4000, 12) in slices  # of the run of 130 us
    assert ("enc.b", "module", 4013, 20) in slices
    assert ("/M", "module", 4000, 109) in slices


def test_the_command_reads_a_profile(write, tmp_path, capsys):
    import onnx

    onnx.save(model().proto, tmp_path / "m.onnx")
    arguments = ["profile", str(tmp_path / "m.onnx"), "--profile", str(write(RUNS))]
    flame, trace = tmp_path / "flame.json", tmp_path / "trace.json"
    assert main([*arguments, "--format", "json", "--speedscope", str(flame), "--chrome-trace", str(trace)]) == 0
    document = json.loads(capsys.readouterr().out)
    jsonschema.validate(document, schema("profile"))
    assert document["node_us"] == 103
    assert json.loads(flame.read_text())["profiles"][0]["endValue"] == 103
    assert json.loads(trace.read_text())["traceEvents"]
    assert main([*arguments, "--format", "csv"]) == 0
    assert capsys.readouterr().out.splitlines()[1] == "n0,Relu,enc.a,11,CPUExecutionProvider,scope,1.0"
    for by, word in (("module", "(runtime) 27 us"), ("op", "Relu"), ("node", "enc.b"), ("provider", "CPU")):
        assert main([*arguments, "--by", by]) == 0
        assert word in capsys.readouterr().out
    assert main([*arguments, "--runs", "3", "--inputs", str(flame)]) == 2
    assert main(["profile", str(tmp_path / "m.onnx"), "--layer-info", str(flame)]) == 2
    assert main([*arguments, "--speedscope", str(tmp_path / "m.onnx")]) == 2
