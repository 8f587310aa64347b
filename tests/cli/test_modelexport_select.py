"""modelexport select, analyze --select, and modelexport.core.selection."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import jsonschema
import onnx
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "api"))
from tagged import plain_model, tagged_file

from modelexport.cli.schema import schema
from modelexport.core.selection import Selection, Selector, SelectorError, select
from modelexport.ir import load_model
from modelexport.ir.errors import ConfigError, NothingSelectedError
from modelexport.passes.selection.formats import FORMATS, NamelessError

Run = Any


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tagged_file(tmp_path)


def test_lists(run: Run, model: Path) -> None:
    names = ["/blocks.1/act/Relu", "/blocks.1/proj/MatMul"]
    assert run("select", model, "path:blocks.1.* and not op:Neg") == (0, "\n".join(names) + "\n", "")
    assert run("select", model, "op:MatMul", "op:Neg", "--format", "modules")[1] == "blocks.0.proj\nblocks.1.proj\n"
    assert run("select", model, "op:MatMul", "--format", "values")[1] == "m0\nm1\n"
    assert run("select", model, "op:MatMul", "--format", "weights")[1] == "w\n"
    assert run("select", model, "op:Neg")[1] == "main#5:Neg\n"
    assert run("select", model, ".", "--count")[1] == "6\n"
    assert run("select", model, "at:blocks.0", "--format", "modules")[1] == "blocks.0\n"
    lines = run("select", model, "not op:Relu", "--format", "table")[1].splitlines()
    assert re.split(r"\s{2,}", lines[1]) == ["/blocks.0/Shape", "Shape", "blocks.0", "scope", "1.00"]
    assert lines[0].split() == ["name", "operator", "path", "source", "confidence"] and len(lines) == 5


def test_json_is_what_the_schema_says(run: Run, model: Path) -> None:
    code, out, _ = run("select", model, "op:MatMul", "makes:y", "--format", "json")
    document = json.loads(out)
    jsonschema.validate(document, schema("select"))
    assert code == 0 and document["count"] == 3 and document["selector"] == "op:MatMul or makes:y"
    assert document["nodes"][0] == {
        "key": "/blocks.0/proj/MatMul",
        "name": "/blocks.0/proj/MatMul",
        "op_type": "MatMul",
        "domain": "",
        "graph": "main",
        "path": "blocks.0.proj",
        "tag": "/Model/blocks.0/proj",
        "source": "scope",
        "confidence": 1.0,
        "inputs": ["r0", "w"],
        "outputs": ["m0"],
    }
    assert document["nodes"][2]["key"] == "main#5:Neg" and document["nodes"][2]["name"] == ""
    assert document["modules"] == ["blocks.0.proj", "blocks.1.proj"]


def test_lists_of_other_tools(run: Run, model: Path) -> None:
    def form(name: str, *more: str) -> Any:
        code, out, err = run("select", model, "op:MatMul", "--format", name, *more)
        assert code == 0 and err == ""
        return json.loads(out) if name != "tensorrt" else out

    names = ["/blocks.0/proj/MatMul", "/blocks.1/proj/MatMul"]
    assert form("ort") == form("olive") == {"nodes_to_exclude": names}
    assert form("ort", "--include") == {"nodes_to_quantize": names}
    assert form("nncf") == {"ignored_scope": {"names": names, "validate": True}}
    assert form("block-list") == names
    assert form("aimet") == {"activation_tensors": ["m0", "m1"], "param_tensors": ["w"]}
    assert form("tensorrt") == f"--layerPrecisions={names[0]}:fp32,{names[1]}:fp32\n"
    assert form("tensorrt", "--precision", "int8") == f"--layerPrecisions={names[0]}:int8,{names[1]}:int8\n"
    patterns = form("modelopt")["nodes_to_exclude"]
    proto = onnx.load(model)
    assert [n.name for n in proto.graph.node if any(re.match(p, n.name) for p in patterns)] == names


def test_a_node_without_a_name_of_its_own_is_refused(run: Run, model: Path, tmp_path: Path) -> None:
    for form in ("ort", "olive", "nncf", "modelopt", "tensorrt", "block-list"):
        code, out, err = run("select", model, ".", "--format", form)
        assert (code, out) == (1, "")
        assert err == (
            "error: 1 of 6 selected nodes have no name of their own (first: Neg -> y): "
            "htp-opt MODEL -o NAMED --passes 'htp,node-naming' gives them one\n"
        )
    assert run("select", model, ".", "--format", "aimet")[0] == 0
    proto = onnx.load(model)
    proto.graph.node[1].name = proto.graph.node[2].name = "a:b"
    onnx.save(proto, tmp_path / "shared.onnx")
    assert "2 of 2 selected nodes" in run("select", tmp_path / "shared.onnx", "name:a:b", "--format", "ort")[2]
    proto.graph.node[1].name = "other"
    onnx.save(proto, tmp_path / "shared.onnx")
    code, out, err = run("select", tmp_path / "shared.onnx", "name:a:b", "--format", "tensorrt")
    assert (code, out) == (1, "") and "':' or ','" in err
    assert run("select", tmp_path / "shared.onnx", "name:a:b", "--format", "ort")[0] == 0


def test_nothing_selected(run: Run, model: Path) -> None:
    nothing = "error: no node matches 'path:blocks.2'; the nearest path is blocks.1\n"
    assert run("select", model, "path:blocks.2") == (1, "", nothing)
    assert run("select", model, "op:MatMul", "path:blocks.2") == (1, "", nothing)
    assert run("select", model, "path:blocks.2", "--allow-empty") == (0, "", "")
    assert run("select", model, "path:blocks.2", "--count") == (1, "0\n", nothing)
    code, out, err = run("select", model, "path:blocks.2", "--format", "json")
    assert code == 1 and json.loads(out)["count"] == 0 and err == nothing
    assert run("select", model, "path:blocks.2", "--format", "ort") == (1, "", nothing)
    assert json.loads(run("select", model, "path:blocks.2", "--format", "ort", "--allow-empty")[1]) == {
        "nodes_to_exclude": []
    }
    assert "no class of a module is recorded" in run("select", model, "class:Linear")[2]


def test_wrong_usage(run: Run, model: Path) -> None:
    code, out, err = run("select", model, "op:MatMul and clas:X")
    assert (code, out) == (2, "")
    assert err == ("error: unknown key 'clas': did you mean 'class'?\n  op:MatMul and clas:X\n                ^\n")
    assert run("select", "missing.onnx", "clas:X")[2].startswith("error: unknown key")
    assert run("select", "missing.onnx", "path:x")[0] == 2
    assert run("select", model)[0] == 2
    assert run("select", model, ".", "--include")[0] == 2
    assert run("select", model, ".", "--precision", "fp16")[0] == 2


def test_output_to_a_file(run: Run, model: Path, tmp_path: Path) -> None:
    target = tmp_path / "names.txt"
    assert run("select", model, "op:Relu", "-o", target) == (0, "", "")
    assert target.read_text() == "/blocks.0/act/Relu\n/blocks.1/act/Relu\n"
    assert run("select", model, "op:Relu", "-o", "-")[1] == target.read_text()
    assert run("select", model, ".", "--format", "ort", "-o", tmp_path / "no.json")[0] == 1
    assert not (tmp_path / "no.json").exists()
    assert run("select", model, ".", "-o", tmp_path / "no" / "file")[0] == 2


def test_an_untagged_file_is_attributed_in_memory(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "plain.onnx"
    onnx.save(plain_model(), path)
    before = path.read_bytes()
    assert run("select", path, "at:blocks.1.act") == (0, "/blocks.1/act/Relu\n", "")
    assert "6 nodes have no tag" in run("select", path, "at:blocks.1.act", "-v")[2]
    assert run("select", path, "source:fallback or source:inherited", "--count")[1] == "1\n"
    assert path.read_bytes() == before


def test_a_file_with_some_tags_is_completed(run: Run, model: Path) -> None:
    proto = onnx.load(model)
    del proto.metadata_props[:]
    del proto.graph.node[2].metadata_props[:]
    onnx.save(proto, model)
    assert run("select", model, "at:blocks.0.proj") == (0, "/blocks.0/proj/MatMul\n", "")


def test_tags_of_a_sidecar_count(run: Run, model: Path) -> None:
    from modelexport.ir import save_model
    from modelexport.passes import PassManager

    plain = load_model(model)
    PassManager("strip-tags").run(plain)
    save_model(plain, model)
    sidecar = model.with_name("model_hierarchy.json")
    sidecar.write_text(sidecar.read_text().replace("blocks.1.act", "blocks.1.other"))
    assert run("select", model, "at:blocks.1.other")[1] == "/blocks.1/act/Relu\n"


def test_nodes_of_bodies_are_counted_in_a_warning(run: Run, tmp_path: Path) -> None:
    body = onnx.parser.parse_graph('b () => (float[2] z) { ["/head/Neg"] z = Neg (x) }')
    node = onnx.helper.make_node("If", ["c"], ["y"], name="/head/If", then_branch=body, else_branch=body)
    values = [onnx.helper.make_tensor_value_info("x", 1, [2]), onnx.helper.make_tensor_value_info("c", 9, [])]
    graph = onnx.helper.make_graph([node], "g", values, [onnx.helper.make_tensor_value_info("y", 1, [2])])
    node.attribute[1].g.node[0].name = "/head/Neg_1"
    del graph.node[:]
    graph.node.append(node)
    onnx.save(onnx.helper.make_model(graph), tmp_path / "m.onnx")
    code, out, err = run("select", tmp_path / "m.onnx", "path:head", "--format", "ort")
    assert code == 0 and json.loads(out) == {"nodes_to_exclude": ["/head/If", "/head/Neg", "/head/Neg_1"]}
    assert err == "warning: 2 of 3 selected nodes are in bodies or functions; ort looks at the main graph\n"
    assert run("select", tmp_path / "m.onnx", "path:head", "--format", "names")[2] == ""


def test_analyze_select(run: Run, model: Path) -> None:
    code, out, _ = run("analyze", model, "--select", "path:blocks.1", "--by", "op", "--format", "csv")
    assert code == 0 and set(out.split()) == {"operator,nodes", "Relu,1", "MatMul,1", "Neg,1"}
    code, out, _ = run("analyze", model, "--select", "op:Relu", "--filter-tag", "path:blocks.1", "--format", "json")
    summary = json.loads(out)
    jsonschema.validate(summary, schema("analyze"))
    assert summary["total_operations"] == 1 and [m["path"] for m in summary["modules"]][-1] == "blocks.1.act"
    code, out, err = run("analyze", model, "--select", "op:Add", "--format", "json")
    assert code == 1 and json.loads(out)["total_operations"] == 0 and "no node matches 'op:Add'" in err
    assert run("analyze", model, "--select", "op:Add")[:2] == (1, "")
    assert run("analyze", model, "--select", "op(")[0] == 2
    rows = run("analyze", model, "--select", "op:Relu", "--format", "csv")[1].splitlines()
    assert len(rows) == 3 and rows[1].startswith("/blocks.0/act/Relu,Relu,1,/Model/blocks.0/act")


def test_python(model: Path) -> None:
    chosen = select(model, "op:MatMul and blocks.0")
    assert isinstance(chosen, Selection) and len(chosen) == 1 and chosen.names == ["/blocks.0/proj/MatMul"]
    assert chosen.modules == ["blocks.0.proj"] and chosen.values == ["m0"] and chosen.weights == ["w"]
    assert chosen.to("ort", include=True) == {"nodes_to_quantize": chosen.names}
    assert all(Selector.parse("op:MatMul").matches(node) for node in chosen.nodes)
    for form in FORMATS:
        if form != "table":
            assert chosen.to(form)
    with pytest.raises(ConfigError, match="no format 'nope'"):
        chosen.to("nope")
    with pytest.raises(NothingSelectedError):
        select(model, "op:Nope")
    with pytest.raises(SelectorError):
        select(model, "(")
    with pytest.raises(NamelessError):
        select(model, "op:Neg").to("nncf")
    assert len(select(model, "op:Nope", allow_empty=True)) == 0


def test_python_on_a_model_in_memory() -> None:
    model = load_model(plain_model().SerializeToString())
    assert select(model, Selector.parse("source:inherited")).names == ["main#5:Neg"]
