"""After the program: files that have lost tags get them back, and no other file is touched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from programs import Done, ours, stripped, tags

Run = Callable[..., Done]
EXPORT = """
import sys, onnx, os, shutil, torch
from torch import nn
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Sequential(nn.Linear(8, 700), nn.Tanh())).eval()
torch.onnx.export(model, (torch.ones(1, 8),), "model.onnx", dynamo=False)

def bare(source, target, keep_tables=True):
    proto = onnx.load(source)
    for node in proto.graph.node:
        del node.metadata_props[:]
    if not keep_tables:
        del proto.metadata_props[:]
    onnx.save(proto, target)
"""


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], str]:
    def write(rest: str) -> str:
        (tmp_path / "prog.py").write_text(f"{EXPORT}\n{rest}")
        return "prog.py"

    return write


def test_an_exported_file_gets_its_tags_back(run: Run, program: Callable[[str], str], tmp_path: Path) -> None:
    name = program(
        "shutil.copy('model.onnx', 'whole.onnx'); bare('model.onnx', 'model.onnx'); shutil.copy('model.onnx', 'b.bin')"
    )
    done = run("--strict", name)
    assert done.returncode == 0, done.stderr
    assert (
        tags(tmp_path / "model.onnx")
        == tags(tmp_path / "whole.onnx")
        == [
            "/Sequential/Linear.0",
            "/Sequential/ReLU.1",
            "/Sequential/Sequential.2/Linear.0",
            "/Sequential/Sequential.2/Tanh.1",
        ]
    )
    assert stripped(tmp_path / "model.onnx") == stripped(tmp_path / "b.bin")
    assert ours(done) == ["model.onnx: 4 nodes, 4 scope (torchscript)"]
    assert not list(tmp_path.glob(".*.tmp"))


def test_it_can_be_turned_off_and_needs_success(run: Run, program: Callable[[str], str], tmp_path: Path) -> None:
    run("--finish", "none", program("bare('model.onnx', 'model.onnx')"))
    assert set(tags(tmp_path / "model.onnx")) == {""}
    assert run(program("bare('model.onnx', 'model.onnx'); sys.exit(4)")).returncode == 4
    assert set(tags(tmp_path / "model.onnx")) == {""}


def test_files_made_later(run: Run, program: Callable[[str], str], tmp_path: Path) -> None:
    (tmp_path / "out" / "deep").mkdir(parents=True)
    (tmp_path / "out" / "notes.onnx").write_text("htp.tag in a text")
    run("--finish", "none", program("bare('model.onnx', 'out/old.onnx'); bare('model.onnx', 'out/deep/changed.onnx')"))
    rest = """
for name in ("out/deep/new.onnx", "out/deep/changed.onnx", "elsewhere.onnx"): bare("model.onnx", name)
bare("model.onnx", "out/plain.onnx", keep_tables=False)
open("out/text.onnx", "w").write("nothing of ours")
with open("out/cut.onnx", "wb") as stream: stream.write(open("model.onnx", "rb").read()[:-400])
"""
    done = run("--finish", "out/**/*.onnx", "--finish", "*.bin", program(rest))
    assert done.returncode == 0
    assert all(tags(tmp_path / "out" / "deep" / "new.onnx")) and all(tags(tmp_path / "out" / "deep" / "changed.onnx"))
    for name in ("elsewhere.onnx", "out/old.onnx", "out/plain.onnx"):
        assert set(tags(tmp_path / name)) == {""}, name
    said = ours(done)
    assert said[0] == "model.onnx: 4 nodes, 4 scope (torchscript)"
    assert len(said) == 2 and said[1].startswith("out/cut.onnx: not finished")


def test_what_cant_be_finished_is_left_as_it_is(run: Run, program: Callable[[str], str], tmp_path: Path) -> None:
    name = program("open('model.onnx', 'wb').write(b'garbage')")
    done = run(name)
    assert done.returncode == 0 and (tmp_path / "model.onnx").read_bytes() == b"garbage"
    assert len(ours(done)) == 2 and "not finished" in ours(done)[1]
    assert run("--strict", name).returncode == 1
    done = run("--strict", program("os.remove('model.onnx')"))
    assert done.returncode == 0 and len(ours(done)) == 1
    lost = run("--strict", program("bare('model.onnx', 'model.onnx', keep_tables=False)"))
    assert lost.returncode == 1 and set(tags(tmp_path / "model.onnx")) == {""}


def test_external_data_stays_where_it_is(run: Run, tmp_path: Path) -> None:
    (tmp_path / "prog.py").write_text(
        EXPORT + "\ntorch.onnx.export(model, (torch.ones(1, 8),), 'x.onnx', dynamo=True, verbose=False)\n"
        "before = open('x.onnx.data', 'rb').read()\n"
        "p = onnx.load('x.onnx', load_external_data=False)\n"
        "for n in p.graph.node: del n.metadata_props[:]\n"
        "onnx.save(p, 'x.onnx')\nopen('x.copy', 'wb').write(before)\n"
    )
    assert run("-q", "prog.py").returncode == 0
    assert all(tags(tmp_path / "x.onnx"))
    assert (tmp_path / "x.onnx.data").read_bytes() == (tmp_path / "x.copy").read_bytes()
    onnx.checker.check_model(str(tmp_path / "x.onnx"))
