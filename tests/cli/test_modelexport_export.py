"""modelexport export and trace: every kind of MODEL, inputs, configuration, and what is refused."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import jsonschema
import onnx
import pytest
import torch
import transformers

from modelexport.cli import modelexport as command
from modelexport.cli.schema import schema
from modelexport.core import tag_utils

FILE = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.table = torch.nn.Embedding(100, 4)
        self.head = torch.nn.Linear(4, 2)

    def forward(self, ids, scale=None):
        x = self.head(self.table(ids))
        return x if scale is None else x * scale

def build():
    return Net()

def pair():
    return Net(), torch.randint(0, 100, (1, 3))

def broken():
    raise ValueError("not today\\nat all")
"""

Export = Callable[..., tuple[int, str, str]]


@pytest.fixture
def export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Export:
    """Runs export in a folder with net.py (no inputs) and full.py (with inputs): (exit code, stdout, stderr)."""
    (tmp_path / "net.py").write_text(FILE)
    (tmp_path / "full.py").write_text(FILE + "\nexample_inputs = torch.randint(0, 100, (1, 5))\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    def call(*arguments: object, opset: bool = True) -> tuple[int, str, str]:
        capfd.readouterr()
        words = ["export", *map(str, arguments), *(["--opset-version", "17"] if opset else [])]
        code = command.main(words)
        captured = capfd.readouterr()
        assert "Traceback" not in captured.err
        return code, captured.out, captured.err

    return call


def shape_of(path: str, index: int = 0) -> list[int | str]:
    dims = onnx.load(path).graph.input[index].type.tensor_type.shape.dim
    return [dim.dim_param or dim.dim_value for dim in dims]


@pytest.mark.parametrize(
    "arguments",
    [
        ["full.py"],
        ["full.py:build"],
        ["net.py:pair"],
        ["full.py:Net"],
        ["full:pair"],
        ["demo:transformer"],
    ],
)
def test_kinds_of_models(export: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    code, out, err = export(*arguments, "o.onnx", "--format", "json")
    assert (code, err) == (0, "")
    report = json.loads(out)
    jsonschema.validate(report, schema("export"))
    assert report["tagged_operations"] == report["total_operations"] > 0
    assert report["by_source"].keys() <= {"scope", "parameter", "inherited"}
    assert tag_utils.validate_tag_consistency("o.onnx")["consistent"]


def test_a_table_is_printed_and_options_reach_the_exporter(export: Export) -> None:
    code, out, _ = export("full.py", "o.onnx", "--strategy", "usage_based", "--exporter", "torchscript", "--report")
    assert code == 0 and "usage_based" in out and "o_hierarchy.json" in out and "parameter" in out
    assert Path("o_htp_metadata.json").is_file() and Path("o_htp_export_report.txt").is_file()
    assert export("full.py", "data.onnx", "--external-data")[0] == 0
    assert Path("data.onnx.data").is_file()


def test_no_torch_nn_collapses_tags_and_stays_consistent(export: Export) -> None:
    assert export("full.py", "o.onnx", "--no-torch-nn", "--optimize")[0] == 0
    assert set(tag_utils.get_tag_statistics("o.onnx", use_sidecar=False)) == {"/Net"}
    assert tag_utils.validate_tag_consistency("o.onnx")["consistent"]


def test_inputs_from_shapes_and_specifications(export: Export) -> None:
    Path("c.toml").write_text('[input_specs.ids]\ndtype = "int"\nshape = ["batch", 7]\nrange = [0, 100]\n')
    assert export("net.py", "o.onnx", "--config", "c.toml")[0] == 0
    assert shape_of("o.onnx") == ["batch", 7]
    assert export("net.py", "o.onnx", "--config", "c.toml", "--input-shape", "ids:2,9")[0] == 0
    assert shape_of("o.onnx") == [2, 9]
    Path("bare.json").write_text('{"input_specs": {"ids": {"dtype": "int"}}}')
    assert export("net.py", "o.onnx", "--config", "bare.json")[0] == 0
    assert shape_of("o.onnx") == [1, 16]
    Path("named.json").write_text('{"input_specs": {"ids": {"shape": ["n", 3]}}, "input_names": ["tokens"]}')
    assert export("full.py", "o.onnx", "--config", "named.json")[0] == 0  # of the type that the file's own input has
    assert shape_of("o.onnx") == ["n", 3] and onnx.load("o.onnx").graph.input[0].name == "tokens"


@pytest.mark.parametrize("mode", ["EVAL", "PRESERVE", "TRAINING"])
def test_training_modes_are_named(export: Export, mode: str) -> None:
    Path("c.json").write_text(json.dumps({"training": mode}))
    assert export("full.py", "o.onnx", "--config", "c.json") == (0, ANY, "")


def test_missing_inputs_say_what_to_pass(export: Export) -> None:
    code, _, err = export("net.py", "o.onnx")
    assert code == 2 and "--input-shape ids:1,..." in err and "input_specs for ids" in err and "scale" not in err
    assert not Path("o.onnx").exists()


def test_the_documented_configuration(export: Export) -> None:
    Path("c.json").write_text(
        json.dumps(
            {
                "opset_version": 14,
                "input_names": ["input"],
                "output_names": ["output"],
                "dynamic_axes": {"input": {"0": "batch_size"}},
                "do_constant_folding": True,
                "input_specs": {"ids": {"dtype": "int", "range": [0, 100]}},
            }
        )
    )
    assert export("net.py", "o.onnx", "--config", "c.json", opset=False)[0] == 0
    model = onnx.load("o.onnx")
    assert [value.name for value in (*model.graph.input, *model.graph.output)] == ["input", "output"]
    assert shape_of("o.onnx") == ["batch_size", 16] and model.opset_import[0].version == 14
    assert export("net.py", "o.onnx", "--config", "c.json")[0] == 0  # options win
    assert onnx.load("o.onnx").opset_import[0].version == 17


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ('{"optset_version": 14}', 'unknown key "optset_version"; did you mean "opset_version"'),
        ('{"colour": 14}', 'unknown key "colour"; known: builtin_tracking'),
        ('{"opset_version": "14"}', 'opset_version must be an integer, not "14"'),
        ('{"opset_version": true}', "opset_version must be an integer, not true"),
        ('{"opset_version": 0}', "opset_version is 0, outside 1..99"),
        ('{"strategy": "htpp"}', 'strategy can\'t be "htpp"; did you mean "htp"'),
        ('{"training": "eval"}', 'training can\'t be "eval"'),
        ('{"torch_nn": 1}', "torch_nn must be true or false, not 1"),
        ('{"input_names": "x"}', 'input_names must be a list, not "x"'),
        ('{"input_names": [1]}', "input_names[0] must be text, not 1"),
        ('{"dynamic_axes": {"x": {"first": "n"}}}', "dynamic_axes.x.first"),
        ('{"dynamic_axes": {"x": 3}}', "dynamic_axes.x must be a table or a list, not 3"),
        ('{"input_specs": {"ids": {"dtipe": "int"}}}', 'unknown key "input_specs.ids.dtipe"; did you mean "dtype"'),
        ('{"input_specs": {"ids": {"range": [1]}}}', "input_specs.ids.range must have 2 entries, not 1"),
        ('{"input_specs": {"ids": {"shape": [1.5]}}}', "input_specs.ids.shape[0] must be an integer or text, not 1.5"),
        ('{"input_specs": {"ids": {"dtype": "float"}}}', "needs a shape"),
        ('{"input_specs": {"idz": {"dtype": "int"}}}', "did you mean 'ids'"),
        ('{"pipeline": "htpp"}', "error: unknown pass 'htpp'"),
        ('{"input_names": ["ids"], "dynamic_axes": {"ids": {"2": "n"}}}', "every strategy failed"),
        ('{"opset_version": 14', "not JSON"),
        ("[]", "must be a table of keys"),
    ],
)
def test_wrong_configurations_are_one_line(export: Export, config: str, message: str) -> None:
    Path("c.json").write_text(config)
    code, out, err = export("full.py", "o.onnx", "--config", "c.json")
    assert code == 2 and out == "" and not Path("o.onnx").exists()
    assert message in err and err.startswith("error: "), err
    assert [line for line in err.splitlines() if "error" in line] == [err.splitlines()[0]]


