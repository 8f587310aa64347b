"""The sidecar: its schema, its keys, its digest, and reading it back."""

from __future__ import annotations

import io
import json
import tracemalloc
from pathlib import Path

import jsonschema
import loss_cases
import onnx
import pytest
from corpus import corpus
from onnx import TensorProto, helper

from modelexport.ir import Attribution, Model, Source, load_model
from modelexport.ir.errors import ConfigError, InputError, OutputError
from modelexport.ir.identity.digest import graph_digest
from modelexport.ir.io.reader import from_proto
from modelexport.ir.io.sidecar import SCHEMA_FILE, node_keys, read_sidecar, sidecar_path, write_sidecar
from modelexport.ir.modules import Module

VALIDATOR = jsonschema.Draft202012Validator(json.loads(SCHEMA_FILE.read_text()))


def tagged(name: str = "nested_bodies") -> Model:
    model = from_proto(loss_cases.build(name))
    for module in (Module("", "pkg.Net"), Module("block", "pkg.Block", calls=2, aliases=("other",), parameters=7)):
        model.modules.add(module)
    for index, node in enumerate(model.nodes()):
        if index != 1:
            path = "block" if index % 2 else ""
            node.attribute_to(Attribution(path, Source.SCOPE, "r", 0.999, by="test"))
    return model


def written(model: Model, **options: object) -> dict:
    stream = io.BytesIO()
    write_sidecar(model, stream, **options)  # type: ignore[arg-type]
    content = json.loads(stream.getvalue())
    VALIDATOR.validate(content)
    return content


@pytest.mark.parametrize("name", loss_cases.CASES)
def test_every_model_has_a_valid_sidecar(name: str) -> None:
    model = tagged(name)
    content = written(model)
    assert len(content["node_tags"]) == content["summary"]["total_operations"] == len(list(model.nodes()))


def test_content(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    model = tagged("captured_variable")
    content = written(model, exporter={"strategy": "s"}, pipeline="htp", model_path="folder/m.onnx")
    assert content["generated_at"] == "1970-01-02T00:00:00Z"
    assert content["model_path"] == "m.onnx"
    assert content["exporter"]["name"] == "modelexport"
    assert content["exporter"]["strategy"] == "s"
    assert content["summary"] == {
        "total_operations": 6,
        "tagged_operations": 5,
        "unique_tags": 2,
        "by_source": {"scope": 5},
    }
    assert content["tag_statistics"] == {"/Net": 3, "/Net/Block": 2}
    assert content["modules"][1] == {
        "path": "block",
        "class": "pkg.Block",
        "tag": "/Net/Block",
        "parent": "",
        "calls": 2,
        "aliases": ["other"],
        "parameters": 7,
        "same_as": None,
    }
    assert content["node_tags"]["neg"]["tags"] == []
    assert content["node_tags"]["add"] == {
        "op_type": "Add",
        "tags": ["/Net"],
        "path": "",
        "source": "scope",
        "rule": "r",
        "confidence": 1.0,
        "role": "compute",
        "graph": "main/2.then_branch",
        "inputs": ["x", "h"],
        "outputs": ["in_then"],
    }


def test_pipeline_defaults_to_what_the_model_says() -> None:
    model = tagged()
    assert written(model)["pipeline"] == ""
    model.patch_metadata({"htp.pipeline": "a,b"})
    assert written(model)["pipeline"] == "a,b"


def test_output_is_reproducible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    assert written(tagged()) == written(tagged())
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "today")
    with pytest.raises(ConfigError, match="SOURCE_DATE_EPOCH"):
        written(tagged())


def keys_of(*nodes: tuple[str, str]) -> list[str]:
    protos = [helper.make_node(op, [], [f"v{i}"], name=name) for i, (op, name) in enumerate(nodes)]
    return [key for key, _ in node_keys(from_proto(helper.make_model(helper.make_graph(protos, "g", [], []))))]


def test_keys_are_names_or_places() -> None:
    assert keys_of(("A", "one"), ("B", ""), ("C", "two"), ("D", "two")) == ["one", "main#1:B", "main#2:C", "main#3:D"]
    assert keys_of(("A", ""), ("B", "main#0:A"), ("C", "main#0:A~2")) == ["main#0:A~3", "main#0:A", "main#0:A~2"]


def test_keys_are_unique_in_every_model() -> None:
    for name, data in corpus()[::20]:
        keys = [key for key, _ in node_keys(load_model(data))]
        assert len(set(keys)) == len(keys), name


def test_keys_follow_edits() -> None:
    model = from_proto(loss_cases.build("nested_bodies"))
    model.main.insert("Exp", ["x"], ["n"])
    again = load_model(onnx.ModelProto.SerializeToString(_assembled(model)))
    assert [key for key, _ in node_keys(model)] == [key for key, _ in node_keys(again)]


