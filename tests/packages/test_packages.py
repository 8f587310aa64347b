"""Unmodified programs of ultralytics, optimum-onnx and timm, under ``modelexport run`` and without."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from programs import ours, stripped, tags

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([str(HERE / "site"), os.environ.get("PYTHONPATH", "")]),
    "HF_HUB_OFFLINE": "1",
    "YOLO_OFFLINE": "true",
    "YOLO_AUTOINSTALL": "false",
}
RUN = [sys.executable, "-m", "modelexport.cli.modelexport", "run", "--strict"]


def go(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program in ``folder``, which is always of the same name: files hold paths."""
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


def both(tmp_path: Path, words: list[str], prepare: list[str] | None = None) -> tuple[Path, Path, list[str]]:
    """What the program leaves without us, what it leaves under run, and what run said."""
    work = tmp_path / "work"
    work.mkdir()
    if prepare is not None:
        go(prepare, work)
    start = tmp_path / "start"
    shutil.copytree(work, start)
    go(words, work)
    plain = work.rename(tmp_path / "plain")
    shutil.copytree(start, work)
    rest = words[1:] if words[0] == sys.executable else words
    done = go([*RUN, "--record", str(tmp_path / "records"), *rest], work)
    return plain, work, ours(done)


def same(plain: Path, tagged: Path) -> None:
    """Every file is the plain one but for tags."""
    names = sorted(path.relative_to(plain) for path in plain.rglob("*") if path.is_file())
    assert sorted(path.relative_to(tagged) for path in tagged.rglob("*") if path.is_file()) == names
    for name in names:
        before = (plain / name).read_bytes()
        after = stripped(tagged / name) if name.suffix == ".onnx" else (tagged / name).read_bytes()
        assert after == before, name


def without(path: Path, *keys: str) -> onnx.ModelProto:
    """A model without tags, and without entries of its own metadata."""
    proto = onnx.ModelProto.FromString(stripped(path))
    kept = [entry for entry in proto.metadata_props if entry.key not in keys]
    del proto.metadata_props[:]
    proto.metadata_props.extend(kept)
    return proto


def test_yolo(tmp_path: Path) -> None:
    plain, tagged, said = both(tmp_path, [sys.executable, str(HERE / "programs" / "yolo.py"), "yolo11n.yaml"])
    found = tags(tagged / "yolo11n.onnx")  # onnxslim took them from the nodes, the tables brought them back
    assert all(found) and len(found) == len(tags(plain / "yolo11n.onnx")) > 300
    assert re.fullmatch(r"yolo11n\.onnx: \d+ nodes, .*\(torchscript\)", said[0]) and len(said) == 1
    acts = [tag for tag in found if "SiLU" in tag]
    assert len(acts) > 100 and len(set(acts)) > 50  # one instance that all blocks share goes by its callers
    assert without(plain / "yolo11n.onnx", "date") == without(tagged / "yolo11n.onnx", "date")


@pytest.mark.parametrize(
    "name, kind", [("resnet18", "torchscript"), ("vit_tiny_patch16_224", "dynamo"), ("mobilenetv3_small_050", "dynamo")]
)
def test_vision(tmp_path: Path, name: str, kind: str) -> None:
    words = [sys.executable, str(HERE / "programs" / "vision.py"), name, "model.onnx", kind]
    plain, tagged, said = both(tmp_path, words)
    same(plain, tagged)
    assert all(tags(tagged / "model.onnx")) and said[0].endswith(f"({kind})") and len(said) == 1


@pytest.mark.parametrize("kind, task", [("bert", "feature-extraction"), ("llama", "text-generation-with-past")])
def test_optimum(tmp_path: Path, kind: str, task: str) -> None:
    prepare = [sys.executable, str(HERE / "programs" / "checkpoint.py"), kind, "checkpoint"]
    words = [str(BIN / "optimum-cli"), "export", "onnx", "--model", "checkpoint", "--task", task, "out"]
    plain, tagged, _ = both(tmp_path, words, prepare)
    same(plain, tagged)
    assert all(tags(tagged / "out" / "model.onnx"))
    (record,) = (tmp_path / "records").iterdir()
    assert record.name == "001-model_hierarchy.json"
    assert len(json.loads(record.read_text())["node_tags"]) == len(tags(tagged / "out" / "model.onnx"))


def test_optimum_merges(tmp_path: Path) -> None:
    prepare = [sys.executable, str(HERE / "programs" / "checkpoint.py"), "t5", "checkpoint"]
    task = ["--task", "text2text-generation-with-past"]
    words = [str(BIN / "optimum-cli"), "export", "onnx", "--model", "checkpoint", *task, "out"]
    plain, tagged, said = both(tmp_path, words, prepare)
    assert len([line for line in said if "(torchscript)" in line]) == 3
    for name in ("encoder_model", "decoder_model", "decoder_with_past_model"):
        assert stripped(tagged / "out" / f"{name}.onnx") == (plain / "out" / f"{name}.onnx").read_bytes()
        assert all(tags(tagged / "out" / f"{name}.onnx")), name
