"""Large weights inside a model's file are compared in blocks, read from the file."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelexport.analysis import diff_models
from modelexport.analysis.difference import sources, weights
from modelexport.ir import load_model
from modelexport.ir.errors import InputError

_ELEMENTS = 6_000_000


def _file(path: Path, changed: float) -> Path:
    array = np.random.default_rng(0).standard_normal(_ELEMENTS, np.float32)
    array[[1, _ELEMENTS - 2]] = changed
    sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xy"]
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])], "g", sides[:1], sides[1:], [numpy_helper.from_array(array, "w")]
    )
    onnx.save_model(helper.make_model(graph), path)
    return path


def test_memory_does_not_grow_with_the_weight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = _file(tmp_path / "a.onnx", 1.0), _file(tmp_path / "b.onnx", 3.0)
    monkeypatch.setattr(sources, "LARGE", 1 << 20)
    monkeypatch.setattr(weights, "_BLOCK", 1 << 16)
    in_memory = diff_models(load_model(a), load_model(b)).to_dict()["modules"]
    one, other = (sources.Side(load_model(path), (), sources.SourceFile.of(path)) for path in (a, b))
    left, right = (side.source(side.model.main, "w") for side in (one, other))
    assert isinstance(left, sources.Constant) and isinstance(right, sources.Constant)
    tracemalloc.start()
    try:
        found = weights.compare(one, left, other, right)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found is not None
    assert (found.elements, found.differing, found.max_abs) == (_ELEMENTS, 2, 2.0)
    assert peak < 4 * _ELEMENTS / 2, "half of what one copy of the weight takes"
    assert diff_models(a, b).to_dict()["modules"] == in_memory


def test_a_model_in_memory_may_differ_from_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "LARGE", 1 << 20)
    a, b = _file(tmp_path / "a.onnx", 1.0), _file(tmp_path / "b.onnx", 3.0)
    edited = load_model(a)
    edited.main.proto.initializer[0].CopyFrom(load_model(b).main.proto.initializer[0])
    assert diff_models(edited, b).identical
    assert not diff_models(a, b).identical


def test_a_file_that_was_replaced_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "LARGE", 1 << 20)
    a, b = _file(tmp_path / "a.onnx", 1.0), _file(tmp_path / "b.onnx", 3.0)
    side = sources.Side(load_model(a), (), sources.SourceFile.of(a))
    held = side.source(side.model.main, "w")
    assert isinstance(held, sources.Constant)
    b.replace(a)
    assert not side.is_in_file(held)
    assert b"".join(map(bytes, side.blocks(held))) == side.weights.array(held.tensor).tobytes()


def test_a_file_that_became_shorter_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "LARGE", 1 << 20)
    a = _file(tmp_path / "a.onnx", 1.0)
    side = sources.Side(load_model(a), (), sources.SourceFile.of(a))
    held = side.source(side.model.main, "w")
    assert isinstance(held, sources.Constant) and side.is_in_file(held)
    with a.open("r+b") as file:
        file.truncate(10_000_000)
    with pytest.raises(InputError, match="became shorter"):
        list(side.blocks(held))
