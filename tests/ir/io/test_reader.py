"""Loading: what is refused, in one line, and what is carried with a warning."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path

import loss_cases
import pytest
from corpus import serialized
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from modelexport.ir import load_model
from modelexport.ir.errors import InputError
from modelexport.ir.io import reader
from modelexport.ir.io.reader import from_proto
from modelexport.ir.proto import wire

GOOD = serialized(loss_cases.build("nested_bodies"))


def nested(depth: int) -> bytes:
    """A model of If in If, as bytes: protobuf would not make a deep one."""
    graph = helper.make_graph([helper.make_node("Abs", ["x"], ["y"])], "g", [], []).SerializeToString()
    for _ in range(depth):
        attribute = wire.string(1, "then_branch") + wire.delimited(6, graph) + b"\xa0\x01\x05"
        graph = wire.delimited(1, wire.string(4, "If") + wire.delimited(5, attribute))
    return b"\x08\x08" + wire.delimited(7, graph)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (b"this is a text file\n" * 9, "not an ONNX model"),
        (b"\x00" * 64, "not an ONNX model"),
        (b"PK\x03\x04" + bytes(99), "not an ONNX model"),
        (b"\x08\x08", "it has no graph"),
        (b"\x3a\x00", "it has no graph"),
        (GOOD[: len(GOOD) // 2], "not an ONNX model, or truncated"),
        (GOOD[:-1], "not an ONNX model, or truncated"),
        (nested(60), "not an ONNX model, or truncated"),
    ],
)
def test_what_is_no_model_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "m.onnx").write_bytes(data)
    for source, label in ((data, "<bytes>"), (io.BytesIO(data), "<stream>"), (tmp_path / "m.onnx", "m.onnx")):
        with pytest.raises(InputError, match=message) as raised:
            load_model(source)
        assert "\n" not in str(raised.value)
        assert label in str(raised.value)


@pytest.mark.parametrize("name", ["gone.onnx", ".", "a\0b", "x" * 300])
def test_what_can_not_be_read_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError) as raised:
        load_model(tmp_path / name)
    assert "\n" not in str(raised.value)


def test_a_device_and_a_huge_file_are_refused_before_they_are_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a regular file"):
        load_model("/dev/zero")
    with open(tmp_path / "huge.onnx", "wb") as stream:
        stream.truncate(3 << 30)
    with pytest.raises(InputError, match="larger than 2 GB"):
        load_model(tmp_path / "huge.onnx")


def test_a_stream_is_left_where_it_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_LIMIT", 1 << 20)
    stream = io.BytesIO(bytes(16 << 20))
    with pytest.raises(InputError, match="larger than 2 GB"):
        load_model(stream)
    assert stream.tell() < 4 << 20


def test_text_streams_and_closed_streams_are_refused() -> None:
    closed = io.BytesIO(GOOD)
    closed.close()
    for stream, message in ((io.StringIO("x"), "binary mode"), (closed, "closed")):
        with pytest.raises(InputError, match=message):
            load_model(stream)  # type: ignore[arg-type]


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_random_bytes_never_crash(data: bytes) -> None:
    try:
        model = load_model(data)
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert model.proto.HasField("graph")


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
@settings(max_examples=300, deadline=None)
def test_damaged_models_never_crash(position: int, byte: int) -> None:
    damaged = bytearray(GOOD)
    damaged[position] = byte
    try:
        load_model(bytes(damaged))
    except InputError as error:
        assert "\n" not in str(error)


def test_nesting_that_the_format_allows_is_read() -> None:
    model = load_model(nested(25))
    assert len(list(model.graphs())) == 26
    assert list(model.graphs())[-1].scope == "main" + "/0.then_branch" * 25


@pytest.mark.posix
def test_a_pipe_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(GOOD,))
    writer.start()
    assert len(load_model(tmp_path / "pipe").main) > 0
    writer.join()


def test_cycle_through_a_body_is_refused() -> None:
    model = loss_cases.build("captured_variable")
    then = next(attribute.g for attribute in model.graph.node[2].attribute if attribute.name == "then_branch")
    then.node[0].input[0] = "z"
    with pytest.raises(InputError, match="main is cyclic through if"):
        from_proto(model)


@pytest.mark.parametrize("callee", ["Twice", "Second"])
def test_recursive_functions_are_refused(callee: str) -> None:
    model = loss_cases.build("function")
    nodes = [helper.make_node(callee, ["a"], ["b"], domain="acme")]
    model.functions[0].node[0].CopyFrom(nodes[0])
    back = [helper.make_node("Twice", ["a"], ["b"], domain="acme")]
    model.functions.append(helper.make_function("acme", "Second", ["a"], ["b"], back, []))
    with pytest.raises(InputError, match=r"recursive: function:acme:"):
        from_proto(model)


def test_reference_to_a_graph_attribute_is_no_body() -> None:
    model = from_proto(loss_cases.build("function_reference_attributes"))
    assert [graph.scope for graph in model.graphs()] == ["main", "function:acme:Twice:"]


def test_function_defined_twice_is_carried_with_a_warning() -> None:
    model = loss_cases.build("function")
    model.functions.add().CopyFrom(model.functions[0])
    loaded = from_proto(model)
    assert loaded.warnings == ["function:acme:Twice:: the function is defined twice"]
    assert loaded.function("acme", "Twice") is loaded.functions[0]


def test_values_defined_twice_are_carried_with_a_warning_each() -> None:
    loaded = from_proto(loss_cases.build("values_defined_twice"))
    assert loaded.warnings == ["main: value 'h' is defined twice", "main: value 'x' is defined twice"]
    assert loaded.main.producer("h") is loaded.main.nodes[0]
    assert loaded.main.producer("x") is None


def test_names_that_are_not_utf8_are_carried_and_shown_escaped() -> None:
    model = from_proto(loss_cases.build("names_not_utf8"))
    node = model.main.nodes[2]
    assert node.name == node.first_output == "\udcff\udcfe\udc80"
    assert model.main.consumers(node.name) == [model.main.nodes[3]]
    assert repr(node).isascii()
    assert model.warnings == ["main: names that are not UTF-8 are carried as they are: \\xff\\xfe\\x80"]


def test_initializers_defined_twice_are_carried_with_a_warning() -> None:
    assert from_proto(loss_cases.build("unused_and_duplicate_initializers")).warnings == [
        "main: value 'a' is defined twice"
    ]
    assert from_proto(loss_cases.build("initializer_in_inputs")).warnings == []


def test_captures_count_as_reads_of_the_owner() -> None:
    model = from_proto(loss_cases.build("nested_bodies"))
    owner = next(node for node in model.main.nodes if node.op_type == "If")
    assert set(owner.captures) == {"x", "h", "flag"}
    assert owner in model.main.consumers("x")
    assert [graph.scope for graph in model.graphs()][:3] == ["main", "main/2.else_branch", "main/2.then_branch"]
