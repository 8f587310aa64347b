"""Tags that a file has, taken over as attributions: from nodes, from the table, from both."""

import onnx
import pytest

from modelexport.ir import Model, load_model
from modelexport.ir.io import embedded_tags
from modelexport.ir.io.own_records import take_tags
from modelexport.ir.io.reader import from_proto
from modelexport.ir.io.writer import to_bytes
from modelexport.passes import PassManager
from modelexport.passes.testing import make_model

_TEXT = """
    agraph (float[2,2] X) => (float[2,2] Y) {
        ["/a/Relu"] "/a/Relu_output_0" = Relu (X)
        ["/b/Neg"] Y = Neg ("/a/Relu_output_0")
    }
"""


def _tagged() -> onnx.ModelProto:
    model = load_model(make_model(_TEXT).proto.SerializeToString())
    PassManager("htp").run(model)
    return onnx.load_from_string(to_bytes(model))


def _without_tag(proto: onnx.ModelProto, position: int) -> onnx.ModelProto:
    del proto.graph.node[position].metadata_props[:]
    return proto


def _taken(model: Model) -> list[tuple[str, str]]:
    return [
        (node.attribution.path, node.attribution.evidence[0]) for node in model.nodes() if node.attribution is not None
    ]


def test_the_tags_of_nodes_are_taken_with_the_modules_of_the_table() -> None:
    model = from_proto(_tagged())
    assert take_tags(model, "reader", [])
    assert _taken(model) == [("a", embedded_tags.PATH), ("b", embedded_tags.PATH)]
    assert [module.path for module in model.modules] == ["", "a", "b"]


def test_a_node_that_lost_its_tag_has_the_row_that_was_written_for_it() -> None:
    model = from_proto(_without_tag(_tagged(), 1))
    assert take_tags(model, "reader", [])
    assert _taken(model) == [("a", embedded_tags.PATH), ("b", embedded_tags.NODES)]


def test_whole_takes_nothing_where_a_node_has_no_tag_of_its_own() -> None:
    model = from_proto(_without_tag(_tagged(), 1))
    assert not take_tags(model, "reader", [], whole=True)
    assert _taken(model) == [] and len(model.modules) == 0


@pytest.mark.parametrize("whole", [False, True])
def test_a_file_without_tags_has_none_to_take(whole: bool) -> None:
    model = make_model(_TEXT)
    assert not take_tags(model, "reader", [], whole=whole)
    assert _taken(model) == []
