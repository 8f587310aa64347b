"""Profiles of real runs: every node finds its module, at every level of optimisation."""

import json
from collections import defaultdict

import jsonschema
import numpy as np
import onnx
import pytest
import torch

from modelexport import HierarchyExporter
from modelexport.analysis import profile
from modelexport.cli.modelexport import main
from modelexport.cli.schema import schema
from modelexport.ir.errors import InputError
from modelexport.ir.io.reader import from_proto


class Block(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = torch.nn.LayerNorm(width)
        self.up = torch.nn.Linear(width, 2 * width)
        self.down = torch.nn.Linear(2 * width, width)

    def forward(self, x):
        return x + self.down(torch.nn.functional.gelu(self.up(self.norm(x))))


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = torch.nn.ModuleList([Block(16), Block(16)])
        self.head = torch.nn.Linear(16, 4)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return torch.relu(self.head(x))


@pytest.fixture(scope="module", params=["torchscript", "dynamo"])
def file(request, tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp(request.param) / "net.onnx"
    HierarchyExporter(sidecar=False).export(Net().eval(), torch.randn(2, 16), path, dynamo=request.param == "dynamo")
    return path


@pytest.mark.parametrize("level", ["disable", "basic", "extended", "all"])
def test_all_time_is_attributed(level, file, tmp_path):
    kept = tmp_path / "kept.json"
    report = profile(file, runs=3, warmup=1, optimization=level, save_profile=kept)
    document = report.to_dict()
    jsonschema.validate(document, schema("profile"))
    assert report.attributed_share == 1
    assert (document["runs"], document["warmup"]) == (3, 1)
    assert sum(row["self_us"] for row in document["modules"]) == pytest.approx(document["node_us"])
    rows = {row["path"]: row for row in document["modules"]}
    for row in document["modules"]:
        inside = sum(each["total_us"] for each in document["modules"] if each["parent"] == row["path"])
        assert row["total_us"] == pytest.approx(row["self_us"] + inside)
        assert row["parent"] is None or row["parent"] in rows
    assert rows["blocks.0"]["total_us"] > 0
    events = [event for event in json.loads(kept.read_text()) if event.get("cat") == "Node"]
    assert {event["name"].removesuffix("_kernel_time") for event in events}
    assert sum(event["name"] == "model_run" for event in json.loads(kept.read_text())) == 4


def test_without_optimisation_it_is_what_adding_up_by_name_gives(file, tmp_path):
    kept = tmp_path / "kept.json"
    document = profile(file, runs=3, warmup=0, optimization="disable", save_profile=kept).to_dict()
    paths = {
        node.name: {entry.key: entry.value for entry in node.metadata_props}["htp.path"]
        for node in onnx.load(file).graph.node
    }
    times = defaultdict(lambda: [0, 0, 0])
    run = 0
    for event in json.loads(kept.read_text()):
        if event["name"] == "model_run":
            run += 1
        elif event.get("cat") == "Node":
            times[event["name"].removesuffix("_kernel_time")][run] += event["dur"]
    assert set(times) <= set(paths)
    expected = defaultdict(float)
    for name, durations in times.items():
        expected[paths[name]] += float(np.median(durations))
    assert {row["path"]: row["self_us"] for row in document["modules"] if row["self_us"]} == {
        path: us for path, us in expected.items() if us
    }


def test_a_kept_profile_gives_the_same_numbers_again(file, tmp_path):
    kept = tmp_path / "kept.json"
    first = profile(file, runs=3, warmup=1, save_profile=kept)
    again = profile(file, recorded=kept)
    assert again.attributed_share == 1
    assert again.node_us == first.node_us
    assert {n.node: (n.path, n.us) for n in again.nodes} == {n.node: (n.path, n.us) for n in first.nodes}


def test_unnamed_nodes_bodies_and_functions_find_their_modules():
    proto = onnx.parser.parse_model("""
    <ir_version: 8, opset_import: ["" : 17, "my": 1]>
    g (float[64,64] x, int64 times) => (float[64,64] y) {
      a = Relu(x)
      s = Loop(times, , a) <body = b (int64 i, bool go, float[64,64] h) => (bool out, float[64,64] k) {
        out = Identity(go)
        r = Relu(h)
        k = my.f(r)
      }>
      y = my.f(s)
    }
    <domain: "my", opset_import: ["" : 17]>
    f (v) => (w) { t = Exp(v) w = Neg(t) }
    """)

    def tagged(node, path):
        for key, value in (("htp.path", path), ("htp.tag", f"/M/{path}"), ("htp.source", "scope"), ("htp.rule", "t"),
                           ("htp.confidence", "1.0")):  # fmt: skip
            node.metadata_props.add(key=key, value=value)

    relu, loop, call = proto.graph.node
    tagged(relu, "first")
    tagged(loop, "loop")
    tagged(call, "last")
    for node, path in zip(loop.attribute[0].g.node, ("loop.cell", "loop.cell.act", "loop.cell.f"), strict=True):
        tagged(node, path)
    report = profile(from_proto(proto), {"times": np.array(3)}, runs=2, warmup=1, optimization="disable")
    found = {(n.op_type, n.path) for n in report.nodes}
    assert found == {
        ("Relu", "first"), ("Loop", "loop"), ("Identity", "loop.cell"), ("Relu", "loop.cell.act"),
        ("Exp", "loop.cell.f"), ("Neg", "loop.cell.f"), ("Exp", "last"), ("Neg", "last"),
    }  # fmt: skip
    total = sum(n.us for n in report.nodes)
    assert report.modules[0].total["us"] == pytest.approx(total)
    assert total <= report.run_us["median"] + 5


def test_a_level_that_is_not_there(file):
    with pytest.raises(InputError, match="no optimisation level 'most'; there are: disable, basic"):
        profile(file, optimization="most")


@pytest.mark.parametrize("threads", [-1, 1025, 99_999])
def test_more_threads_than_there_can_be(file, threads):
    with pytest.raises(InputError, match=f"{threads} threads: from 1 to 1024, or 0"):
        profile(file, threads=threads)


def test_a_provider_that_is_not_there(file, capsys):
    with pytest.raises(InputError, match="CPUExecutionProvider"):
        profile(file, providers=["NoSuchExecutionProvider"])
    assert main(["profile", str(file), "--provider", "NoSuchExecutionProvider"]) == 2
    assert "there are: " in capsys.readouterr().err


def test_the_command(file, tmp_path, capsys):
    flame, trace = tmp_path / "f.json", tmp_path / "t.json"
    options = ["--runs", "2", "--warmup", "0", "--speedscope", str(flame), "--chrome-trace", str(trace)]
    assert main(["profile", str(file), *options]) == 0
    out, err = capsys.readouterr()
    assert "(runtime)" in out
    assert "%" not in err.replace("% of the time", "")  # progress is for terminals
    drawn = json.loads(flame.read_text())["profiles"][0]
    assert sum(drawn["weights"]) == drawn["endValue"]
    slices = [event for event in json.loads(trace.read_text())["traceEvents"] if event["ph"] == "X"]
    nodes = [event for event in slices if event["cat"] == "node"]
    modules = [event for event in slices if event["cat"] == "module"]
    assert nodes
    for node in nodes:
        assert any(m["ts"] <= node["ts"] and node["ts"] + node["dur"] <= m["ts"] + m["dur"] for m in modules)
    assert main(["profile", str(file), "--input-shape", "nope:1"]) == 2


def test_a_failed_run_leaves_outputs_alone(file, tmp_path):
    kept = tmp_path / "kept.json"
    kept.write_text("before")
    arguments = ["profile", str(file), "--provider", "No", "--save-profile", str(kept)]
    assert main(arguments) == 2
    assert kept.read_text() == "before"
    assert list(tmp_path.iterdir()) == [kept]
