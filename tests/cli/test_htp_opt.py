"""htp-opt: where results go, what is refused before any work, and how every kind of run ends."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path

import numpy as np
import onnx
import onnx.helper as helper
import pytest

from modelexport.cli import htp_opt
from modelexport.ir import load_model

pytestmark = pytest.mark.usefixtures("folder")


def tags(path: Path | str) -> list[str | None]:
    proto = onnx.load(path)
    return [{p.key: p.value for p in node.metadata_props}.get("htp.path") for node in proto.graph.node]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_file_is_tagged_and_the_talk_is_on_stderr(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert htp_opt.main([str(model), "-o", "out.onnx"]) == 0
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("out.onnx: 3 nodes: 2 scope, 1 ")
    assert all(path is not None for path in tags("out.onnx"))


def test_quiet_says_nothing(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert htp_opt.main([str(model), "-o", "out.onnx", "-q", "-v"]) == 0
    assert capsys.readouterr() == ("", "")


def test_verbose_says_what_each_pass_did(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert htp_opt.main([str(model), "-v", "--passes", "scope-attribution,fallback-tagging"]) == 0
    error = capsys.readouterr().err
    assert "[1/2] scope-attribution changed 2 nodes in" in error
    assert "[2/2] fallback-tagging changed 1 node in" in error


def test_a_report_with_an_output_is_on_stdout(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert htp_opt.main([str(model), "-o", "out.onnx", "--report", "json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["model_path"] == "out.onnx"
    assert list(json.loads(printed.out)) == [
        "model_path",
        "total_operations",
        "tagged_operations",
        "unique_tags",
        "by_source",
        "confidence",
        "tag_statistics",
        "modules",
        "operations",
        "notes",
        "warnings",
    ]


def test_the_sidecar_says_what_the_model_says(model: Path) -> None:
    assert htp_opt.main([str(model), "-o", "out.onnx", "--sidecar"]) == 0
    sidecar = json.loads(Path("out_hierarchy.json").read_text())
    assert sidecar["model_path"] == "out.onnx"
    assert sidecar["summary"]["tagged_operations"] == 3
    assert htp_opt.main([str(model), "-o", "-", "--sidecar-path", "other.json", "--dry-run"]) == 0
    assert not Path("other.json").exists()
    assert htp_opt.main([str(model), "--sidecar-path", "other.json"]) == 0
    assert json.loads(Path("other.json").read_text())["model_path"] == "model.onnx"


def test_a_sidecar_that_can_not_be_written_keeps_the_model_away(model: Path, folder: Path) -> None:
    Path("out_hierarchy.json").mkdir()
    assert htp_opt.main([str(model), "-o", "out.onnx", "--sidecar"]) == 2
    assert names(folder) == {"model.onnx", "out_hierarchy.json"}


def test_a_model_that_can_not_be_written_keeps_the_sidecar_away(
    model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "out.onnx")

    monkeypatch.setattr("modelexport.ir.io.writer.save_model", refuse)
    assert htp_opt.main([str(model), "-o", "out.onnx", "--sidecar"]) == 2
    assert names(folder) == {"model.onnx"}
    assert "No space left on device" in capsys.readouterr().err


@pytest.mark.parametrize("emit", ["text", "json"])
def test_emitting_a_form_for_people_or_programs(model: Path, emit: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert htp_opt.main([str(model), "--emit", emit]) == 0
    shown = capsys.readouterr().out
    assert "encoder" in shown
    assert htp_opt.main([str(model), "--emit", emit, "-o", "out.txt"]) == 0
    written = Path("out.txt").read_text()
    if emit == "json":
        assert json.loads(written)["node_tags"] == json.loads(shown)["node_tags"]
    else:
        assert written.rstrip() == shown.rstrip()


def test_in_place_replaces_the_file(model: Path) -> None:
    before = model.stat().st_mode
    assert htp_opt.main([str(model), "--in-place"]) == 0
    assert tags(model)[0] == "encoder"
    assert model.stat().st_mode == before


@pytest.mark.parametrize("alias", ["same", "relative", "symbolic link", "hard link"])
def test_an_output_that_is_the_input_is_refused(model: Path, alias: str, capsys: pytest.CaptureFixture[str]) -> None:
    other = {"same": "model.onnx", "relative": f"../{Path.cwd().name}/model.onnx"}.get(alias, "alias.onnx")
    if alias == "symbolic link":
        os.symlink("model.onnx", other)
    elif alias == "hard link":
        os.link("model.onnx", other)
    before = model.read_bytes()
    assert htp_opt.main([str(model), "-o", other]) == 2
    assert capsys.readouterr().err == f"error: {other}: is the input; --in-place writes over it\n"
    assert model.read_bytes() == before
    assert htp_opt.main([str(model), "-o", other, "--in-place"]) == 0
    assert tags(model)[0] == "encoder"


def test_auxiliary_decisions_are_logged_when_asked_for(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    proto = onnx.load(model)
    proto.graph.node[0].op_type = "Identity"
    onnx.save(proto, model)
    assert htp_opt.main([str(model), "-o", "out.onnx", "-q"]) == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("MODELEXPORT_AUX_OPS_DEBUG", "1")
    assert htp_opt.main([str(model), "-o", "out.onnx", "-q"]) == 0
    assert "Identity main: node 0 (/encoder/Relu): encoder by " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing argument 'INPUT'"),
        (["-", "--in-place"], "--in-place needs a file"),
        (["model.onnx", "--in-place", "-o", "x.onnx"], "leave -o out"),
        (["model.onnx", "--in-place", "--emit", "json"], "would replace the model by json"),
        (["model.onnx", "--sidecar"], "--sidecar needs -o FILE"),
        (["model.onnx", "--sidecar", "-o", "-"], "--sidecar needs -o FILE"),
        (["model.onnx", "--format", "json"], "--format belongs to --list-passes"),
        (["model.onnx", "--explain", "nothing"], "the pipeline has no pass 'nothing'"),
        (["model.onnx", "--print-ir-after", "nothing"], "--print-ir-after: the pipeline has no pass"),
        (["model.onnx", "--emit", "yaml"], "'yaml' is not one of"),
        (["model.onnx", "--report"], "requires an argument"),
        (["model.onnx", "other.onnx"], "unexpected extra argument"),
        (["model.onnx", "--no-such-option"], "No such option"),
        (["model.onnx", "-o", "."], "is a folder"),
        (["model.onnx", "-o", "out.onnx", "--reference", "ref.onnx", "--sidecar-path", "ref.onnx"], "would overwrite"),
        (["model.onnx", "-o", "out.onnx", "--sidecar-path", "out.onnx"], "would overwrite"),
        (["model.onnx", "--reproducer", "model.onnx"], "would overwrite the input"),
        (["model.onnx", "--trace", "missing.htptrace"], "missing.htptrace: No such file or directory (--trace)"),
        (["model.onnx", "--reference", "."], "Is a directory (--reference)"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(
    model: Path, folder: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("ref.onnx").write_bytes(model.read_bytes())
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert htp_opt.main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err
    assert sum(line.lower().startswith("error:") for line in printed.err.splitlines()) == 1
    assert "Traceback" not in printed.err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_check_finds_an_invalid_result(model: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    proto = onnx.load(model)
    proto.graph.node[0].op_type = "NoSuchOperator"
    onnx.save(proto, "bad.onnx")
    assert htp_opt.main(["bad.onnx", "-o", "out.onnx", "--check"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: onnx.checker: ") and error.count("\n") == 1
    assert not Path("out.onnx").exists()
    assert htp_opt.main(["bad.onnx", "-o", "out.onnx", "--check", "--keep-going"]) == 1
    assert Path("out.onnx").exists()
    assert htp_opt.main([str(model), "-o", "out.onnx", "--check"]) == 0


def test_check_finds_the_data_of_a_model_elsewhere(model: Path, folder: Path) -> None:
    Path("sub").mkdir()
    weight = onnx.numpy_helper.from_array(np.arange(64, dtype=np.float32), "w")
    value = helper.make_tensor_value_info("X", onnx.TensorProto.FLOAT, [64])
    result = helper.make_tensor_value_info("Y", onnx.TensorProto.FLOAT, [64])
    graph = helper.make_graph([helper.make_node("Add", ["X", "w"], ["Y"])], "g", [value], [result], [weight])
    proto = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 18)])
    onnx.save(proto, "sub/m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    assert htp_opt.main(["sub/m.onnx", "-o", "out.onnx", "--check"]) == 0
    assert onnx.numpy_helper.to_array(onnx.load("out.onnx").graph.initializer[0])[5] == 5
    assert Path.cwd() == folder


def test_time_passes_is_a_table_on_stderr(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert htp_opt.main([str(model), "-o", "out.onnx", "--time-passes", "-q"]) == 0
    lines = [line.split() for line in capsys.readouterr().err.splitlines()]
    assert lines[0] == ["pass", "seconds", "MB", "after", "MB", "peak"]
    assert [line[0] for line in lines[1:3]] == ["scope-attribution", "context-inheritance"]


def test_ir_is_printed_on_stderr(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert htp_opt.main([str(model), "--print-ir-before", "fallback-tagging", "--print-ir-after", "all"]) == 0
    printed = capsys.readouterr()
    heads = [line for line in printed.err.splitlines() if line.startswith("// IR")]
    assert heads[2] == "// IR before fallback-tagging" and len(heads) == 6
    assert "Relu" not in printed.out


def test_list_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert htp_opt.main(["--list-passes", "--format", "json"]) == 0
    listing = json.loads(capsys.readouterr().out)
    assert list(listing["passes"][0]) == ["name", "summary", "options", "requires", "establishes", "origin"]
    assert listing["pipelines"]["htp"].startswith("scope-attribution,context-inheritance")
    assert htp_opt.main(["--list-passes"]) == 0
    table = capsys.readouterr().out
    for each in listing["passes"]:
        assert each["name"] in table and each["summary"] in table
        for option in each["options"]:
            assert f"{option['name']}=<{option['type']}>" in table
    assert all(option["type"] for each in listing["passes"] for option in each["options"])


def test_the_default_pipeline_follows_the_files_given(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert htp_opt.main([str(model), "-o", "ref.onnx", "-q"]) == 0
    assert htp_opt.main([str(model), "-v", "--reference", "ref.onnx"]) == 0
    assert "[1/6] reference-attribution" in capsys.readouterr().err


def test_version_and_completion(capsys: pytest.CaptureFixture[str]) -> None:
    assert htp_opt.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("htp-opt ")
    assert htp_opt.main(["--completion", "bash"]) == 0
    assert "_HTP_OPT_COMPLETE=bash_complete" in capsys.readouterr().out


def test_help_names_every_option_and_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert htp_opt.main(["--help"]) == 0
    shown = capsys.readouterr().out
    for parameter in htp_opt.cli.params:
        assert all(option in shown for option in parameter.opts if option.startswith("-"))
    assert "Exit status: 0 fine, 1 findings" in shown


def test_the_examples_in_the_help_run(model: Path) -> None:
    """Of those that name a pipeline or nothing but files of their own."""
    lines = [line.split("  ")[1] for line in htp_opt.EPILOG.splitlines() if line.startswith("  htp-opt")]
    assert len(lines) == 5
    for line in lines:
        arguments = shlex.split(line)[1:]
        if arguments[0] == model.name or Path(arguments[0]).exists():
            assert htp_opt.main([*arguments, "-q"]) == 0, line


def test_a_loaded_model_runs_the_same_in_python(model: Path) -> None:
    from modelexport.passes import PassManager, Pipeline

    PassManager(Pipeline.parse("htp")).run(found := load_model(model))
    assert htp_opt.main([str(model), "-o", "out.onnx"]) == 0
    assert [node.metadata["htp.path"] for node in found.nodes()] == tags("out.onnx")
