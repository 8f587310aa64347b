"""modelexport analyze, validate, compare, retag, completion, and the command itself."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

import jsonschema
import onnx
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "api"))
from tagged import plain_model, set_metadata, tagged_file

from modelexport.cli import modelexport as command
from modelexport.cli.schema import schema


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tagged_file(tmp_path)


Run = Any


def test_every_command_has_help_with_examples(run: Run) -> None:
    listed = run("--help")[1]
    for name, line in command.COMMANDS.items():
        code, text, _ = run(name, "--help")
        assert code == 0
        assert line in " ".join(text.split()), f"{name}: its help does not begin as the list says"
        assert f"{name}  " in listed and "Examples:" in text and f"modelexport {name} " in text + " "


def test_version_and_unknown_commands(run: Run) -> None:
    code, out, _ = run("--version")
    assert code == 0 and out.startswith("modelexport 0.")
    code, out, err = run("analyse", "x")
    assert code == 2 and 'did you mean "analyze"' in err and not out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize("program", ["modelexport", "htp-opt"])
def test_completion_scripts(run: Run, shell: str, program: str) -> None:
    code, out, _ = run("completion", shell, "--program", program)
    assert code == 0 and program in out and "_COMPLETE" in out


def test_completion_of_commands_and_options() -> None:
    from click.shell_completion import ShellComplete

    complete = ShellComplete(command.cli, {}, "modelexport", "_MODELEXPORT_COMPLETE")
    assert {item.value for item in complete.get_completions([], "va")} == {"validate"}
    assert {item.value for item in complete.get_completions(["analyze"], "--fi")} == {"--filter-tag"}
    assert {item.value for item in complete.get_completions(["analyze", "--by"], "")} == {"module", "source", "op"}


def test_verbose_and_debug_work_in_both_places(run: Run, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "again.onnx"
    assert "reference-attribution" in run("-v", "retag", model, model, "-o", out)[2]
    assert "reference-attribution" in run("retag", model, model, "-o", out, "--verbose")[2]
    assert run("retag", model, model, "-o", out)[2] == ""


@pytest.mark.parametrize("arguments", [["--debug", "analyze", "missing.onnx"], ["analyze", "missing.onnx", "--debug"]])
def test_debug_shows_the_traceback(capfd: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert command.main(arguments) == 2
    assert "Traceback" in capfd.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["analyze", "{missing}"],
        ["analyze", "{text}"],
        ["analyze", "{folder}"],
        ["validate", "{missing}"],
        ["validate", "{text}", "--check-consistency"],
        ["validate", "{text}", "--repair"],
        ["compare", "{model}", "{missing}"],
        ["compare", "{text}", "{model}"],
        ["retag", "{missing}", "{model}", "-o", "{folder}/out.onnx"],
        ["retag", "{model}", "{missing}", "-o", "{folder}/out.onnx"],
        ["retag", "{model}", "{model}", "-o", "{folder}/none/out.onnx"],
        ["retag", "{plain}", "{model}", "-o", "{model}"],
        ["validate", "{plain}", "--repair"],
        ["validate", "{plain}", "--repair-from", "sidecar"],
        ["batch", "{missing}"],
        ["batch", "{text}"],
        ["trace", "{missing}.py", "-o", "{folder}/t.htptrace"],
    ],
)
def test_wrong_files_are_one_line_and_exit_2(run: Run, model: Path, tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "text.onnx").write_text("no model\n")
    onnx.save(plain_model(), tmp_path / "plain.onnx")
    names = {"missing": "missing.onnx", "text": "text.onnx", "folder": "", "model": model.name, "plain": "plain.onnx"}
    paths = {key: str(tmp_path / name) for key, name in names.items()}
    before = sorted(tmp_path.iterdir()), model.read_bytes()
    code, out, err = run(*(argument.format(**paths) for argument in arguments))
    assert code == 2 and out == ""
    assert sum(line.lower().startswith("error: ") for line in err.splitlines()) == 1, err
    assert (sorted(tmp_path.iterdir()), model.read_bytes()) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["analyze"],
        ["analyze", "m.onnx", "--by", "colour"],
        ["analyze", "m.onnx", "--depth", "-1"],
        ["analyze", "m.onnx", "--format", "xml"],
        ["validate", "m.onnx", "--repair-from", "thin-air"],
        ["compare", "m.onnx"],
        ["retag", "a.onnx", "b.onnx"],
        ["batch", "m.jsonl", "--jobs", "0"],
        ["batch", "m.jsonl", "--time-limit", "-1"],
        ["batch", "m.jsonl", "--backend", "cloud"],
        ["batch", "m.jsonl", "--address", "tcp://x"],
        ["export", "m.py"],
        ["export", "m.py", "o.onnx", "--opset-version", "3"],
        ["export", "m.py", "o.onnx", "--strategy", "best"],
        ["export", "m.py", "o.onnx", "--input-shape", "x"],
        ["export", "m.py", "o.onnx", "--input-shape", "x:1,a"],
        ["export", "m.py", "o.onnx", "--input-shape", "x:1,-2"],
        ["export", "m.py", "o.onnx", "--input-shape", "x:1", "--input-shape", "x:2"],
        ["analyze", "m.onnx", "--filtertag", "x"],
        ["completion", "tcsh"],
    ],
)
def test_wrong_usage_is_one_error_line_and_exit_2(run: Run, arguments: list[str]) -> None:
    code, out, err = run(*arguments)
    assert code == 2 and out == ""
    assert sum(line.lower().startswith("error:") for line in err.splitlines()) == 1, err


def test_analyze_json_follows_its_schema(run: Run, model: Path) -> None:
    code, out, _ = run("analyze", model, "--format", "json")
    found = json.loads(out)
    jsonschema.validate(found, schema("analyze"))
    assert code == 0
    assert found["total_operations"] == found["tagged_operations"] == 6
    assert found["tag_statistics"]["/Model/blocks.1/proj"] == 2
    assert found["operations"] == {"Relu": 2, "MatMul": 2, "Shape": 1, "Neg": 1}


def test_analyze_filters(run: Run, model: Path) -> None:
    found = json.loads(run("analyze", model, "--filter-tag", "/Model/blocks.0/*", "--format", "json")[1])
    assert found["total_operations"] == 2 and found["operations"] == {"Relu": 1, "MatMul": 1}
    assert {module["path"] for module in found["modules"]} == {"", "blocks.0", "blocks.0.act", "blocks.0.proj"}
    code, _, err = run("analyze", model, "--filter-tag", "*Nowhere*")
    assert code == 1 and "no node matches" in err
    shallow = json.loads(run("analyze", model, "--depth", "1", "--format", "json")[1])["modules"]
    assert {module["path"].count(".") for module in shallow} <= {0, 1} and len(shallow) < 6
    assert "Relu" not in run("analyze", model, "--by", "module")[1]


def test_analyze_tables_and_csv(run: Run, model: Path) -> None:
    assert run("analyze", model, "--by", "op")[1].split()[:2] == ["operator", "nodes"]
    assert "scope" in run("analyze", model, "--by", "source")[1]
    rows = list(csv.reader(io.StringIO(run("analyze", model, "--by", "source", "--format", "csv")[1])))
    assert rows[0] == ["source", "nodes"] and sum(int(row[1]) for row in rows[1:]) == 6
    nodes = list(csv.DictReader(io.StringIO(run("analyze", model, "--format", "csv")[1])))
    assert len(nodes) == 6 and nodes[0]["Op Type"] == "Shape"
    few = list(csv.DictReader(io.StringIO(run("analyze", model, "--format", "csv", "--filter-tag", "act")[1])))
    assert [row["Op Type"] for row in few] == ["Relu", "Relu"]


def test_analyze_reads_the_sidecar_of_a_model_without_tags(run: Run, model: Path) -> None:
    onnx.save(plain_model(), model)
    assert json.loads(run("analyze", model, "--format", "json")[1])["tagged_operations"] == 6
    assert len(run("analyze", model, "--format", "csv", "--filter-tag", "act")[1].splitlines()) == 3
    model.with_name("model_hierarchy.json").unlink()
    assert json.loads(run("analyze", model, "--format", "json")[1])["tagged_operations"] == 0


def test_validate(run: Run, model: Path) -> None:
    code, out, _ = run("validate", model, "--check-consistency", "--format", "json")
    found = json.loads(out)
    jsonschema.validate(found, schema("validate"))
    assert code == 0 and found["valid"] and found["consistency"]["consistent"] and found["repaired"] == []
    assert found["tags_in_model"] == found["tags_in_sidecar"] == 6
    set_metadata(model, "/blocks.0/act/Relu", "htp.tag", "/Elsewhere")
    assert run("validate", model)[0] == 0
    code, out, _ = run("validate", model, "--check-consistency")
    assert code == 1 and "/blocks.0/act/Relu: the model says /Elsewhere" in out
    model.with_name("model_hierarchy.json").unlink()
    code, out, _ = run("validate", model, "--check-consistency", "--format", "json")
    jsonschema.validate(json.loads(out), schema("validate"))
    assert code == 1 and json.loads(out)["tags_in_sidecar"] is None


def test_validate_finds_an_invalid_model(run: Run, model: Path) -> None:
    proto = onnx.load(model)
    proto.graph.node[1].attribute.append(onnx.helper.make_attribute("colour", "red"))
    onnx.save(proto, model)
    code, out, _ = run("validate", model, "--format", "json")
    found = json.loads(out)
    jsonschema.validate(found, schema("validate"))
    assert code == 1 and not found["valid"] and "colour" in found["checker_error"]
    assert "\n" not in found["checker_error"]


def test_compare(run: Run, model: Path, tmp_path: Path) -> None:
    assert run("compare", model, model)[:2] == (0, "no difference\n")
    other = tagged_file(tmp_path, "other.onnx", blocks=3)
    code, out, _ = run("compare", model, other, "--format", "json")
    found = json.loads(out)
    jsonschema.validate(found, schema("compare"))
    assert code == 1
    row = next(module for module in found["modules"] if module["tag"] == "/Model/blocks.2/act")
    assert row["model1"] == {"nodes": 0, "op_types": {}, "parameters": 0}
    assert row["model2"] == {"nodes": 1, "op_types": {"Relu": 1}, "parameters": 0}
    assert "/Model/blocks.2/act" in run("compare", model, other)[1]


def test_compare_sees_other_operators_and_weights_in_one_module(run: Run, model: Path, tmp_path: Path) -> None:
    proto = onnx.load(model)
    proto.graph.node[1].op_type = "Sigmoid"
    other = tmp_path / "other.onnx"
    onnx.save(proto, other)
    code, out, _ = run("compare", model, other)
    assert code == 1 and "Relu 1 -> 0, Sigmoid 0 -> 1" in out
    assert json.loads(run("compare", model, other, "--format", "json")[1])["tag_differences"] == []


def test_retag(run: Run, model: Path, tmp_path: Path) -> None:
    proto = plain_model()
    for node in proto.graph.node:
        node.name = ""  # only output names are left
    onnx.save(proto, tmp_path / "after.onnx")
    out = tmp_path / "out.onnx"
    for before in (model, model.with_name("model_hierarchy.json")):
        code, text, _ = run("retag", before, tmp_path / "after.onnx", "-o", out, "--format", "json")
        found = json.loads(text)
        jsonschema.validate(found, schema("analyze"))
        assert code == 0 and found["by_source"] == {"reference": 6}
        assert run("validate", out, "--check-consistency")[0] == 0
    assert run("retag", model, out, "-o", out, "--in-place", "--no-sidecar")[0] == 0
