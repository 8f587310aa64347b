"""Names under edits: what is looked up by name, what a new name may not take, and what the file's names are now."""

from __future__ import annotations

import onnx
import pytest

from modelexport.ir import Model
from modelexport.ir.errors import GraphError
from modelexport.ir.io.reader import from_proto
from modelexport.ir.io.writer import to_bytes

TEXT = """
<ir_version: 8, opset_import: ["" : 17]>
main (float[2] x, float[2] w) => (float[2] y)
<float[2] w = {1.0, 2.0}, float[2] h, float[2] s>
{
    h = Relu(x)
    s = Add(h, w)
    y = Neg(s)
}
"""


@pytest.fixture
def model() -> Model:
    return from_proto(onnx.parser.parse_model(TEXT))


def types_of(model: Model) -> list[str]:
    """The values of which the written file says a type."""
    return [value.name for value in onnx.ModelProto.FromString(to_bytes(model)).graph.value_info]


def test_sets_of_given_names_follow_a_rename(model: Model) -> None:
    assert (model.main.inputs_set, model.main.initializers_set) == ({"x", "w"}, {"w"})
    model.main.rename_value("x", "data")
    model.main.rename_value("w", "weight")
    assert (model.main.inputs_set, model.main.initializers_set) == ({"data", "weight"}, {"weight"})


def test_a_name_that_is_read_though_nothing_defines_it_can_not_be_taken() -> None:
    """The file reads ``ghost``: a new value of that name would be what those nodes read."""
    proto = onnx.parser.parse_model(TEXT)
    proto.graph.node[2].input[0] = "ghost"
    model = from_proto(proto)
    with pytest.raises(GraphError, match="'ghost' is read already though nothing defines it"):
        model.main.insert("Exp", ["x"], ["ghost"])
    with pytest.raises(GraphError, match="'ghost' is read already though nothing defines it"):
        model.main.rename_value("h", "ghost")
    assert to_bytes(model) == proto.SerializeToString()


def test_a_new_value_with_a_name_of_the_file_is_not_the_files_value(model: Model) -> None:
    """``s`` is called ``t``; what is made as ``s`` later, and renamed, takes nothing that the file says of ``s``."""
    model.main.rename_value("s", "t")
    model.main.insert("Exp", ["x"], ["s"])
    model.main.rename_value("s", "u")
    assert types_of(model) == ["h", "t"]
    assert model.main.edits is not None
    assert model.main.edits.source_of("t") == "s" and model.main.edits.source_of("u") == "u"


def test_a_value_with_its_own_name_again_is_not_renamed(model: Model) -> None:
    model.main.rename_value("s", "t")
    assert model.main.edits is not None and model.main.edits.renamed == {"s": "t"}
    model.main.rename_value("t", "u")
    assert model.main.edits.renamed == {"s": "u"}
    model.main.rename_value("u", "s")
    assert model.main.edits.renamed == {}
