"""Configurations, manifests and sidecars with numbers, text and depth that nobody expects: one clear line each."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import onnx
import onnx.helper as helper
import pytest

from modelexport.cli import htp_opt, modelexport
from modelexport.cli.config import load_config
from modelexport.ir.errors import ConfigError, ModelExportError
from modelexport.ir.io.tag_rows import sidecar_rows, tagged_model

LONG = "9" * 6000
DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("c.json", f'{{"opset_version": {LONG}}}', "more than 4300 digits"),
        ("c.toml", f"opset_version = {LONG}", "more than 4300 digits"),
        ("c.json", f'{{"opset_version": {LONG[:4000]}}}', "outside"),
        ("c.json", f'{{"opset_version": {DEEP}}}', "nested too deep"),
        ("c.json", '{"a\\ud800": 1}', "unknown key"),
        ("c.json", '{"strategy": "a\\ud800"}', "can't be"),
    ],
)
def test_configurations(name: str, content: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert said in str(caught.value) and len(str(caught.value)) < 500
    str(caught.value).encode()


@pytest.mark.parametrize("content", [f'{{"model": {LONG}}}', f'{{"model": {DEEP}}}'])
def test_manifests(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m.jsonl").write_text(content)
    assert modelexport.main(["batch", str(tmp_path / "m.jsonl"), "--results", str(tmp_path / "r.jsonl")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: m.jsonl, line 1: not JSON") and error.count("\n") == 1


@pytest.fixture
def tagged(tmp_path: Path) -> Path:
    x, y = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2]) for name in "xy")
    node = helper.make_node("Relu", ["x"], ["y"], name="/act/Relu")
    onnx.save(helper.make_model(helper.make_graph([node], "g", [x], [y])), tmp_path / "in.onnx")
    assert htp_opt.main([str(tmp_path / "in.onnx"), "-o", str(tmp_path / "m.onnx"), "--sidecar", "-q"]) == 0
    return tmp_path / "m.onnx"


def test_sidecars_with_huge_numbers(tagged: Path) -> None:
    path = tagged.with_name("m_hierarchy.json")
    text = re.sub(r'"(confidence|calls|parameters)": ?[0-9.]+', rf'"\1": {LONG[:4000]}', path.read_text())
    path.write_text(text)
    assert htp_opt.main([str(tagged), "--reference", str(path), "-o", str(tagged.with_name("o.onnx")), "-q"]) == 0
    assert modelexport.main(["validate", str(tagged), "--repair", "--repair-from", "sidecar"]) == 0
    assert tagged_model(tagged).modules["act"].calls < 2**31
    assert path.read_text() == text


@pytest.mark.parametrize("odd", [LONG, DEEP])
def test_sidecars_that_can_not_be_read(odd: str, tagged: Path) -> None:
    path = tagged.with_name("m_hierarchy.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"more": "?"}).replace('"?"', odd))
    with pytest.raises(ModelExportError, match=r"m_hierarchy\.json: not a sidecar"):
        list(sidecar_rows(tagged))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("raise RuntimeError('driver\\ntoo old')", "can't be imported (driver too old)"),
        ("import torch._missing", "can't be imported (No module named 'torch._missing')"),
        ("x = = 1", "can't be imported (invalid syntax"),
        ("", "goes by the name of torch and is not torch"),
    ],
)
@pytest.mark.parametrize("words", [["export", "demo:transformer", "m.onnx"], ["trace", "demo:transformer", "-o", "t"]])
def test_a_torch_that_is_broken(content: str, said: str, words: list[str], tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text(content)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "modelexport.cli.modelexport", *words]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: ") and said in done.stderr and done.stderr.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["torch"]
