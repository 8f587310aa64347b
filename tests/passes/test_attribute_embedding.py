"""attribute-embedding: the file says what the IR says, in every carrier, and nothing is written twice."""

from __future__ import annotations

import json

import pytest

from modelexport.ir import load_model
from modelexport.ir.io.embedded_tags import MODEL, packed_tables, pipeline_of, unpack
from modelexport.ir.io.merged_tags import parts_of
from modelexport.ir.io.writer import to_bytes
from modelexport.ir.model import Model
from modelexport.passes.testing import check, make_model, run_pass

_TEXT = """
# module: . my.Net
# module: enc my.Encoder
# module: enc.fc torch.nn.modules.linear.Linear
agraph (float[N] X) => (float[N] Y) {
    [first] a = Relu (X)    # scope: enc.fc scope/node-name 0.987
    b = Exp (a)             # scope: enc inherited/consumers 0.5
    # meta: namespace=theirs
    # meta: other=kept
    Y = Neg (b)             # scope: . fallback/root 0.1
}
"""


def _embedded(options: str = "") -> Model:
    model = make_model(_TEXT)
    run_pass(f"attribute-embedding{options}", model)
    return load_model(to_bytes(model))


def test_node_metadata() -> None:
    first, second, third = _embedded().nodes()
    assert dict(first.metadata) == {
        "htp.tag": "/Net/Encoder/Linear",
        "htp.path": "enc.fc",
        "htp.source": "scope",
        "htp.rule": "node-name",
        "htp.confidence": "0.99",
        "htp.model": packed_tables(_embedded().metadata)[0][0],
        "namespace": "Net/Encoder/Linear",
        "htp.added": "namespace",
    }
    assert second.metadata["namespace"] == "theirs"
    assert second.metadata["other"] == "kept"
    assert "htp.added" not in second.metadata
    assert third.metadata["htp.path"] == ""
    assert third.metadata["htp.confidence"] == "0.10"


def test_the_tables_can_be_read_back() -> None:
    model = _embedded()
    assert model.metadata["htp.schema"] == "1"
    assert str(pipeline_of(model.metadata)).startswith("attribute-embedding")
    ((digest, packed_modules, packed_nodes),) = packed_tables(model.metadata)
    assert {node.metadata[MODEL] for node in model.nodes()} == {digest}
    rows = unpack(packed_nodes, 10000, "nodes")
    assert rows[0] == ["main", "first", "a", 2, "scope", "node-name", 0.99]
    assert unpack(packed_modules, 10000, "modules")[1] == [
        *("enc", "my.Encoder", "/Net/Encoder", 1),
        *(None, 0),
    ]
    tables = parts_of(model, []).tables()
    assert tables is not None
    assert tables.by_name["main", "first"].path == "enc.fc"


def test_without_table_and_without_interop() -> None:
    model = _embedded("{table=false interop=none}")
    assert [key.rpartition(".")[0] for key in sorted(model.metadata)] == ["htp.pipeline", "htp"]
    assert all("namespace" not in node.metadata for node in model.nodes() if node.name == "first")


@pytest.mark.parametrize(
    ("interop", "key", "value"),
    [
        ("torch", "pkg.torch.onnx.name_scopes", "['', 'enc', 'enc.fc', 'relu']"),
        (
            "torch",
            "pkg.torch.onnx.class_hierarchy",
            "['my.Net', 'my.Encoder', 'torch.nn.modules.linear.Linear', 'Relu']",
        ),
        ("winml", "winml.hierarchy.tag", "/Net/Encoder/Linear"),
        ("winml", "winml.hierarchy.depth", "3"),
    ],
)
def test_interop_keys(interop: str, key: str, value: str) -> None:
    first, second, _ = _embedded(f"{{interop={interop}}}").nodes()
    assert first.metadata[key] == value
    assert first.metadata["namespace"] == "Net/Encoder/Linear"
    assert key in first.metadata["htp.added"].split(",")
    assert second.metadata["namespace"] == "theirs"


def test_torch_modules_can_be_left_out_of_tags() -> None:
    first, *_ = _embedded("{torch-nn=false}").nodes()
    assert first.metadata["htp.tag"] == "/Net/Encoder"
    assert first.metadata["htp.path"] == "enc.fc"


def test_the_doc_string_carrier() -> None:
    model = make_model(_TEXT)
    model.proto.graph.node[1].doc_string = "what it does"
    run_pass("attribute-embedding{carrier=doc-string}", model)
    first, second, _ = load_model(to_bytes(model)).nodes()
    assert "htp.path" not in first.metadata
    head, _, tail = second.doc_string.partition("\n@htp ")
    assert head == "what it does"
    assert json.loads(tail)["htp.path"] == "enc"


def test_doc_strings_are_read_back() -> None:
    model = make_model(_TEXT)
    run_pass("attribute-embedding{carrier=doc-string table=false interop=none}", model)
    check(
        "scope-attribution",
        load_model(to_bytes(model)),
        """
        first   enc.fc   scope/node-name       0.99
        b       enc      inherited/consumers   0.50
        Y       .        fallback/root         0.10
        """,
    )


def test_what_the_file_says_already_is_not_written_again() -> None:
    model = _embedded()
    run_pass("scope-attribution", model)
    run_pass("attribute-embedding", model)
    assert all(node.patch is None for node in model.nodes())
    assert not model.patch


def test_nodes_with_one_attribution_share_one_patch() -> None:
    lines = "\n".join(f'["/enc/Relu_{i}"] v{i + 1} = Relu (v{i})' for i in range(5))
    model = make_model(f"agraph (float[N] v0) => (float[N] v5) {{\n{lines}\n}}")
    run_pass("scope-attribution", model)
    run_pass("attribute-embedding", model)
    assert len({id(node.patch) for node in model.nodes()}) == 1


def test_keys_it_added_are_replaced_and_removed_by_a_later_run() -> None:
    model = _embedded()
    run_pass("scope-attribution", model)
    run_pass("attribute-embedding{interop=none}", model)
    first, second, _ = load_model(to_bytes(model)).nodes()
    assert "namespace" not in first.metadata
    assert "htp.added" not in first.metadata
    assert second.metadata["namespace"] == "theirs"


def test_ir_version_is_not_raised() -> None:
    model = make_model(
        '<ir_version: 4, opset_import: ["" : 11]>\nagraph (float[N] X) => (float[N] Y) {\n Y = Abs (X)  # scope: a\n}'
    )
    run_pass("attribute-embedding", model)
    assert load_model(to_bytes(model)).proto.ir_version == 4


def test_a_node_without_name_and_output_is_found_again_after_an_insertion() -> None:
    model = make_model(
        "agraph (float[N] X) => (float[N] Y) {\n Y = Abs (X)  # scope: a\n = other.Print (X)  # scope: b\n}"
    )
    first, _ = model.main.nodes
    model.main.insert("Identity", ["X"], ["again"], inherit=[first])
    run_pass("attribute-embedding", model)
    tables = parts_of(load_model(to_bytes(model)), []).tables()
    assert tables is not None
    assert [name for _, name in tables.by_name] == ["#2"]
