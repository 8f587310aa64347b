"""The same bytes whatever the seed of hashes, the number of threads, the order of names in a folder and the folder."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import fuzz_running
import loss_cases
import pytest

COMMANDS = [
    "htp-opt model.onnx -o tagged.onnx --sidecar",
    "htp-opt nested.onnx -o second.onnx --sidecar --passes 'htp,attribute-embedding{interop=torch carrier=both}'",
    "htp-opt model.onnx -o named.onnx --passes 'htp,node-naming{keep-scoped=false values=true},constant-folding'",
    "htp-opt model.onnx -o referred.onnx --reference second.onnx --report json",
    "htp-opt model.onnx --explain context-inheritance --emit text",
    "modelexport analyze tagged.onnx --format json",
    "modelexport cost tagged.onnx --format json --by node --no-run",
    "modelexport diff second.onnx tagged.onnx --format json",
    "modelexport select tagged.onnx 'op:Add or path:encoder' --format json",
    "modelexport view tagged.onnx -o page.html",
    "modelexport view tagged.onnx -o graph.graphml",
    "modelexport view tagged.onnx -o explorer.json --format model-explorer",
    "modelexport extract tagged.onnx encoder -o piece.onnx",
    "modelexport split tagged.onnx --at head -o stages",
    "modelexport validate tagged.onnx --format json",
]
EXPORTS = [
    "modelexport export model.py exported.onnx --opset-version 17",
    "modelexport export model.py exported-dynamo.onnx --exporter dynamo",
    "modelexport trace model.py -o traced.htptrace",
]
PROGRAM = """
import json, os, random, shlex, sys
from modelexport.cli import htp_opt, modelexport

shuffled = os.listdir
def listdir(*arguments):
    names = shuffled(*arguments)
    random.Random(int(sys.argv[1])).shuffle(names)
    return names
os.listdir = listdir
for command in json.loads(sys.argv[2]):
    program, *words = shlex.split(command)
    print(f"$ {command}")
    status = (htp_opt if program == "htp-opt" else modelexport).main(words)
    print(f"status {status}")
    assert status in (0, 1), command
"""
MODEL = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.parts = torch.nn.ModuleDict({name: torch.nn.Linear(4, 4) for name in "abc"})

    def forward(self, x):
        return sum(part(x).relu() for part in self.parts.values())

model = Net()
example_inputs = (torch.ones(1, 4),)
"""


def results(folder: Path, number: int, commands: list[str]) -> dict[str, str]:
    """Digests of all that the commands write and print, in a folder, a seed and a number of threads of their own."""
    folder.mkdir()
    (folder / "model.onnx").write_bytes(fuzz_running.small_model().SerializeToString())
    (folder / "nested.onnx").write_bytes(loss_cases.build("nested_bodies").SerializeToString())
    (folder / "model.py").write_text(MODEL)
    seeds = {"PYTHONHASHSEED": str(number), "SOURCE_DATE_EPOCH": "0", "OMP_NUM_THREADS": str(number)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(number), json.dumps(commands)],
        cwd=folder,
        env={**os.environ, **seeds},
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr.decode()
    found = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    return {**found, "stdout": done.stdout.decode()}


@pytest.mark.parametrize("commands", [COMMANDS, pytest.param(EXPORTS, marks=pytest.mark.slow)], ids=["model", "torch"])
def test_the_same_bytes(commands: list[str], tmp_path: Path) -> None:
    first = results(tmp_path / "folder", 1, commands)
    # torch itself writes the paths of a program into what dynamo exports
    shutil.rmtree(tmp_path / "folder")
    second = results(tmp_path / ("folder" if commands is EXPORTS else "another"), 4, commands)
    assert len(first) > len(commands)
    assert second == first
