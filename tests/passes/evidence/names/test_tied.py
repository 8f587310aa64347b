"""Embeddings and heads with one weight, which is called after the head."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, compose, helper, numpy_helper

from modelexport.ir import load_model
from modelexport.passes.pipeline.base import PassContext
from modelexport.passes.scope_attribution import ScopeAttribution

TABLE = np.arange(24, dtype=np.float32).reshape(6, 4)


def language_model(
    lookup: str, *, copy: np.ndarray | None = None, turned: bool = False, trunk: str = "model."
) -> ModelProto:
    """A lookup in a matrix of this name, two products in the trunk, and a product with the matrix or a copy of it."""
    square = np.arange(16, dtype=np.float32).reshape(4, 4)
    tensors = {lookup: TABLE, **{f"{trunk}{i}.fc.weight": square + i for i in range(2)}}
    nodes = [
        helper.make_node("Gather", [lookup, "ids"], ["a"]),
        *(
            helper.make_node("MatMul", [read, f"{trunk}{i}.fc.weight"], [made])
            for i, (read, made) in enumerate(["ab", "bc"])
        ),
    ]
    if copy is not None:
        tensors["val_7"] = copy
        nodes.append(helper.make_node("MatMul", ["c", "val_7"], ["Y"]))
    elif turned:
        nodes.append(helper.make_node("Transpose", [lookup], ["t"], perm=[1, 0]))
        nodes.append(helper.make_node("MatMul", ["c", "t"], ["Y"]))
    else:
        nodes.append(helper.make_node("Identity", ["c"], ["Y"]))
    for number, node in enumerate(nodes):
        node.name = f"node_{number}"
    inputs = [helper.make_tensor_value_info("ids", TensorProto.INT64, [3])]
    outputs = [helper.make_tensor_value_info("Y", TensorProto.FLOAT, [3, "n"])]
    held = [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in tensors.items()]
    return helper.make_model(helper.make_graph(nodes, "g", inputs, outputs, held))


def places(proto: ModelProto) -> dict[str, str | None]:
    model = load_model(proto.SerializeToString())
    ScopeAttribution().run(model, PassContext())
    return {node.first_output: node.attribution and node.attribution.path for node in model.nodes()}


def test_a_head_is_not_the_module_of_the_lookup_in_its_weight() -> None:
    found = places(language_model("lm_head.weight", turned=True))
    assert found["a"] is None and found["Y"] == "lm_head"


def test_a_product_with_a_copy_without_a_name_is_the_heads() -> None:
    found = places(language_model("lm_head.weight", copy=TABLE.T))
    assert found["a"] is None and found["Y"] == "lm_head"


def test_each_of_several_models_has_its_own_head() -> None:
    whole = compose.merge_models(
        *(language_model("lm_head.weight", copy=TABLE.T) for _ in range(2)), io_map=[], prefix1="one_", prefix2="two_"
    )
    found = places(whole)
    assert found["one_a"] is None is found["two_a"]
    assert (found["one_Y"], found["two_Y"]) == ("one.lm_head", "two.lm_head")


@pytest.mark.parametrize(
    "proto",
    [
        language_model("lm_head.weight"),
        language_model("lm_head.weight", copy=TABLE.T + 1),  # the head has a weight of its own
        language_model("lm_head.weight", copy=TABLE[:4, :4]),
        language_model("lm_head.weight", copy=TABLE.T, trunk=""),  # there is nothing that most modules are in
        language_model("model.table.weight", copy=TABLE.T),  # it is where the others are
    ],
)
def test_else_the_name_of_a_weight_tells(proto: ModelProto) -> None:
    assert places(proto)["a"] in ("lm_head", "model.table")
