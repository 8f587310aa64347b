"""An Identity on every edge, at every depth: nothing is lost, nothing changes, and it can be taken back."""

from __future__ import annotations

import loss_cases
import numpy as np
import onnx
import onnxruntime
import pytest
from corpus import corpus, serialized
from edges import insert_identities, remove_identities

from modelexport.ir import load_model
from modelexport.ir.io.writer import to_bytes
from modelexport.ir.verify import verify


class OtherInput(ValueError):
    """The model takes something else than float tensors."""


onnxruntime.set_default_logger_severity(4)
STATE = onnxruntime.capi.onnxruntime_pybind11_state
REFUSED = (
    STATE.NotImplemented,
    STATE.Fail,
    STATE.InvalidGraph,
    STATE.InvalidArgument,
    STATE.RuntimeException,
    OtherInput,
)


def accepted(data: bytes) -> bool:
    try:
        onnx.checker.check_model(data)
    except onnx.checker.ValidationError:
        return False
    return True


def outputs(data: bytes) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    if any(value.type != "tensor(float)" for value in session.get_inputs()):
        raise OtherInput
    overridable = {value.name for value in session.get_overridable_initializers()}
    feeds = {
        value.name: random.standard_normal([dim if isinstance(dim, int) else 2 for dim in value.shape]).astype("f4")
        for value in session.get_inputs()
        if value.name not in overridable
    }
    return session.run(None, feeds)


def survivors(proto: onnx.ModelProto) -> list[tuple[object, ...]]:
    """What must stay of every node that was there, at every depth."""
    found = []
    stack = [proto.graph, *proto.functions]
    while stack:
        graph = stack.pop()
        for node in graph.node:
            if node.op_type == "Identity" and any(str(name).startswith("identity") for name in node.output):
                continue
            entries = [(entry.key, entry.value) for entry in node.metadata_props]
            found.append((node.name, node.op_type, tuple(node.output), entries, node.doc_string, node.overload))
            stack += [body for attribute in node.attribute for body in (attribute.g, *attribute.graphs) if body.node]
    return sorted(found, key=repr)


def test_backend_corpus() -> None:
    inserted = 0
    for name, data in corpus():
        model = load_model(data)
        done = insert_identities(model)
        inserted += len(done)
        edited = to_bytes(model)
        assert accepted(edited) or not accepted(data), name
        remove_identities(done)
        assert to_bytes(model) == data, name
    assert inserted > 10_000


@pytest.mark.parametrize("name", loss_cases.CASES)
def test_loss_case_keeps_everything(name: str) -> None:
    data = serialized(loss_cases.build(name))
    model = load_model(data)
    done = insert_identities(model)
    assert list(verify(model)) == []
    edited = to_bytes(model)
    assert onnx.ModelProto.FromString(edited) != onnx.ModelProto.FromString(data)
    assert survivors(onnx.ModelProto.FromString(edited)) == survivors(onnx.ModelProto.FromString(data))
    assert accepted(edited) or not accepted(data)
    assert serialized(model.proto) == data
    remove_identities(done)
    assert list(verify(model)) == []
    assert to_bytes(model) == data


@pytest.mark.parametrize("name", sorted(loss_cases.RUNNABLE))
def test_runnable_case_computes_the_same(name: str) -> None:
    data = serialized(loss_cases.build(name))
    model = load_model(data)
    insert_identities(model)
    for before, after in zip(outputs(data), outputs(to_bytes(model)), strict=True):
        np.testing.assert_array_equal(before, after)


def test_models_that_run_compute_the_same() -> None:
    compared = 0
    for name, data in corpus()[::3]:
        model = load_model(data)
        if len(model.main) < 2 or any("Sequence" in node.op_type for node in model.nodes()):
            continue  # Identity of a sequence is not in every opset
        insert_identities(model)
        try:
            expected = outputs(data)
        except REFUSED:
            continue
        for before, after in zip(expected, outputs(to_bytes(model)), strict=True):
            np.testing.assert_array_equal(before, after, err_msg=name)
        compared += 1
    assert compared >= 60, compared