def test_a_coverage_bound_that_is_not_met_is_a_finding(export: Export) -> None:
    Path("c.toml").write_text(
        'strategy = "usage_based"\npipeline = "scope-attribution,context-inheritance,fallback-tagging,'
        'coverage-validation{min-confidence=1.0},attribute-embedding"\n'
    )
    code, out, err = export("full.py", "o.onnx", "--config", "c.toml")
    assert code == 1 and out == "" and len(err.splitlines()) == 1 and "confidence" in err, err
    assert not list(Path().glob("o*"))


def test_configurations_that_cannot_be_read(export: Export) -> None:
    Path("bad.toml").write_text("opset_version 14")
    Path("latin.json").write_bytes(b'{"strategy": "\xe9"}')
    for config in ("bad.toml", "latin.json", "missing.json"):
        code, _, err = export("full.py", "o.onnx", "--config", config)
        assert code == 2 and config in err and len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.py", "o.onnx"], "missing.py: no such file"),
        (["net.py:nothing", "o.onnx"], "has no 'nothing'"),
        (["net.py:broken", "o.onnx"], "not today"),
        (["empty.py", "o.onnx"], "get_model, build_model, create_model, model"),
        (["syntax.py", "o.onnx"], "syntax.py"),
        (["leaves.py", "o.onnx"], "leaves.py: failed to run: SystemExit"),
        (["nopackage.nomodule:build", "o.onnx"], "no such module"),
        (["demo:nothing", "o.onnx"], "demo:transformer"),
        (["full.py", "none/o.onnx"], "the folder none does not exist"),
        (["full.py", "."], "a folder"),
        (["full.py", "full.py"], "is an input"),
        (["full.py:build", "full.py"], "is an input"),
        (["full.py", "o.onnx", "--input-shape", "idz:1"], "did you mean 'ids'"),
        (["full.py", "o.onnx", "--input-shape", "ids:1,2", "--config", "float.json"], "forward failed"),
    ],
)
def test_wrong_models_and_outputs_are_one_line(export: Export, arguments: list[str], message: str) -> None:
    Path("empty.py").write_text("x = 1\n")
    Path("syntax.py").write_text("def (:\n")
    Path("leaves.py").write_text("raise SystemExit\n")
    Path("float.json").write_text('{"input_specs": {"ids": {"dtype": "float"}}}')
    code, out, err = export(*arguments)
    assert code == 2 and out == ""
    assert message in err and err.startswith("error: ") and len(err.splitlines()) == 1, err
    assert not list(Path().glob("o*")) and not list(Path().glob(".*tmp"))


