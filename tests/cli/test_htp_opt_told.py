"""htp-opt: notes and warnings, in the report and of what is written to stdout."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from modelexport.cli import htp_opt

pytestmark = pytest.mark.usefixtures("folder")


def weighted(path: str, location: str | None, node: str = "/encoder/MatMul", **entries: str) -> None:
    """A model whose one weight is in a file of its own, unless ``location`` is None."""
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2, 2])
    if location is None:
        weight.raw_data = bytes(16)
    else:
        weight.data_location = TensorProto.EXTERNAL
        for key, value in {"location": location, **entries}.items():
            weight.external_data.add(key=key, value=value)
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], node)],
        "g",
        [value("x", TensorProto.FLOAT, [2, 2])],
        [value("y", TensorProto.FLOAT, [2, 2])],
        [weight],
    )
    Path(path).write_bytes(helper.make_model(graph, ir_version=10).SerializeToString())


class Stdout(io.StringIO):
    """A stdout that keeps what is written to it as bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.buffer = io.BytesIO()


def streamed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *more: str
) -> tuple[int, bytes, list[str]]:
    capsys.readouterr()
    stdout = Stdout()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stdout)
        code = htp_opt.main(["m.onnx", "-o", "-", *more])
    return code, stdout.buffer.getvalue(), capsys.readouterr().err.splitlines()


def test_stdout_names_missing_data(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    weighted("m.onnx", "w.bin")
    code, data, told = streamed(monkeypatch, capsys)
    assert code == 0 and onnx.load_model_from_string(data).graph.node[0].metadata_props
    assert "warning: external data is missing: w.bin" in told
    assert "warning: the model on stdout keeps its references to external data" in told
    Path("w.bin").write_bytes(bytes(16))
    assert not any("missing" in line for line in streamed(monkeypatch, capsys)[2])


def test_stdout_refuses_data_outside(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    weighted("m.onnx", "../w.bin")
    code, data, told = streamed(monkeypatch, capsys)
    assert (code, data) == (2, b"") and "--allow-outside-data" in told[-1]
    assert streamed(monkeypatch, capsys, "--allow-outside-data")[0] == 0


def test_a_word_in_a_name_is_no_external_data(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    weighted("m.onnx", None, node="/location_head/MatMul")
    code, data, told = streamed(monkeypatch, capsys)
    assert code == 0 and data and not [line for line in told if line.startswith("warning")]


@pytest.mark.parametrize(
    "entries, told",
    [
        ({"offset": "-4"}, "offset '-4' is not a number of bytes"),
        ({"length": "many"}, "length 'many' is not a number of bytes"),
        ({"offset": "8", "length": "16"}, "ends at byte 24 of w.bin, which has 16"),
        ({"offset": "99999999999999999999999"}, "is not a number of bytes"),
    ],
)
def test_a_bad_range_is_a_warning(entries: dict[str, str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    weighted("m.onnx", "w.bin", **entries)
    Path("w.bin").write_bytes(bytes(16))
    Path("sub").mkdir()
    for output in ("out.onnx", "sub/out.onnx"):
        assert htp_opt.main(["m.onnx", "-o", output]) == 0
        assert any(told in line and line.startswith("warning") for line in capsys.readouterr().err.splitlines())
        weight = onnx.load(output, load_external_data=False).graph.initializer[0]
        assert {entry.key: entry.value for entry in weight.external_data} == {"location": "w.bin", **entries}


def report(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    capsys.readouterr()
    assert htp_opt.main([*arguments, "--report", "json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_the_report_has_notes_and_warnings(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = report(capsys, str(model), "--passes", "htp-trace")
    assert any(line.startswith("value-attribution: skipped: ") for line in found["notes"])
    assert any(line.startswith("scope-attribution: 2 nodes") for line in found["notes"])
    assert found["warnings"] == []
    weighted("m.onnx", "w.bin")
    assert report(capsys, "m.onnx", "-o", "out.onnx")["warnings"] == ["external data is missing: w.bin"]


def test_a_dry_run_lists_what_would_change(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = model.read_bytes()
    assert htp_opt.main([str(model), "-o", "out.onnx", "--dry-run"]) == 0
    told = capsys.readouterr().err.splitlines()
    passes = [line for line in told if line.startswith("dry run: ")]
    assert any(line.startswith("dry run: scope-attribution: 2 nodes") for line in passes)
    assert any(line.startswith("dry run: attribute-embedding: 3 nodes") for line in passes)
    assert passes[-1] == "dry run: out.onnx is not written" and not Path("out.onnx").exists()
    assert model.read_bytes() == before


def test_what_a_named_pipeline_skips_is_told(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def told(*arguments: str) -> list[str]:
        capsys.readouterr()
        assert htp_opt.main([str(model), "-o", "out.onnx", "--passes", "htp-trace", *arguments]) == 0
        return [line for line in capsys.readouterr().err.splitlines() if "no trace was given" in line]

    assert told() == ["note: value-attribution: skipped: no trace was given"]
    assert len(told("-v")) == 1 and told("-q") == []
