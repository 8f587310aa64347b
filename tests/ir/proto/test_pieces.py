"""A model in pieces has the bytes that protobuf gives it in one."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from modelexport.ir.io.overlay import assemble, assemble_pieces
from modelexport.ir.io.reader import from_proto, load_model
from modelexport.ir.io.writer import save_model, to_bytes
from modelexport.ir.proto import pieces
from modelexport.passes import PassManager, Pipeline

UNKNOWN = b"\xc2\x3e\x03abc"  # field 1000, which no message of ONNX has


def everything() -> onnx.ModelProto:
    """A model with every field that a model and its graph have, more nodes than one piece holds, and a function."""
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    nodes = [helper.make_node("Relu", [f"v{n}" if n else "x"], [f"v{n + 1}"], name=f"/m.{n % 7}/Relu_{n}")
             for n in range(2500)]  # fmt: skip
    made = helper.make_empty_tensor_value_info("b")
    body = helper.make_graph([helper.make_node("Neg", ["x"], ["b"])], "body", [], [made])
    nodes.append(helper.make_node("If", ["c"], ["y"], then_branch=body, else_branch=body))
    values = helper.make_tensor("s", TensorProto.FLOAT, [1], [1.0])
    places = helper.make_tensor("", TensorProto.INT64, [1], [0])
    graph = helper.make_graph(
        nodes,
        "g\u00fc",
        [value],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
        initializer=[helper.make_tensor("c", TensorProto.BOOL, [], [True])],
        doc_string="graph",
        value_info=[helper.make_tensor_value_info(f"v{n}", TensorProto.FLOAT, [1]) for n in range(1, 2000)],
        sparse_initializer=[helper.make_sparse_tensor(values, places, [3])],
    )
    graph.quantization_annotation.add(tensor_name="x").quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="s")
    graph.metadata_props.add(key="k", value="v")
    model = helper.make_model(graph, producer_name="p", producer_version="1", domain="d", doc_string="doc")
    model.model_version = -3
    model.metadata_props.add(key="a", value="b")
    model.functions.add(name="f", domain="local").node.add(op_type="Neg", input=["p"], output=["q"])
    model.training_info.add().initialization.name = "t"
    if hasattr(model, "configuration"):
        model.configuration.add(name="two", num_devices=2)
    return model


def bytes_of(model: onnx.ModelProto) -> bytes:
    return model.SerializeToString(deterministic=True)


def in_pieces(model: onnx.ModelProto) -> bytes:
    found = pieces.pieces(model, {})
    assert found is not None
    return b"".join(found)


def test_every_field_of_a_model_stands_where_protobuf_writes_it() -> None:
    model = everything()
    missing = {field.name for field in model.DESCRIPTOR.fields} - {field.name for field, _ in model.ListFields()}
    missing |= {field.name for field in model.graph.DESCRIPTOR.fields} - {
        field.name for field, _ in model.graph.ListFields()
    }
    assert not missing
    assert in_pieces(model) == bytes_of(model)


def test_large_messages_are_pieces_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    model = everything()
    monkeypatch.setattr(pieces, "_SMALL", 10)
    assert in_pieces(model) == bytes_of(model)
    weight = helper.make_tensor("w", TensorProto.FLOAT, [3], [1.0, 2.0, 3.0])
    model.graph.initializer.append(weight)
    assert weight.SerializeToString(deterministic=True) in (pieces.pieces(model, {}) or [])


@pytest.mark.parametrize("raw", [b"", b"\x3a\x00", bytes_of(onnx.ModelProto(ir_version=9))])
def test_empty_models(raw: bytes) -> None:
    assert in_pieces(onnx.ModelProto.FromString(raw)) == raw


def test_names_that_are_no_text() -> None:
    raw = bytes_of(everything()).replace(b"SCALE_TENSOR", b"SCALE\xffTENSOR").replace("g\u00fc".encode(), b"g\xff\xfe")
    assert in_pieces(onnx.ModelProto.FromString(raw)) == raw


@pytest.mark.parametrize("inside", [False, True])
def test_unknown_fields_beside_the_graph_and_in_it_are_kept(inside: bool) -> None:
    model = everything()
    (model.graph if inside else model).MergeFromString(UNKNOWN)
    assert pieces.pieces(model, {}) is None
    read = from_proto(model)
    PassManager(Pipeline.parse("htp")).run(read)
    written = to_bytes(read)
    assert UNKNOWN in written
    assert written == bytes_of(assemble(read))


def test_metadata_stands_where_protobuf_writes_it(tmp_path: Path) -> None:
    """Nodes that have fields behind their metadata, known ones and others, as well as those that have none."""
    model = everything()
    model.graph.node[3].MergeFromString(UNKNOWN)
    if hasattr(model.graph.node[5], "device_configurations"):
        model.graph.node[5].device_configurations.add(configuration_id="two")
    model.graph.node[7].metadata_props.add(key="mine", value="1")
    read = from_proto(model)
    PassManager(Pipeline.parse("htp")).run(read)
    save_model(read, tmp_path / "m.onnx")
    written = (tmp_path / "m.onnx").read_bytes()
    assert written == to_bytes(read) == bytes_of(assemble(read)) == bytes_of(onnx.ModelProto.FromString(written))
    again = load_model(tmp_path / "m.onnx")
    assert all("htp.path" in node.metadata for node in again.main.nodes)
    PassManager(Pipeline.parse("htp")).run(again)
    assert to_bytes(again) == written


def test_added_metadata_is_not_copied_into_the_source() -> None:
    """The source would grow by what every node gets; the bytes of one attribution are there once."""
    read = from_proto(everything())
    PassManager(Pipeline.parse("htp")).run(read)
    proto, found = assemble_pieces(read)
    assert not any(node.metadata_props for node in proto.graph.node)
    assert b"".join(found).count(b"htp.path") == 2501 + 3  # bodies and the function
