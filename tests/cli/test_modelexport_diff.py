"""diff on the command line: exit codes, JSON, the table, wrong usage."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from modelexport.cli.schema import schema
from modelexport.passes.testing import make_model

jsonschema = pytest.importorskip("jsonschema")
TEXT = """
    g (float[N,2] X) => (float[N,2] Y) <float[2,2] W = {1, 2, 3, 4}> {
        ["/enc/MatMul"] p = MatMul (X, W)
        ["/enc/act/Softmax"] q = Softmax <axis = 1> (p)
        ["/head/Relu"] Y = Relu (q)
    }
"""
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(run: Run, folder: Path) -> Run:
    Path("a.onnx").write_bytes(make_model(TEXT).proto.SerializeToString())
    return run


def edited(old: str, new: str) -> None:
    Path("b.onnx").write_bytes(make_model(TEXT.replace(old, new)).proto.SerializeToString())


def test_equal_models(run: Run) -> None:
    edited("p = MatMul", "other = MatMul")
    Path("b.onnx").write_bytes(make_model(TEXT.replace("p =", "r =").replace("(p)", "(r)")).proto.SerializeToString())
    assert run("diff", "a.onnx", "b.onnx") == (0, "no differences\n", "")
    code, out, _ = run("diff", "a.onnx", "b.onnx", "--format", "json")
    found = json.loads(out)
    jsonschema.validate(found, schema("diff"))
    assert code == 0 and found["identical"] and found["summary"]["nodes"]["same"] == 3


def test_one_attribute(run: Run) -> None:
    edited("axis = 1", "axis = 0")
    code, out, _ = run("diff", "a.onnx", "b.onnx", "--format", "json")
    found = json.loads(out)
    jsonschema.validate(found, schema("diff"))
    assert code == 1
    assert [(module["path"], module["status"]) for module in found["modules"]] == [("enc.act", "changed")]
    [change] = found["modules"][0]["nodes"]["changed"]
    assert change["attributes"] == {"axis": [1, 0]} and change["a"]["name"] == "/enc/act/Softmax"
    code, out, _ = run("diff", "a.onnx", "b.onnx")
    assert code == 1 and "axis: 1 -> 0" in out and out.endswith("1 module changed: 1 node, 0 weights\n")
    assert run("diff", "a.onnx", "b.onnx", "--ignore", "attributes")[0] == 0
    assert run("diff", "a.onnx", "b.onnx", "--select", "path:head")[0] == 0


def test_a_number_that_json_has_not_is_a_text(run: Run) -> None:
    models = [make_model(TEXT.replace("axis = 1", "axis = 1, scale = 2.0")).proto for _ in range(2)]
    models[1].graph.node[1].attribute[1].f = float("inf")
    for name, model in zip(("a.onnx", "b.onnx"), models, strict=True):
        Path(name).write_bytes(model.SerializeToString())
    _, out, _ = run("diff", "a.onnx", "b.onnx", "--format", "json")
    found = json.loads(out, parse_constant=pytest.fail)
    assert found["modules"][0]["nodes"]["changed"][0]["attributes"] == {"scale": [2.0, "inf"]}


def test_one_weight_and_the_tolerance(run: Run) -> None:
    edited("{1, 2, 3, 4}", "{1, 2, 3, 4.5}")
    code, out, _ = run("diff", "a.onnx", "b.onnx", "--format", "json")
    [weight] = json.loads(out)["modules"][0]["weights"]
    assert code == 1
    assert (weight["a"], weight["shape"], weight["dtype"]) == ("W", [[2, 2], [2, 2]], ["float32", "float32"])
    assert (weight["elements"], weight["differing"], weight["max_abs"]) == (4, 1, 0.5)
    assert weight["rel_l2"] == pytest.approx(0.5 / 30**0.5)
    assert run("diff", "a.onnx", "b.onnx", "--atol", "0.5")[0] == 0
    assert run("diff", "a.onnx", "b.onnx", "--atol", "0.4")[0] == 1
    assert run("diff", "a.onnx", "b.onnx", "--rtol", "0.12")[0] == 0  # |4 - 4.5| <= 0.12 * 4.5
    assert run("diff", "a.onnx", "b.onnx", "--rtol", "0.11")[0] == 1
    assert run("diff", "a.onnx", "b.onnx", "--ignore", "weights")[0] == 0


def test_compare_sees_weights_and_not_tags_alone(run: Run) -> None:
    edited("{1, 2, 3, 4}", "{1, 2, 3, 4.5}")
    code, out, _ = run("compare", "a.onnx", "b.onnx", "--format", "json")
    found = json.loads(out)
    jsonschema.validate(found, schema("compare"))
    jsonschema.validate(found["diff"], schema("diff"))
    assert code == 1 and not found["modules"] and found["diff"]["summary"]["weights"] == {"changed": 1, "same": 0}


def test_a_renamed_module(run: Run) -> None:
    edited("/enc/", "/encoder/")
    assert run("diff", "a.onnx", "b.onnx")[0] == 1
    assert run("diff", "a.onnx", "b.onnx", "--map", "enc=encoder") == (0, "no differences\n", "")
    two = ("--map", "enc=encoder", "--map", "head=tail")
    Path("b.onnx").write_bytes(
        make_model(TEXT.replace("/enc/", "/encoder/").replace("/head/", "/tail/")).proto.SerializeToString()
    )
    assert run("diff", "a.onnx", "b.onnx", *two)[0] == 0 and run("diff", "a.onnx", "b.onnx", *two[:2])[0] == 1
    Path("b.onnx").write_bytes(
        make_model(TEXT.replace("/enc/", "/top/enc/").replace("/head/", "/top/head/")).proto.SerializeToString()
    )
    _, out, _ = run("diff", "a.onnx", "b.onnx", "--map", ".=top")
    assert "MatMul" not in out and "Softmax" not in out and "Relu" not in out


def test_attributing_in_memory_is_said_when_asked(run: Run) -> None:
    edited("p =", "p =")
    for name in ("diff", "compare"):
        assert run(name, "a.onnx", "b.onnx")[2] == ""
        code, _, err = run(name, "a.onnx", "b.onnx", "-v")
        assert code == 0 and "a.onnx: 3 nodes have no tag" in err and "b.onnx: 3 nodes have no tag" in err


def test_external_data_is_read(run: Run) -> None:
    model = make_model(TEXT).proto
    data = numpy_helper.to_array(model.graph.initializer[0]).tobytes()
    model.graph.initializer[0].CopyFrom(onnx.TensorProto(name="W", data_type=1, dims=[2, 2], data_location=1))
    model.graph.initializer[0].external_data.add(key="location", value="b.data")
    model.graph.initializer[0].external_data.add(key="offset", value="4")
    Path("b.onnx").write_bytes(model.SerializeToString())
    Path("b.data").write_bytes(b"\0" * 4 + data)
    assert run("diff", "a.onnx", "b.onnx")[:2] == (0, "no differences\n")
    Path("b.data").write_bytes(b"\0" * 4 + data[:-4] + np.float32(7).tobytes())
    code, out, _ = run("diff", "a.onnx", "b.onnx", "--format", "json")
    [weight] = json.loads(out)["modules"][0]["weights"]
    assert (code, weight["differing"], weight["max_abs"]) == (1, 1, 3.0)
    Path("b.data").unlink()
    code, out, err = run("diff", "a.onnx", "b.onnx")
    assert code == 2 and not out and "b.data" in err
    assert run("diff", "a.onnx", "b.onnx", "--ignore", "weights")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a.onnx", "none.onnx"), "none.onnx: No such file"),
        (("a.onnx", "a.onnx", "--map", "enc"), "expected OLD=NEW"),
        (("a.onnx", "a.onnx", "--atol", "-1"), "a tolerance is a number from 0"),
        (("a.onnx", "a.onnx", "--select", "path:nowhere"), "--select"),
        (("a.onnx", "a.onnx", "--select", "clas:X"), "unknown key 'clas'"),
    ],
)
def test_wrong_usage_is_one_line(run: Run, arguments: tuple[str, ...], message: str) -> None:
    code, out, err = run("diff", *arguments)
    assert code == 2 and not out and message in err
