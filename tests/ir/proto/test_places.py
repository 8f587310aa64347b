"""Where the data of initializers stands in the bytes of a model."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelexport.ir.proto.places import raw_places


def _model(*tensors: TensorProto) -> onnx.ModelProto:
    inner = helper.make_graph([], "body", [], [], [numpy_helper.from_array(np.ones(3, np.float32), "inner")])
    owner = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    sides = [helper.make_tensor_value_info(name, kind, [1]) for name, kind in (("c", 9), ("y", 1))]
    graph = helper.make_graph([owner], "g", sides[:1], sides[1:], list(tensors))
    return helper.make_model(graph, producer_name="maker")


def test_places_hold_the_data() -> None:
    tensors = [numpy_helper.from_array(np.arange(size, dtype=np.float32), f"w{size}") for size in (1, 40, 5000)]
    typed = helper.make_tensor("typed", TensorProto.FLOAT, [2], [1.0, 2.0])
    data = _model(*tensors, typed).SerializeToString()
    assert {name: data[slice(*place)] for name, place in raw_places(data).items()} == {
        tensor.name: tensor.raw_data for tensor in tensors
    }


def test_a_name_that_is_there_twice_has_no_place() -> None:
    one, other = (numpy_helper.from_array(np.full(2, value, np.float32), "w") for value in (1, 2))
    assert raw_places(_model(one, other).SerializeToString()) == {}


@pytest.mark.parametrize("cut", [1, 7, 40])
def test_bytes_that_are_no_model_have_none(cut: int) -> None:
    data = _model(numpy_helper.from_array(np.ones(50, np.float32), "w")).SerializeToString()
    assert raw_places(data[:-cut]) == {}
    assert raw_places(data + data) == {}, "parsers merge two graphs"