def test_a_model_that_cannot_be_loaded_leaves_the_report_that_was_asked_for(export: Export) -> None:
    code, _, err = export("net.py:broken", "o.onnx", "--report")
    assert code == 2
    outcome = json.loads(Path("o_htp_metadata.json").read_text())["outcome"]
    assert (outcome["status"], outcome["step"]) == ("failed", "MODEL_PREP") and "not today" in outcome["error"]
    assert "not today" in Path("o_htp_export_report.txt").read_text() + err
    assert "MODEL_PREP" in Path("o_htp_console.log").read_text()
    assert export("net.py:broken", "p.onnx")[0] == 2 and not list(Path().glob("p*"))


def test_talk_goes_to_stderr(export: Export) -> None:
    Path("chatty.py").write_text(FILE + "\nprint('hello')\nexample_inputs = torch.randint(0, 100, (1, 5))\n")
    _, out, err = export("chatty.py", "o.onnx", "--format", "json", "--verbose")
    assert json.loads(out)["summary"]["success"] and "loading chatty.py" in err and "hello" in err


def test_trace(export: Export, capfd: pytest.CaptureFixture[str]) -> None:
    assert export("net.py:pair", "o.onnx")[0] == 0
    assert command.main(["trace", "net.py:pair", "-o", "t.htptrace"]) == 0
    assert Path("t.htptrace").stat().st_size > 100
    assert command.main(["trace", "net.py", "-o", "u.htptrace"]) == 2
    assert command.main(["trace", "net.py:pair", "-o", "none/t.htptrace"]) == 2
    assert "--input-shape ids:1,..." in capfd.readouterr().err


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    config = transformers.BertConfig(
        vocab_size=32, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    folder = tmp_path / "checkpoint"
    transformers.BertModel(config).save_pretrained(folder)
    return folder


def test_a_checkpoint_folder_is_exported_offline(export: Export, checkpoint: Path) -> None:
    code, _, err = export(checkpoint, "o.onnx")
    assert (code, err) == (0, "")
    assert tag_utils.query_operations_by_tag("o.onnx", "path:encoder.layer.0.attention.self.query")
    assert tag_utils.validate_tag_consistency("o.onnx")["consistent"]


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        (
            transformers.ViTModel(
                transformers.ViTConfig(
                    hidden_size=8,
                    num_hidden_layers=1,
                    num_attention_heads=2,
                    intermediate_size=8,
                    image_size=8,
                    patch_size=4,
                )
            ),
            [[1, 3, 8, 8]],
        ),
        (
            transformers.T5ForConditionalGeneration(
                transformers.T5Config(vocab_size=40, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
            ),
            [[3, 5], [3, 5], [3, 5]],
        ),
    ],
)
def test_inputs_are_inferred_from_a_checkpoint(
    export: Export, tmp_path: Path, model: transformers.PreTrainedModel, inputs: list[list[int]]
) -> None:
    model.save_pretrained(tmp_path / "other")
    code, _, err = export(tmp_path / "other", "o.onnx")
    assert code == 0, err
    graph = onnx.load("o.onnx").graph
    assert [shape_of("o.onnx", index) for index in range(len(graph.input))] == inputs
    assert not any("cache" in value.name for value in graph.output)