def _assembled(model: Model) -> onnx.ModelProto:
    from modelexport.ir.io.overlay import assemble

    return assemble(model)


def test_names_that_are_not_utf8_are_escaped() -> None:
    assert "\\xff\\xfe\\x80" in written(tagged("names_not_utf8"))["node_tags"]


def test_digest_is_of_the_structure_only() -> None:
    plain = graph_digest(from_proto(loss_cases.build("nested_bodies")))
    same = loss_cases.build("nested_bodies")
    same.graph.node[0].metadata_props.add(key="k", value="v")
    same.graph.node[0].name = same.doc_string = same.graph.node[0].doc_string = "other"
    same.graph.initializer[0].int32_data[0] = 0
    same.graph.value_info.append(loss_cases.floats("h"))
    body = next(attribute.g for attribute in same.graph.node[2].attribute if attribute.name == "then_branch")
    body.node[0].metadata_props.add(key="k", value="v")
    assert graph_digest(from_proto(same)) == plain

    def differs(change: str) -> bool:
        model = loss_cases.build("nested_bodies")
        inner = next(attribute.g for attribute in model.graph.node[2].attribute if attribute.name == "then_branch")
        if change == "operator":
            model.graph.node[0].op_type = "Abs"
        elif change == "input":
            inner.node[0].input[0] = "h"
        elif change == "attribute":
            model.graph.node[0].attribute.append(helper.make_attribute("axis", 1))
        elif change == "order":
            model.graph.node.append(model.graph.node[1])
            del model.graph.node[1]
        elif change in ("type of a tensor", "shape of a tensor"):
            kind = TensorProto.INT64 if change.startswith("type") else TensorProto.FLOAT
            shape = [1, 2] if change.startswith("shape") else [2]
            tensor = helper.make_tensor("t", kind, shape, [1, 2])
            model.graph.node[0].attribute.append(helper.make_attribute("value", tensor))
            return graph_digest(from_proto(model)) != with_tensor
        elif change == "body":
            inner.node.add(op_type="Exp", input=["h"], output=["more"])
        return graph_digest(from_proto(model)) != plain

    constant = loss_cases.build("nested_bodies")
    tensor = helper.make_tensor("t", TensorProto.FLOAT, [2], [1, 2])
    constant.graph.node[0].attribute.append(helper.make_attribute("value", tensor))
    with_tensor = graph_digest(from_proto(constant))
    constant.graph.node[0].attribute[-1].t.float_data[:] = [3, 4]
    assert graph_digest(from_proto(constant)) == with_tensor
    changes = ("operator", "input", "attribute", "order", "body", "type of a tensor", "shape of a tensor")
    assert [change for change in changes if not differs(change)] == []


def test_path_is_from_the_stem() -> None:
    assert sidecar_path("onnx.d/a.onnx.b.onnx") == Path("onnx.d/a.onnx.b_hierarchy.json")
    assert sidecar_path("m") == Path("m_hierarchy.json")


def test_written_file_reads_back_and_leaves_nothing_beside(tmp_path: Path) -> None:
    model = tagged()
    write_sidecar(model, tmp_path / "m_hierarchy.json")
    content = read_sidecar(tmp_path / "m_hierarchy.json")
    VALIDATOR.validate(content)
    assert [path.name for path in tmp_path.iterdir()] == ["m_hierarchy.json"]
    with pytest.raises(OutputError, match="does not exist"):
        write_sidecar(model, tmp_path / "no" / "m_hierarchy.json")


def test_missing_sidecar_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"m_hierarchy\.json not found"):
        read_sidecar(tmp_path / "m_hierarchy.json")
    with pytest.raises(InputError):
        read_sidecar(tmp_path / "m_hierarchy.json")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"format": "x"}',
        b"[" * 100_000,
        b'{"format": "modelexport-hierarchy"}',
        b'{"format": "modelexport-hierarchy", "schema_version": "2.0"}',
        b'{"format": "modelexport-hierarchy", "schema_version": "1.0", "modules": {}}',
    ],
)
def test_what_is_no_sidecar_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "s.json").write_bytes(text)
    with pytest.raises(InputError, match=r"s\.json: ") as raised:
        read_sidecar(tmp_path / "s.json")
    assert "\n" not in str(raised.value)


def test_text_is_never_in_memory_as_a_whole() -> None:
    nodes = [helper.make_node("Op", [], [f"{'v' * 2000}{index}"]) for index in range(3000)]
    model = from_proto(helper.make_model(helper.make_graph(nodes, "g", [], [])))

    class Counter(io.RawIOBase):
        size = 0

        def write(self, data: object) -> int:
            self.size += len(data)  # type: ignore[arg-type]
            return len(data)  # type: ignore[arg-type]

    counter = Counter()
    tracemalloc.start()
    try:
        write_sidecar(model, counter)  # type: ignore[arg-type]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert counter.size > 6_000_000
    assert peak < 3_000_000
