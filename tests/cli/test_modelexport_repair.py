"""modelexport validate --repair: old attributes become metadata, model and sidecar agree again."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "api"))
from tagged import plain_model, set_metadata, tagged_file

from modelexport.cli import modelexport as command
from modelexport.cli.repair import convert_legacy
from modelexport.core import tag_utils
from modelexport.ir import save_model
from modelexport.ir.io.reader import from_proto
from modelexport.ir.io.sidecar import write_sidecar
from modelexport.ir.modules import Module
from modelexport.passes import PassManager

RELU = "/blocks.0/act/Relu"


def validate(*arguments: object) -> int:
    return command.main(["validate", *(str(argument) for argument in arguments)])


def legacy_file(folder: Path) -> Path:
    """A model as older hierarchy exporters wrote it, with tags in attributes, also inside a branch."""
    proto = plain_model()
    tags = {
        "/blocks.0/act/Relu": "/Net/Block.0/ReLU",
        "/blocks.0/proj/MatMul": "/Net/Block.0/Linear",
        "/blocks.1/act/Relu": "/Net/Block.1/ReLU",
        "/blocks.1/proj/MatMul": "/Net/Block.1/Linear",
    }
    for node in proto.graph.node:
        if node.name in tags:
            node.attribute.append(onnx.helper.make_attribute("hierarchy_tag", tags[node.name]))
            node.attribute.append(onnx.helper.make_attribute("hierarchy_method", "direct"))
            node.name = ""
    path = folder / "old.onnx"
    onnx.save(proto, path)
    return path


def test_old_attributes_become_metadata(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = legacy_file(tmp_path)
    assert validate(path) == 1
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.InvalidGraph):
        onnxruntime.InferenceSession(path.read_bytes())
    capfd.readouterr()
    assert validate(path, "--repair", "--check-consistency", "--format", "json") == 0
    found = json.loads(capfd.readouterr().out)
    assert found["valid"] and found["consistency"]["consistent"] and found["tags_in_model"] == 6
    assert "4 nodes" in found["repaired"][0]
    session = onnxruntime.InferenceSession(path.read_bytes())
    assert np.array_equal(session.run(["y"], {"x": np.eye(2, dtype=np.float32)})[0], -np.eye(2, dtype=np.float32))
    tags = tag_utils.get_tag_statistics(path)
    assert sum(count for tag, count in tags.items() if "Block.0" in tag) >= 2
    assert not any(a.name.startswith("hierarchy") for node in onnx.load(path).graph.node for a in node.attribute)


def test_a_second_repair_changes_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = legacy_file(tmp_path)
    assert validate(path, "--repair") == 0
    files = {file: file.read_bytes() for file in tmp_path.iterdir()}
    capfd.readouterr()
    assert validate(path, "--repair", "--format", "json") == 0
    assert json.loads(capfd.readouterr().out)["repaired"] == []
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == files


def test_attributes_inside_branches_and_functions_are_found() -> None:
    inner = onnx.helper.make_node("Relu", ["x"], ["b"], hierarchy_tag="/Net/A")
    branch = onnx.helper.make_graph([inner], "branch", [], [onnx.helper.make_empty_tensor_value_info("b")])
    choice = onnx.helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    proto = onnx.helper.make_model(onnx.helper.make_graph([choice], "g", [], []))
    called = onnx.helper.make_node("Relu", ["x"], ["y"], hierarchy_tags=["/Net/B", "/Net"])
    proto.functions.append(onnx.helper.make_function("local", "F", ["x"], ["y"], [called], []))
    assert convert_legacy(proto) == 3
    (node,) = proto.functions[0].node
    assert not node.attribute and node.metadata_props[0].value == "/Net/B"
    assert convert_legacy(proto) == 0


@pytest.mark.parametrize("key", ["htp.tag", "winml.hierarchy.tag"])
def test_a_tag_in_the_metadata_stands_before_an_old_attribute(key: str) -> None:
    node = onnx.helper.make_node("Relu", ["x"], ["y"], hierarchy_tag="/Net/Old")
    node.metadata_props.add(key=key, value="/Net/New")
    proto = onnx.helper.make_model(onnx.helper.make_graph([node], "g", [], []))
    assert convert_legacy(proto) == 1
    (found,) = proto.graph.node
    assert [(entry.key, entry.value) for entry in found.metadata_props] == [(key, "/Net/New")]
    assert not found.attribute


@pytest.mark.parametrize("source", ["model", "sidecar"])
def test_repair_restores_what_was_lost_on_the_other_side(tmp_path: Path, source: str) -> None:
    path = tagged_file(tmp_path)
    truth = tag_utils.load_tags_from_onnx(path)
    sidecar = tmp_path / "model_hierarchy.json"
    if source == "model":
        content = json.loads(sidecar.read_text())
        content["node_tags"][RELU] |= {"tags": ["/Wrong"], "path": "wrong"}
        del content["node_tags"]["main#5:Neg"]
        sidecar.write_text(json.dumps(content))
    else:
        onnx.save(plain_model(), path)
    assert validate(path, "--check-consistency") == 1
    assert validate(path, "--check-consistency", "--repair-from", source) == 0
    assert tag_utils.load_tags_from_onnx(path) == truth
    assert tag_utils.get_tag_statistics(path) == tag_utils.get_tag_statistics(path, use_sidecar=False)


def test_without_tags_in_the_model_the_sidecar_is_right(tmp_path: Path) -> None:
    path = tagged_file(tmp_path)
    truth = tag_utils.load_tags_from_onnx(path)
    onnx.save(plain_model(), path)
    assert validate(path, "--check-consistency", "--repair") == 0
    assert tag_utils.load_tags_from_onnx(path) == truth


def test_with_tags_the_model_is_right(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tagged_file(tmp_path)
    (tmp_path / "model_hierarchy.json").unlink()
    assert validate(path, "--check-consistency", "--repair") == 0
    assert "rewritten from the model" in capfd.readouterr().out


@pytest.mark.parametrize("source", ["model", "sidecar"])
def test_one_changed_tag_is_repaired_either_way(tmp_path: Path, source: str) -> None:
    path = tagged_file(tmp_path)
    (other,) = tag_utils.query_operations_by_tag(path, "path:blocks.1.act")
    set_metadata(path, RELU, "htp.path", "blocks.1.act")
    set_metadata(path, RELU, "htp.tag", other["matching_tag"])
    assert validate(path, "--check-consistency") == 1
    right = path if source == "model" else path.with_name("model_hierarchy.json")
    before = right.read_bytes()
    assert validate(path, "--check-consistency", "--repair-from", source) == 0
    assert right.read_bytes() == before
    found = {row["node_name"] for row in tag_utils.query_operations_by_tag(path, "path:blocks.1.act")}
    assert (RELU in found) == (source == "model")


@pytest.mark.parametrize("source", ["model", "sidecar"])
def test_a_source_that_contradicts_itself_is_an_error(
    tmp_path: Path, source: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tagged_file(tmp_path)
    sidecar = tmp_path / "model_hierarchy.json"
    if source == "model":
        set_metadata(path, RELU, "htp.path", "blocks.1.act")
    else:
        content = json.loads(sidecar.read_text())
        content["node_tags"][RELU]["path"] = "blocks.1.act"
        sidecar.write_text(json.dumps(content))
    before = path.read_bytes(), sidecar.read_bytes()
    assert validate(path, "--repair-from", source) == 2
    assert f"node {RELU} has the tag" in capfd.readouterr().err
    assert (path.read_bytes(), sidecar.read_bytes()) == before


@pytest.mark.parametrize("torch_nn", [True, False])
def test_a_sidecar_from_tags_without_a_table_has_their_classes(tmp_path: Path, torch_nn: bool) -> None:
    path, sidecar = tmp_path / "model.onnx", tmp_path / "model_hierarchy.json"
    model = from_proto(plain_model(), path)
    for name, cls in {"": "my.Net", "blocks.0": "my.Block", "blocks.0.act": "torch.nn.modules.activation.ReLU"}.items():
        model.modules.add(Module(name, cls))
    for name, cls in {"blocks.1": "my.Block", "blocks.1.proj": "torch.nn.modules.linear.Linear"}.items():
        model.modules.add(Module(name, cls))
    options = f"{{table=false torch-nn={str(torch_nn).lower()}}}"
    PassManager(f"scope-attribution,context-inheritance,fallback-tagging,attribute-embedding{options}").run(model)
    save_model(model, path)
    write_sidecar(model, sidecar)
    held = {row["path"]: row for row in json.loads(sidecar.read_text())["modules"]}
    sidecar.unlink()
    assert validate(path, "--repair", "--check-consistency") == 0
    found = {row["path"]: row for row in json.loads(sidecar.read_text())["modules"]}
    classes = {where: row["class"].rpartition(".")[2] for where, row in held.items()}
    assert classes[""] == "Net" and found.keys() == held.keys()
    assert {where: row["class"] for where, row in found.items() if torch_nn or not where} == (
        classes if torch_nn else {"": "Net"}
    )
    assert torch_nn or {row["class"] for where, row in found.items() if where} == {""}


OPTIONS = "{interop=none carrier=doc-string table=false torch-nn=false}"


@pytest.mark.parametrize("source", ["model", "sidecar"])
def test_repair_keeps_the_recorded_options(tmp_path: Path, source: str) -> None:
    from modelexport.cli import htp_opt

    path = tagged_file(tmp_path)
    passes = f"scope-attribution,context-inheritance,fallback-tagging,attribute-embedding{OPTIONS}"
    assert htp_opt.main([str(path), "--in-place", "--sidecar", "--passes", passes, "-q"]) == 0
    sidecar = tmp_path / "model_hierarchy.json"
    before = path.read_bytes(), sidecar.read_bytes()
    if source == "model":
        sidecar.unlink()
    else:
        assert htp_opt.main([str(path), "--in-place", "--passes", "strip-tags", "-q"]) == 0
    assert validate(path, "--repair-from", source, "--check-consistency") == 0
    assert path.read_bytes() == before[0]
    repaired, original = (json.loads(text) for text in (sidecar.read_bytes(), before[1]))
    assert repaired["node_tags"] == original["node_tags"] and repaired["pipeline"] == original["pipeline"]


def test_tagging_again_keeps_the_options_of_the_file(tmp_path: Path) -> None:
    from modelexport.cli import htp_opt

    path = tagged_file(tmp_path)
    passes = "scope-attribution,context-inheritance,fallback-tagging,attribute-embedding"
    assert htp_opt.main([str(path), "--in-place", "--passes", passes + OPTIONS, "-q"]) == 0
    before = path.read_bytes()
    assert htp_opt.main([str(path), "--in-place", "--passes", passes, "-q"]) == 0
    assert path.read_bytes() == before
    assert htp_opt.main([str(path), "--in-place", "--passes", passes + "{table=true}", "-q"]) == 0
    metadata = {entry.key.rpartition(".")[0]: entry.value for entry in onnx.load(path).metadata_props}
    assert "htp.nodes" in metadata and "carrier=doc-string" in metadata["htp.pipeline"]


@pytest.mark.parametrize("lost", ["sidecar", "an entry", "model"])
@pytest.mark.parametrize("options", ["", OPTIONS, "{interop=torch carrier=both}", "{interop=winml torch-nn=false}"])
def test_repair_without_a_side_leaves_the_right_one_alone(tmp_path: Path, options: str, lost: str) -> None:
    from modelexport.cli import htp_opt

    path, sidecar = tmp_path / "model.onnx", tmp_path / "model_hierarchy.json"
    onnx.save(plain_model(), path)
    passes = f"scope-attribution,context-inheritance,fallback-tagging,attribute-embedding{options}"
    assert htp_opt.main([str(path), "--in-place", "--sidecar", "--passes", passes, "-q"]) == 0
    model, text = path.read_bytes(), sidecar.read_bytes()
    if lost == "sidecar":
        sidecar.unlink()
    elif lost == "an entry":
        content = json.loads(text)
        content["node_tags"][RELU] = content["node_tags"]["main#5:Neg"]
        sidecar.write_text(json.dumps(content))
    else:
        assert htp_opt.main([str(path), "--in-place", "--passes", "strip-tags", "-q"]) == 0
    assert validate(path, "--repair", "--check-consistency") == 0
    assert path.read_bytes() == model
    if lost == "model":
        assert sidecar.read_bytes() == text
    else:
        repaired, original = json.loads(sidecar.read_bytes()), json.loads(text)
        assert [repaired[key] for key in ("node_tags", "pipeline")] == [
            original[key] for key in ("node_tags", "pipeline")
        ]


def test_repair_gives_nodes_back_what_only_the_table_holds(tmp_path: Path) -> None:
    path = tagged_file(tmp_path)
    truth = tag_utils.load_tags_from_onnx(path)
    proto = onnx.load(path)
    for node in proto.graph.node:
        del node.metadata_props[:]
    onnx.save(proto, path)
    (tmp_path / "model_hierarchy.json").unlink()
    assert validate(path, "--repair", "--check-consistency") == 0
    assert all(node.metadata_props for node in onnx.load(path).graph.node)
    assert tag_utils.load_tags_from_onnx(path) == truth


def test_a_sidecar_that_names_no_torch_modules_is_counted_module_by_module(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from modelexport.ir.io.reader import load_model
    from modelexport.ir.io.sidecar import sidecar_path, write_sidecar
    from modelexport.ir.modules import Module
    from modelexport.passes import PassManager

    path = tmp_path / "model.onnx"
    onnx.save(plain_model(), path)
    model = load_model(path)
    for name, cls in (("", "Net"), ("blocks.0", "Block"), ("blocks.0.act", "torch.nn.ReLU")):
        model.modules.add(Module(name, cls))
    PassManager("htp").run(model)
    write_sidecar(model, sidecar_path(path), torch_nn=False)
    assert command.main(["analyze", str(path), "--format", "json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert sum(found["tag_statistics"].values()) == found["total_operations"] == 6
    assert found["tag_statistics"]["/Net/Block.0"] == 1 and "/Net/Block.0/ReLU" in found["tag_statistics"]
