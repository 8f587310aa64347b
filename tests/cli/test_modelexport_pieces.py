"""extract and split on the command line: files, JSON, exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from modelexport.cli.schema import schema
from modelexport.ir import load_model
from modelexport.ir.io.embedded_tags import packed_tables, pipeline_of
from modelexport.ir.io.writer import to_bytes
from modelexport.passes import PassManager, Pipeline
from modelexport.passes.testing import make_model

jsonschema = pytest.importorskip("jsonschema")
TEXT = """
    # module: enc  my.Encoder
    # module: head  my.Head
    g (float[N,2] X) => (float[N,2] Y) <float[2,2] W = {1, 2, 3, 4}> {
        ["/enc/MatMul"] p = MatMul (X, W)
        ["/Exp"] q = Exp (p)
        ["/head/Relu"] Y = Relu (q)
    }
"""
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def model(folder: Path) -> Path:
    found = make_model(TEXT)
    PassManager(Pipeline.parse("htp")).run(found)
    Path("m.onnx").write_bytes(to_bytes(found))
    return Path("m.onnx")


def test_a_piece_with_its_tags(run: Run, model: Path) -> None:
    code, out, err = run("extract", model, "enc", "-o", "enc.onnx", "--verify", "--format", "json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    jsonschema.validate(found, schema("extract"))
    assert found["inputs"] == [{"name": "X", "dtype": "float", "shape": ["N", 2]}]
    assert (found["nodes"], found["weights"], found["weight_bytes"], found["absorbed"]) == (1, 1, 16, [])
    piece = load_model("enc.onnx")
    table = json.loads(run("analyze", "enc.onnx", "--format", "json")[1])
    whole = load_model(model)
    assert table["tagged_operations"] == 1 and pipeline_of(piece.metadata) == pipeline_of(whole.metadata)
    assert packed_tables(piece.metadata) != packed_tables(whole.metadata)


def test_a_piece_of_an_untagged_file_stays_untagged(run: Run, folder: Path) -> None:
    Path("plain.onnx").write_bytes(make_model(TEXT).proto.SerializeToString())
    assert run("extract", "plain.onnx", "head", "-o", "head.onnx")[0] == 0
    assert not onnx.load("head.onnx").graph.node[0].metadata_props


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("extract", "m.onnx", "hed", "-o", "o.onnx"), "no module 'hed'; the nearest path is head"),
        (("extract", "m.onnx", "enc", "-o", "m.onnx"), "m.onnx: is an input"),
        (("extract", "m.onnx", "enc", "-o", "no/o.onnx"), "no"),
        (("extract", "m.onnx", "enc", "-o", "x.npz", "--inputs", "x.npz", "--verify"), "x.npz: is an input"),
        (("extract", "m.onnx", "enc", "-o", "o.onnx", "--verify", "--input-shape", f"X:{2**62},2"), "fit into memory"),
        (("extract", "m.onnx", "enc", "-o", "o.onnx", "--call", "0"), "a call is a number from 1"),
        (("extract", "m.onnx", "enc", "-o", "o.onnx", "--verify", "--input-shape", "Z:1"), "Z"),
        (("split", "m.onnx", "--at", "enc", "-o", "o"), "the stage before enc would be empty"),
        (("split", "m.onnx", "--at", "head", "-o", "full"), "full: the folder is not empty"),
        (("split", "m.onnx", "--at", "head", "-o", "m.onnx"), "m.onnx"),
    ],
)
def test_wrong_usage_is_one_line_and_leaves_nothing(
    run: Run, model: Path, arguments: tuple[str, ...], message: str
) -> None:
    Path("full").mkdir()
    np.savez("x.npz", X=np.ones((1, 2), np.float32))
    Path("full/x").touch()
    before = sorted(Path().rglob("*"))
    code, out, err = run(*arguments)
    assert code == 2 and not out and message in err
    assert [line.lower().startswith("error:") for line in err.splitlines() if "rror:" in line] == [True]
    assert sorted(Path().rglob("*")) == before


def test_nothing_is_written_over_the_models_data(run: Run, model: Path) -> None:
    proto = onnx.load(model)
    weight = proto.graph.initializer[0]  # only raw data goes to a file
    weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight), weight.name))
    onnx.save(proto, "d.onnx", save_as_external_data=True, location="d.data", size_threshold=0)
    before = Path("d.data").read_bytes()
    for arguments in (
        ("profile", "d.onnx", "--speedscope", "d.data"),
        ("profile", "d.onnx", "--save-profile", "d.data"),
        ("view", "d.onnx", "-o", "d.data", "--format", "dot"),
        ("extract", "d.onnx", "enc", "-o", "d.data"),
        ("extract", "d.onnx", "enc", "-o", "d"),
    ):
        code, out, err = run(*arguments)
        assert (code, out) == (2, "") and "d.data" in err, arguments
        assert Path("d.data").read_bytes() == before


def test_stages_run_one_after_the_other(run: Run, model: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    code, out, err = run("split", model, "--at", "head", "-o", "stages", "--verify", "--input-shape", "X:3,2")
    assert (code, err) == (0, "")
    document = json.loads(Path("stages/pipeline.json").read_text())
    jsonschema.validate(document, schema("pipeline"))
    assert sorted(path.name for path in Path("stages").iterdir()) == ["pipeline.json", "stage_0.onnx", "stage_1.onnx"]
    assert document["stages"][1]["inputs"] == [{"name": "q", "dtype": "float", "shape": ["N", 2], "source": 0}]
    assert document["outputs"] == [{"name": "Y", "source": 1}]
    values = {"X": np.random.default_rng(0).standard_normal((5, 2), np.float32)}
    whole = onnxruntime.InferenceSession(str(model)).run(None, values)[0]
    for stage in document["stages"]:
        names = [value["name"] for value in stage["outputs"]]
        session = onnxruntime.InferenceSession(f"stages/{stage['file']}")
        given = {value["name"]: values[value["name"]] for value in stage["inputs"]}
        values.update(zip(names, session.run(names, given), strict=True))
    assert np.array_equal(values["Y"], whole)
    assert "stages/stage_1.onnx: 1 node\n" in out


def test_a_terminated_profile_leaves_no_temporary_files(model: Path) -> None:
    pytest.importorskip("onnxruntime")
    Path("made").mkdir()
    program = "import sys; from modelexport.cli.modelexport import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "profile", str(model), "--runs", "100000000"]
    process = subprocess.Popen(command, env={**os.environ, "TMPDIR": str(Path("made").resolve())})
    deadline = time.monotonic() + 60
    while not list(Path("made").glob("modelexport-*/profile*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert list(Path("made").glob("modelexport-*"))
    process.terminate()
    assert process.wait(60) == 128 + signal.SIGTERM
    assert list(Path("made").glob("modelexport-*")) == []