def test_pickled_weights_need_a_flag(export: Export, checkpoint: Path) -> None:
    weights = checkpoint / "model.safetensors"
    from safetensors.torch import load_file

    torch.save(load_file(weights), checkpoint / "pytorch_model.bin")
    weights.unlink()
    code, _, err = export(checkpoint, "o.onnx")
    assert code == 2 and "--allow-pickle" in err and len(err.splitlines()) == 1
    assert export(checkpoint, "o.onnx", "--allow-pickle")[0] == 0


def test_remote_code_needs_a_flag(export: Export, checkpoint: Path, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    (checkpoint / "custom.py").write_text(
        f"open({str(mark)!r}, 'w').close()\n"
        "from transformers import BertConfig, BertModel\n"
        "class CustomConfig(BertConfig):\n    model_type = 'custom-one'\n"
        "class CustomModel(BertModel):\n    config_class = CustomConfig\n"
    )
    config: dict[str, Any] = json.loads((checkpoint / "config.json").read_text())
    config |= {
        "model_type": "custom-one",
        "architectures": ["CustomModel"],
        "auto_map": {"AutoConfig": "custom.CustomConfig", "AutoModel": "custom.CustomModel"},
    }
    (checkpoint / "config.json").write_text(json.dumps(config))
    code, _, err = export(checkpoint, "o.onnx")
    assert code == 2 and "trust" in err and not mark.exists() and len(err.splitlines()) == 1, err
    code, _, err = export(checkpoint, "o.onnx", "--trust-remote-code")
    assert code == 0 and mark.exists(), err


@pytest.mark.parametrize("arguments", [["export", "net.py", "o.onnx"], ["trace", "net.py", "-o", "t"], ["demo"]])
def test_without_torch_the_extra_is_named(
    export: Export, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    assert command.main(arguments) == 2
    assert "modelexport[torch]" in capfd.readouterr().err


def test_a_hub_id_that_is_not_there_is_one_line(export: Export) -> None:
    code, _, err = export("nobody/nothing-here", "o.onnx")
    assert code == 2 and err.startswith("error: ") and len(err.splitlines()) == 1


def test_a_hub_that_does_not_answer_is_not_asked_again(export: Export, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("modelexport.frontend.inputs.models.getproxies", dict)
    code, _, err = export("nobody/nothing-here", "o.onnx")
    assert code == 2 and err.startswith("error: nobody/nothing-here: ") and len(err.splitlines()) == 1
