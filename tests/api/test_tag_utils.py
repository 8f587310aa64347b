"""The documented tag utilities, on models and sidecars."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
from tagged import set_metadata, tagged_file

from modelexport.core import tag_utils
from modelexport.ir import load_model, save_model
from modelexport.ir.errors import InputError, ModelExportError
from modelexport.ir.io import json_stream
from modelexport.ir.io.tag_rows import tagged_model
from modelexport.passes import PassManager

ACT, PROJ = "/Model/blocks.0/act", "/Model/blocks.0/proj"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tagged_file(tmp_path)


def edit_sidecar(model: Path, change: Any) -> None:
    path = model.with_name(f"{model.stem}_hierarchy.json")
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_tags_of_the_model(model: Path) -> None:
    tags = tag_utils.load_tags_from_onnx(model)
    relu = tags["/blocks.0/act/Relu"]
    assert relu["op_type"] == "Relu"
    assert relu["tags"] == [relu["primary_path"]]
    assert relu["tag_count"] == 1
    assert relu["source"] == "scope" and relu["method"] and 0 < relu["confidence"] <= 1
    assert set(relu) == {"op_type", "tags", "primary_path", "tag_count", "method", "source", "confidence"}
    assert "main#5:Neg" in tags


def test_sidecar_and_model_say_the_same(model: Path) -> None:
    sidecar = tag_utils.load_tags_from_sidecar(str(model))
    assert sidecar["tag_statistics"] == tag_utils.get_tag_statistics(model)
    assert tag_utils.get_tag_statistics(model) == tag_utils.get_tag_statistics(model, use_sidecar=False)
    answer = tag_utils.validate_tag_consistency(model)
    assert answer == {
        "consistent": True,
        "total_onnx_nodes": 6,
        "total_sidecar_nodes": 6,
        "tag_mismatches": [],
        "onnx_only_nodes": [],
        "sidecar_only_nodes": [],
    }


def test_a_missing_sidecar_is_named(tmp_path: Path) -> None:
    model = tagged_file(tmp_path, "my.model.onnx", sidecar=False)
    with pytest.raises(FileNotFoundError, match=r"my\.model_hierarchy\.json"):
        tag_utils.load_tags_from_sidecar(model)
    answer = tag_utils.validate_tag_consistency(model)
    assert answer["consistent"] is False and "my.model_hierarchy.json" in answer["error"] and len(answer) == 2
    assert len(tag_utils.get_tag_statistics(model)) == 5  # from the model itself


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("act", {"/blocks.0/act/Relu", "/blocks.1/act/Relu"}),
        ("Act", set()),
        ("/Model/blocks.0/*", {"/blocks.0/act/Relu", "/blocks.0/proj/MatMul"}),
        ("*.?/act", {"/blocks.0/act/Relu", "/blocks.1/act/Relu"}),
        ("path:blocks.1.act", {"/blocks.1/act/Relu"}),
        ("path:blocks.?.act", {"/blocks.0/act/Relu", "/blocks.1/act/Relu"}),
        ("tag:blocks.1/act", {"/blocks.1/act/Relu"}),
        ("auxiliary", {"/blocks.0/Shape"}),
        ("tag:auxiliary", set()),
    ],
)
@pytest.mark.parametrize("use_sidecar", [True, False])
def test_queries(model: Path, pattern: str, names: set[str], use_sidecar: bool) -> None:
    found = tag_utils.query_operations_by_tag(model, pattern, use_sidecar)
    assert {row["node_name"] for row in found} == names
    assert all(row["matching_tag"] in row["all_tags"] and row["op_type"] for row in found)


def test_query_by_source(model: Path) -> None:
    scoped = tag_utils.query_operations_by_tag(model, "source:scope")
    others = tag_utils.query_operations_by_tag(model, "source:inherited")
    others += tag_utils.query_operations_by_tag(model, "source:fallback")
    assert {row["node_name"] for row in others} == {"main#5:Neg"}
    assert len(scoped) == 5


@pytest.mark.parametrize("key", ["htp.tag", "htp.path"])
def test_a_changed_node_is_named(model: Path, key: str) -> None:
    set_metadata(model, "/blocks.0/act/Relu", key, "elsewhere")
    answer = tag_utils.validate_tag_consistency(model)
    assert answer["consistent"] is False
    assert [row["node"] for row in answer["tag_mismatches"]] == ["/blocks.0/act/Relu"]


def test_a_node_that_lost_its_tag_is_named(model: Path) -> None:
    set_metadata(model, "/blocks.0/act/Relu", "htp.tag", None)
    (row,) = tag_utils.validate_tag_consistency(model)["tag_mismatches"]
    assert row["node"] == "/blocks.0/act/Relu" and row["onnx_tags"] != row["sidecar_tags"]


def test_a_changed_sidecar_is_named(model: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        nodes = content["node_tags"]
        nodes["/blocks.1/act/Relu"]["tags"] = ["/Wrong"]
        nodes["invented"] = nodes.pop("/blocks.0/act/Relu")

    edit_sidecar(model, change)
    answer = tag_utils.validate_tag_consistency(model)
    assert [(row["node"], row["sidecar_tags"]) for row in answer["tag_mismatches"]] == [
        ("/blocks.1/act/Relu", ["/Wrong"])
    ]
    assert answer["onnx_only_nodes"] == ["/blocks.0/act/Relu"]
    assert answer["sidecar_only_nodes"] == ["invented"]


@pytest.mark.parametrize("text", ["", "[]", '{"node_tags": 3}', '{"node_tags": {"a": 3}}', '{"node_tags": {"a": {'])
def test_a_damaged_sidecar_is_one_line(model: Path, text: str) -> None:
    model.with_name("model_hierarchy.json").write_text(text)
    with pytest.raises(ModelExportError, match=r"model_hierarchy\.json") as caught:
        tag_utils.load_tags_from_sidecar(model)
    assert "\n" not in str(caught.value)
    if text != '{"node_tags": 3}':
        with pytest.raises(ModelExportError):
            tag_utils.query_operations_by_tag(model, "x")


def test_the_table_stands_in_for_node_metadata(model: Path) -> None:
    before = tag_utils.load_tags_from_onnx(model)
    proto = onnx.load(model)
    for node in proto.graph.node:
        del node.metadata_props[:]
    onnx.save(proto, model)
    assert tag_utils.load_tags_from_onnx(model) == before
    assert tag_utils.validate_tag_consistency(model)["consistent"]


def test_tags_in_doc_strings_are_read(model: Path) -> None:
    before = tag_utils.load_tags_from_onnx(model)
    tagged = load_model(model)
    PassManager("scope-attribution,fallback-tagging,attribute-embedding{carrier=doc-string table=false}").run(tagged)
    save_model(tagged, model)
    keys = {entry.key for node in onnx.load(model).graph.node for entry in node.metadata_props}
    assert not any(key in keys for key in ("htp.tag", "htp.path", "htp.source"))
    assert tag_utils.load_tags_from_onnx(model) == before
    assert tag_utils.validate_tag_consistency(model)["consistent"]


def test_an_untagged_model_has_no_tags(tmp_path: Path) -> None:
    from tagged import plain_model

    onnx.save(plain_model(), tmp_path / "plain.onnx")
    assert tag_utils.load_tags_from_onnx(tmp_path / "plain.onnx") == {}
    assert tag_utils.get_tag_statistics(tmp_path / "plain.onnx") == {}


def test_what_is_not_a_model_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "no.onnx").write_bytes(b"nothing")
    for path in (tmp_path / "no.onnx", tmp_path / "missing.onnx"):
        with pytest.raises(InputError):
            tag_utils.load_tags_from_onnx(path)


def test_csv(model: Path, tmp_path: Path) -> None:
    target = tmp_path / "tags.csv"
    tag_utils.export_tags_to_csv(model, target)
    rows = list(csv.DictReader(io.StringIO(target.read_text())))
    assert tuple(rows[0]) == tag_utils.CSV_COLUMNS
    relu = next(row for row in rows if row["Node Name"] == "/blocks.0/act/Relu")
    assert relu["Path"] == "blocks.0.act" and relu["Tag Count"] == "1" and relu["All Tags"] == relu["Primary Tag"]
    assert len(rows) == 6
    with pytest.raises(ModelExportError):
        tag_utils.export_tags_to_csv(model, tmp_path / "missing" / "tags.csv")


def test_comparison(tmp_path: Path) -> None:
    small, large = tagged_file(tmp_path, "a.onnx", 2), tagged_file(tmp_path, "b.onnx", 3)
    found = tag_utils.compare_tag_distributions(small, large)
    assert found["model1_path"] == str(small) and found["model1_only_tags"] == []
    assert found["model2_only_tags"] == ["/Model/blocks.2/act", "/Model/blocks.2/proj"]
    row = next(row for row in found["tag_differences"] if row["tag"] == "/Model/blocks.2/act")
    assert row == {"tag": "/Model/blocks.2/act", "model1_count": 0, "model2_count": 1, "difference": 1}
    same = tag_utils.compare_tag_distributions(small, small)
    assert not (same["tag_differences"] or same["model1_only_tags"] or same["model2_only_tags"])


@pytest.mark.parametrize("source", ["", "model", "sidecar"])
def test_a_model_gets_its_recorded_attributions(model: Path, source: str) -> None:
    found = {node.name: node.attribution for node in tagged_model(model, source).nodes()}
    relu = found["/blocks.0/act/Relu"]
    assert relu is not None and relu.path == "blocks.0.act" and str(relu.source) == "scope"


def test_large_sidecars_are_read_row_by_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tagged_file(tmp_path, blocks=1500)
    largest = 0
    real = json_stream.JsonStream._more

    def watched(self: json_stream.JsonStream, size: int) -> bool:
        nonlocal largest
        answer = real(self, size)
        largest = max(largest, len(self._text))
        return answer

    monkeypatch.setattr(json_stream, "_CHUNK", 4096)
    monkeypatch.setattr(json_stream.JsonStream, "_more", watched)
    rows = tag_utils.tag_rows(model)
    assert sum(1 for _ in rows) == 3002
    size = model.with_name("model_hierarchy.json").stat().st_size
    assert largest < size / 20


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=80, deadline=None)
@given(
    document=st.dictionaries(st.text(), JSON, max_size=5), chunk=st.integers(1, 9), indent=st.sampled_from([None, 1])
)
def test_a_json_stream_reads_what_json_reads(document: dict[str, Any], chunk: int, indent: int | None) -> None:
    text = json.dumps(document, indent=indent, ensure_ascii=False)
    old, json_stream._CHUNK = json_stream._CHUNK, chunk
    try:
        stream = json_stream.JsonStream(io.StringIO(text))
        assert {key: stream.value() for key in stream.members()} == document
        stream = json_stream.JsonStream(io.StringIO(text))
        assert [stream.skip() or key for key in stream.members()] == list(document)  # type: ignore[func-returns-value]
    finally:
        json_stream._CHUNK = old
