"""Reading and writing without a pass: the same bytes, and a source that is not touched."""

from __future__ import annotations

import loss_cases
import onnx
import pytest
from corpus import corpus, serialized

from modelexport.ir import load_model
from modelexport.ir.dump import dump
from modelexport.ir.io.reader import from_proto
from modelexport.ir.io.writer import to_bytes
from modelexport.ir.verify import verify


def test_backend_corpus_is_byte_equal_and_verifies() -> None:
    models = corpus()
    assert len(models) > 1500
    changed = []
    for name, data in models:
        model = load_model(data)
        if to_bytes(model) != data or list(verify(model, everything=True)):
            changed.append(name)
    assert changed == []


@pytest.mark.parametrize("name", loss_cases.CASES)
def test_no_pass_is_byte_equal(name: str) -> None:
    data = serialized(loss_cases.build(name))
    model = load_model(data)
    assert to_bytes(model) == data
    assert to_bytes(model) == data


@pytest.mark.parametrize("name", loss_cases.CASES)
def test_source_is_not_mutated(name: str) -> None:
    source = loss_cases.build(name)
    before = serialized(source)
    model = from_proto(source)
    dump(model)
    assert list(verify(model, everything=True)) == []
    to_bytes(model)
    assert serialized(source) == before


def test_serialization_is_deterministic_for_parts_in_another_order() -> None:
    data = serialized(loss_cases.chain())
    split = onnx.ModelProto.FromString(data)
    graph = onnx.GraphProto()
    graph.CopyFrom(split.graph)
    split.ClearField("graph")
    reordered = onnx.ModelProto(graph=graph).SerializeToString() + split.SerializeToString()
    assert reordered != data
    assert to_bytes(load_model(reordered)) == data
