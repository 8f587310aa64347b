"""What the commands need in order to start, and what they must not load."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import onnx
import onnx.helper as helper
import pytest

HEAVY = ("onnx", "networkx", "rich", "torch", "numpy", "onnxruntime", "onnx_graphsurgeon", "transformers")
EXTRAS = ("torch", "transformers", "onnxscript", "onnxruntime", "onnxslim", "onnxsim", "joblib", "distributed")


def python(code: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *(str(argument) for argument in arguments)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "COLUMNS": "100"})


def command(module: str, before: str = "", after: str = "") -> str:
    """Source of a program that runs a command line in this process and ends with its exit status."""
    return f"""
import sys
{before}
from modelexport.cli.{module} import main
try:
    main()
except SystemExit as stop:
    status = stop.code or 0
else:
    status = 0
{after}
sys.exit(status)
"""


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2])
    y = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [2])
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="/block/act/Relu"),
        helper.make_node("Neg", ["a"], ["y"], name="/block/Neg"),
    ]
    model = helper.make_model(helper.make_graph(nodes, "g", [x], [y]), opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("module", ["htp_opt", "modelexport"])
@pytest.mark.parametrize("option", ["--version", "--help"])
def test_version_and_help_load_nothing_heavy(module: str, option: str) -> None:
    after = f"loaded = [name for name in {HEAVY} if name in sys.modules]\nassert not loaded, loaded"
    done = python(command(module, after=after), option)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_htp_opt_works_without_extras(model_file: Path, tmp_path: Path) -> None:
    block = f"for name in {EXTRAS}: sys.modules[name] = None"
    output = tmp_path / "tagged.onnx"
    done = python(command("htp_opt", before=block), model_file, "-o", output)
    assert done.returncode == 0, done.stderr
    tagged = onnx.load(output)
    paths = [{entry.key: entry.value for entry in node.metadata_props}["htp.path"] for node in tagged.graph.node]
    assert paths == ["block.act", "block"]


@pytest.mark.parametrize("arguments", [["analyze"], ["validate"], ["compare"]])
def test_reading_commands_work_without_torch(arguments: list[str], model_file: Path, tmp_path: Path) -> None:
    block = f"for name in {EXTRAS}: sys.modules[name] = None"
    tagged = tmp_path / "tagged.onnx"
    assert python(command("htp_opt", before=block), model_file, "-o", tagged).returncode == 0
    files = [tagged, tagged] if arguments == ["compare"] else [tagged]
    done = python(command("modelexport", before=block), *arguments, *files)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_extra_is_named() -> None:
    code = """
import sys
sys.modules["torch"] = None
import modelexport
try:
    modelexport.HierarchyExporter().export(None, None, "x.onnx")
except ImportError as error:
    print(error)
"""
    done = python(code)
    assert "pip install 'modelexport[torch]'" in done.stdout, done.stderr


def test_import_of_the_package_is_light() -> None:
    done = python("import sys, modelexport; print([m for m in ('torch', 'rich', 'networkx') if m in sys.modules])")
    assert done.stdout.strip() == "[]", done.stderr
