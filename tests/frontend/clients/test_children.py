"""Programs that export, under ``modelexport run``: every Python below takes part and tells of its exports."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import jsonschema
import pytest
from programs import Done, ours, tags

Run = Callable[..., Done]

ONE = """
import sys, torch
def export(name):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU()).eval()
    torch.onnx.export(model, (torch.ones(1, 4),), name, dynamo=False)
if __name__ == "__main__":
    export(sys.argv[1])
"""
MANY = """
import multiprocessing, os, subprocess, sys, threading
def wait(pid):
    assert os.waitpid(pid, 0)[1] == 0
if __name__ == "__main__":
    processes = [
        [sys.executable, "one.py", "script.onnx"],
        [sys.executable, "-m", "one", "module.onnx"],
        [sys.executable, "-c", "import one; one.export('code.onnx')"],
        ["sh", "-c", sys.executable + " one.py shell.onnx"],
        [sys.executable, "-E", "one.py", "looks away.onnx"],
    ]
    for words in processes:
        subprocess.run(words, check=True)
    process = multiprocessing.get_context("spawn").Process(target=__import__("one").export, args=("spawn.onnx",))
    process.start(); process.join()
    from one import export
    thread = threading.Thread(target=export, args=("thread.onnx",))
    thread.start(); thread.join()
    pid = os.fork()
    if not pid:
        export("fork.onnx")
        os._exit(0)
    wait(pid)
    os.mkdir("sub"); os.chdir("sub"); export("own.onnx")
"""


@pytest.mark.posix
def test_every_python_below_takes_part(run: Run, tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text(ONE)
    (tmp_path / "many.py").write_text(MANY)
    done = run("--record", "records", "--sidecar", "many.py")
    assert done.returncode == 0, done.stderr
    names = ["script", "module", "code", "shell", "spawn", "thread", "fork", "own"]
    assert ours(done) == [f"{name}.onnx: 2 nodes, 2 scope (torchscript)" for name in names]
    records = sorted((tmp_path / "records").iterdir())
    assert [path.name for path in records] == [f"{i:03d}-{name}_hierarchy.json" for i, name in enumerate(names, 1)]
    schema = json.loads(resources.files("modelexport.ir.io").joinpath("sidecar.schema.json").read_text())
    for name, record in zip(names, records, strict=True):
        path = tmp_path / ("sub" if name == "own" else "") / f"{name}.onnx"
        assert tags(path) == ["/Sequential/Linear.0", "/Sequential/ReLU.1"]
        beside = path.with_name(f"{name}_hierarchy.json")
        for file in (record, beside):
            content = json.loads(file.read_text())
            jsonschema.validate(content, schema)
            assert [entry["tags"][0] for entry in content["node_tags"].values()] == tags(path)
    assert set(tags(tmp_path / "looks away.onnx")) == {""}


def test_a_record_is_a_reference(run: Run, tmp_path: Path) -> None:
    from modelexport.ir.io.reader import load_model
    from modelexport.passes.pipeline.base import PassContext
    from modelexport.passes.pipeline.manager import PassManager

    (tmp_path / "one.py").write_text(ONE + "\n    open('plain.onnx', 'wb').write(open(sys.argv[1], 'rb').read())\n")
    assert run("-q", "--record", "records", "one.py", "m.onnx").stderr.count("modelexport") == 0
    model = load_model(tmp_path / "m.onnx")
    PassManager("strip-tags").run(model)
    reference = tmp_path / "records" / "001-m_hierarchy.json"
    PassManager("htp-retag", context=PassContext(reference=reference)).run(model)
    assert [node.metadata["htp.tag"] for node in model.nodes()] == ["/Sequential/Linear.0", "/Sequential/ReLU.1"]
    assert {node.metadata["htp.source"] for node in model.nodes()} == {"reference"}


def test_failures_are_told_at_the_end(run: Run, tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text(ONE)
    plain = tmp_path / "plain.onnx"
    assert run(sys.executable, "-E", "one.py", "plain.onnx").stderr.endswith("modelexport: no export was seen\n")
    environment = {"MODELEXPORT_MEMORY_LIMIT_MB": "1"}
    done = run("-q", "one.py", "m.onnx", environment=environment)
    (line,) = ours(done)
    assert line.startswith("m.onnx: not tagged: ") and "MODELEXPORT_MEMORY_LIMIT_MB" in line
    assert done.returncode == 0 and (tmp_path / "m.onnx").read_bytes() == plain.read_bytes()
    assert "Traceback" not in done.stderr
    done = run("--debug", "--strict", "one.py", "m.onnx", environment=environment)
    assert done.returncode == 1 and "Traceback" in done.stderr and "MemoryLimitExceeded" in done.stderr


def test_a_context_below_is_told_too(run: Run, tmp_path: Path) -> None:
    inner = "with modelexport.tagging() as seen: export('m.onnx')\nprint(seen[0].tagged, seen[0].nodes)\n"
    (tmp_path / "one.py").write_text(f"{ONE.partition('if __name__')[0]}\nimport modelexport\n{inner}")
    done = run("one.py")
    assert done.stdout == "True 2\n" and ours(done) == ["m.onnx: 2 nodes, 2 scope (torchscript)"]


def test_a_run_in_a_run_tells_both(run: Run, tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text(ONE)
    done = run(sys.executable, "-m", "modelexport.cli.modelexport", "run", "one.py", "m.onnx")
    assert ours(done) == ["m.onnx: 2 nodes, 2 scope (torchscript)"] * 2
    assert tags(tmp_path / "m.onnx") == ["/Sequential/Linear.0", "/Sequential/ReLU.1"]
