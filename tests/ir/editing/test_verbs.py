"""The editing API: what each edit does to the graph, its interface, its bodies and the file."""

from __future__ import annotations

import loss_cases
import numpy as np
import onnx
import pytest
from corpus import serialized
from onnx import TensorProto, helper

from modelexport.ir import Attribution, Model, Node, Source, load_model
from modelexport.ir.errors import GraphError
from modelexport.ir.io.reader import from_proto
from modelexport.ir.io.writer import to_bytes
from modelexport.ir.verify import verify

TEXT = """
<ir_version: 8, opset_import: ["" : 17]>
main (float[2] x, bool flag) => (float[2] y, float[2] z)
<float[2] w = {1.0, 2.0}, float[2] h, float[2] s>
{
    h = Relu(x)
    s = Add(h, w)
    y = Neg(s)
    z = If(flag) <
        then_branch = t () => (float[2] a) { u = Mul(s, w)  a = Abs(u) },
        else_branch = e () => (float[2] b) { b = Sub(h, s) }
    >
}
"""


@pytest.fixture
def model() -> Model:
    return from_proto(onnx.parser.parse_model(TEXT))


def at(model: Model, op_type: str) -> Node:
    return next(node for node in model.nodes() if node.op_type == op_type)


def written(model: Model) -> onnx.ModelProto:
    assert list(verify(model)) == []
    assert list(verify(load_model(to_bytes(model)), everything=True)) == []
    return onnx.ModelProto.FromString(to_bytes(model))


def ops(model: Model) -> list[str]:
    return [node.op_type for node in written(model).graph.node]


def test_insert_goes_behind_its_producers(model: Model) -> None:
    model.main.insert("Abs", ["h"], ["n1"])
    model.main.insert("Exp", ["n1"], ["n2"])
    model.main.insert("Sin", ["x"], ["n3"])
    assert ops(model) == ["Sin", "Relu", "Abs", "Exp", "Add", "Neg", "If"]
    onnx.checker.check_model(to_bytes(model))


def test_inserted_node_has_what_was_asked_for(model: Model) -> None:
    node = model.main.insert("Transpose", ["h"], ["n"], name="turn", attributes={"perm": [0]})
    assert dict(node.attributes) == {"perm": [0]}
    assert model.main.producer("n") is node
    assert node in model.main.consumers("h")
    found = next(node for node in written(model).graph.node if node.op_type == "Transpose")
    assert (found.name, list(found.input), list(found.attribute[0].ints)) == ("turn", ["h"], [0])


@pytest.mark.parametrize(
    ("inputs", "outputs", "message"),
    [
        (["nowhere"], ["n"], "nothing defines it"),
        (["h"], ["s"], "already has a value"),
        (["h"], ["x"], "already has a value"),
        (["h"], ["w"], "already has a value"),
        (["h"], ["n", "n"], "defines an output twice"),
        (["h"], ["u"], "main/3.then_branch already has"),
        (["u"], ["n"], "nothing defines it"),
        ("h", ["n"], "sequences of names"),
    ],
)
def test_insert_refuses(model: Model, inputs: list[str], outputs: list[str], message: str) -> None:
    before = to_bytes(model)
    with pytest.raises(GraphError, match=message):
        model.main.insert("Abs", inputs, outputs)
    assert to_bytes(model) == before


def test_insert_in_a_body_captures_along_the_owners(model: Model) -> None:
    body = at(model, "Mul").graph
    owner = at(model, "If")
    assert "x" not in owner.captures
    node = body.insert("Exp", ["x"], ["n"])
    body.rewire(at(model, "Mul"), 1, "n")
    assert "x" in owner.captures
    assert owner in model.main.consumers("x")
    written(model)
    body.rewire(at(model, "Mul"), 1, "w")
    body.remove(node)
    assert "x" not in owner.captures
    assert owner not in model.main.consumers("x")


def test_insert_of_a_node_with_a_body(model: Model) -> None:
    inner = helper.make_graph([helper.make_node("Exp", ["s"], ["o1"])], "one", [], [loss_cases.floats("o1")])
    other = helper.make_graph([helper.make_node("Sin", ["h"], ["o2"])], "two", [], [loss_cases.floats("o2")])
    node = model.main.insert("If", ["flag"], ["n"], attributes={"then_branch": inner, "else_branch": other})
    assert [body.scope for body in node.bodies] == ["main/2.then_branch", "main/2.else_branch"]
    assert set(node.captures) == {"s", "h"}
    onnx.checker.check_model(to_bytes(model))
    written(model)
    bad = helper.make_graph([helper.make_node("Exp", ["gone"], ["o3"])], "bad", [], [loss_cases.floats("o3")])
    with pytest.raises(GraphError, match="reads 'gone', nothing defines it"):
        model.main.insert("If", ["flag"], ["m"], attributes={"then_branch": bad})
    written(model)


@pytest.mark.parametrize(
    ("op_type", "key", "value", "expected"),
    [
        ("Unsqueeze", "axes", [], helper.make_attribute("axes", [], attr_type=onnx.AttributeProto.INTS)),
        ("LeakyRelu", "alpha", 1, helper.make_attribute("alpha", 1.0)),
        ("Cast", "to", np.float32, helper.make_attribute("to", TensorProto.FLOAT)),
        ("Cast", "saturate", True, helper.make_attribute("saturate", 1)),
        ("Thing", "s", "a\udcff", helper.make_attribute("s", b"a\xff")),
        ("Thing", "ss", ["a", b"\xff"], helper.make_attribute("ss", [b"a", b"\xff"])),
        (
            "Thing",
            "w",
            np.array([1, 2], np.int64),
            helper.make_attribute("w", onnx.numpy_helper.from_array(np.array([1, 2]))),
        ),
        ("Thing", "r", onnx.AttributeProto(name="r", ref_attr_name="o", type=2), None),
        ("Thing", "e", onnx.AttributeProto(name="e", type=onnx.AttributeProto.STRINGS), None),
        ("Transpose", "perm", np.array([1, 0]), helper.make_attribute("perm", [1, 0])),
    ],
)
def test_attributes(model: Model, op_type: str, key: str, value: object, expected: onnx.AttributeProto | None) -> None:
    model.proto.opset_import[0].version = 11 if op_type == "Unsqueeze" else 19
    node = model.main.insert(op_type, ["h"], ["n"], attributes={key: value})
    assert node.attribute_protos() == ((value if expected is None else expected),)


@pytest.mark.parametrize("dtype", ["INT4", "UINT4", "FLOAT8E4M3FNUZ", "FLOAT4E2M1", "BFLOAT16"])
def test_array_attribute_of_a_small_type_keeps_its_values(model: Model, dtype: str) -> None:
    data_type = TensorProto.DataType.Value(dtype)
    array = np.array([0, 1, 2], helper.tensor_dtype_to_np_dtype(data_type))
    model.main.insert("Constant", [], ["n"], attributes={"value": array})
    found = next(node for node in written(model).graph.node if node.op_type == "Constant").attribute[0].t
    assert found.data_type == data_type
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(found).astype("f4"), array.astype("f4"))


def test_attribute_without_a_form_is_refused(model: Model) -> None:
    with pytest.raises(GraphError, match="'k' has no ONNX form"):
        model.main.insert("Thing", ["h"], ["n"], attributes={"k": object()})
    with pytest.raises(GraphError, match="give an AttributeProto"):
        model.main.insert("Thing", ["h"], ["n"], attributes={"k": []})
    assert ops(model) == ["Relu", "Add", "Neg", "If"]


def test_new_domain_is_imported_and_said(model: Model) -> None:
    before = to_bytes(model)
    node = model.main.insert("Thing", ["h"], ["n"], domain="acme")
    assert [(entry.domain, entry.version) for entry in written(model).opset_import] == [("", 17), ("acme", 1)]
    assert model.warnings == ["main: opset_import acme 1 is added for Thing"]
    assert len(model.proto.opset_import) == 1
    model.main.remove(node)
    assert to_bytes(model) == before


def test_new_domain_in_a_function_is_imported_there() -> None:
    model = from_proto(loss_cases.build("function"))
    model.functions[0].insert("Binarizer", ["m"], ["n"], domain="ai.onnx.ml")
    found = written(model)
    assert [entry.domain for entry in found.functions[0].opset_import] == ["", "ai.onnx.ml"]
    assert "ai.onnx.ml" not in [entry.domain for entry in found.opset_import]
    assert found.functions[0].opset_import[1].version >= 3


@pytest.mark.parametrize("value", ["h", "s", "y", "u"])
def test_remove_refuses_while_read(model: Model, value: str) -> None:
    graph = at(model, "Mul").graph if value == "u" else model.main
    producer = graph.producer(value)
    assert producer is not None
    with pytest.raises(GraphError, match=f"'{value}' is still read"):
        graph.remove(producer)


def test_remove_refuses_while_annotated() -> None:
    model = from_proto(loss_cases.build("quantization_annotation"))
    model.main.rename_value("h", "q")
    model.main.rewire(at(model, "Neg"), 0, "x")
    with pytest.raises(GraphError, match="'q' is still read"):
        model.main.remove(at(model, "Relu"))
    assert written(model).graph.quantization_annotation[0].tensor_name == "q"


def test_remove_drops_value_info_of_what_is_gone(model: Model) -> None:
    model.main.rewire(at(model, "Neg"), 0, "h")
    owner = at(model, "If")
    model.main.rename_value("z", "old")
    new = model.main.insert("Exp", ["h"], ["fresh"])
    model.main.replace([owner], by=new)
    model.main.remove(at(model, "Add"))
    found = written(model)
    assert [value.name for value in found.graph.value_info] == ["h"]
    assert [value.name for value in found.graph.output] == ["y", "old"]
    with pytest.raises(GraphError, match="is not a node of it"):
        model.main.remove(owner)


def test_rename_reaches_interface_bodies_and_value_info(model: Model) -> None:
    for old, new in (("s", "sum"), ("w", "weight"), ("x", "input"), ("y", "output"), ("h", "hidden")):
        model.main.rename_value(old, new)
    graph = written(model).graph
    assert [value.name for value in graph.input] == ["input", "flag"]
    assert [value.name for value in graph.output] == ["output", "z"]
    assert [tensor.name for tensor in graph.initializer] == ["weight"]
    assert sorted(value.name for value in graph.value_info) == ["hidden", "sum"]
    bodies = {attribute.name: attribute.g for attribute in graph.node[3].attribute}
    assert list(bodies["then_branch"].node[0].input) == ["sum", "weight"]
    assert list(bodies["else_branch"].node[0].input) == ["hidden", "sum"]
    onnx.checker.check_model(to_bytes(model))


def test_rename_and_back_gives_the_original_bytes(model: Model) -> None:
    before = to_bytes(model)
    model.main.rename_value("s", "t")
    model.main.rename_value("h", "s")
    assert to_bytes(model) != before
    model.main.rename_value("s", "h")
    model.main.rename_value("t", "s")
    assert to_bytes(model) == before


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("nowhere", "n", "no value 'nowhere'"),
        ("h", "s", "already has"),
        ("h", "", "empty"),
        ("h", "u", "main/3.then_branch already has"),
    ],
)
def test_rename_refuses(model: Model, old: str, new: str, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        model.main.rename_value(old, new)


def test_rename_stops_where_a_body_has_its_own_value_of_that_name() -> None:
    proto = onnx.parser.parse_model(TEXT)
    then = next(attribute.g for attribute in proto.graph.node[3].attribute if attribute.name == "then_branch")
    then.node[0].output[0] = then.node[1].input[0] = "h"  # shadows the outer h
    model = from_proto(proto)
    model.main.rename_value("h", "hidden")
    found = written(model).graph.node[3]
    bodies = {attribute.name: attribute.g for attribute in found.attribute}
    assert list(bodies["then_branch"].node[1].input) == ["h"]
    assert list(bodies["else_branch"].node[0].input) == ["hidden", "s"]


def test_rename_in_graphs_attribute_and_names_that_are_not_utf8() -> None:
    model = from_proto(loss_cases.build("attribute_graphs"))
    model.main.rename_value("h", "bad\udcff")
    body = onnx.ModelProto.FromString(to_bytes(model)).graph.node[2].attribute[0].graphs[1]
    assert body.node[0].input[0] == b"bad\xff"
    model.main.rename_value("bad\udcff", "h")
    assert to_bytes(model) == serialized(loss_cases.build("attribute_graphs"))


def test_rewire_refuses_unknown_and_cyclic(model: Model) -> None:
    relu = at(model, "Relu")
    for slot, value, message in ((1, "x", "no input 1"), (0, "nowhere", "nothing defines"), (0, "y", "cyclic")):
        with pytest.raises(GraphError, match=message):
            model.main.rewire(relu, slot, value)
    with pytest.raises(GraphError, match="cyclic"):
        at(model, "Mul").graph.rewire(at(model, "Mul"), 0, "z")
    assert list(relu.inputs) == ["x"]


def test_rewire_to_a_later_value_sorts_anew(model: Model) -> None:
    model.main.insert("Exp", ["x"], ["early"])
    model.main.rewire(at(model, "Exp"), 0, "y")
    at(model, "Sub").graph.rewire(at(model, "Sub"), 0, "early")
    assert ops(model) == ["Relu", "Add", "Neg", "Exp", "If"]
    onnx.checker.check_model(to_bytes(model))
    with pytest.raises(GraphError, match="cyclic"):
        model.main.rewire(at(model, "Neg"), 0, "early")


def test_unsorted_file_stays_unsorted_until_an_edit_needs_order() -> None:
    model = from_proto(loss_cases.build("unsorted_nodes"))
    model.main.insert("Exp", ["x"], ["n"])
    assert ops(model) == ["Exp", "Neg", "Relu"]
    new = model.main.insert("Abs", ["h"], ["m"])
    model.main.rewire(at(model, "Neg"), 0, "m")
    assert ops(model) == ["Exp", "Relu", "Abs", "Neg"]
    model.main.rewire(at(model, "Neg"), 0, "h")
    model.main.remove(new)
    assert ops(model) == ["Exp", "Neg", "Relu"]


def test_replace_keeps_names_interface_and_types(model: Model) -> None:
    node = model.main.insert("Sub", ["x", "w"], ["n"])
    model.main.replace([at(model, "Relu"), at(model, "Add")], by=[node, model.main.insert("Exp", ["x"], ["m"])])
    graph = written(model).graph
    assert [(node.op_type, list(node.output)) for node in graph.node[:2]] == [("Sub", ["h"]), ("Exp", ["s"])]
    assert sorted(value.name for value in graph.value_info) == ["h", "s"]
    onnx.checker.check_model(to_bytes(model))


def test_replace_of_an_output(model: Model) -> None:
    model.main.replace([at(model, "Neg")], by=model.main.insert("Exp", ["s"], ["n"]))
    assert [value.name for value in written(model).graph.output] == ["y", "z"]
    assert model.main.producer("y") is at(model, "Exp")
    assert model.main.producer("n") is None


def test_replace_refuses(model: Model) -> None:
    before = ops(model)
    spare = model.main.insert("Exp", ["s"], ["n"])
    with pytest.raises(GraphError, match=r"2 outputs .* \(h, s\).* have 1"):
        model.main.replace([at(model, "Relu"), at(model, "Add")], by=spare)
    with pytest.raises(GraphError, match="depend on 's'"):
        model.main.replace([at(model, "Add")], by=spare)
    with pytest.raises(GraphError, match="replace itself"):
        model.main.replace([spare], by=spare)
    model.main.remove(spare)
    assert ops(model) == before


def test_new_node_takes_what_the_inherited_ones_agree_on(model: Model) -> None:
    left, right = at(model, "Relu"), at(model, "Add")
    same = Attribution("a.b", Source.SCOPE, "r", 1.0, by="p")
    for node in (left, right):
        node.attribute_to(same)
        node.patch_metadata({"k": "v", "own": node.op_type})
    node = model.main.insert("Exp", ["h"], ["n"], inherit=[left, right])
    assert node.attribution is same
    assert dict(node.metadata) == {"k": "v"}
    for path in ("", "a", "a.b", "a.c"):
        model.modules.ensure(path)
    right.attribute_to(Attribution("a.c", Source.INHERITED, "r", 0.5, by="p"))
    mixed = model.main.insert("Sin", ["h"], ["m"], inherit=[left, right]).attribution
    assert mixed is not None
    assert (mixed.path, mixed.source, mixed.rule) == ("a", Source.INHERITED, "edit")
    assert mixed.confidence < 0.5
    assert mixed.by


def test_replacement_inherits_from_what_it_replaces(model: Model) -> None:
    neg = at(model, "Neg")
    attribution = Attribution("a", Source.SCOPE, "r", 1.0, by="p")
    neg.attribute_to(attribution)
    new = model.main.insert("Exp", ["s"], ["n"])
    model.main.replace([neg], by=new)
    assert new.attribution is attribution
    bare = model.main.insert("Sin", ["s"], ["m"])
    model.main.replace([new], by=bare, inherit=[])
    assert bare.attribution is None


def test_graphs_view_follows_edits(model: Model) -> None:
    view = model.main.nx
    assert view.number_of_edges() == 4
    new = model.main.insert("Exp", ["h"], ["n"])
    model.main.rewire(at(model, "Add"), 0, "n")
    add = at(model, "Add").id
    assert set(view.predecessors(add)) == {new.id}
    assert view.nodes[new.id]["payload"] is new
    model.main.rewire(at(model, "Add"), 0, "h")
    model.main.remove(new)
    assert new.id not in view
    assert set(view.predecessors(add)) == {at(model, "Relu").id}


def test_scope_follows_the_owner(model: Model) -> None:
    body = at(model, "Mul").graph
    assert body.scope == "main/3.then_branch"
    model.main.insert("Exp", ["x"], ["n"])
    assert body.scope == "main/4.then_branch"
    assert load_model(to_bytes(model)).main.nodes[4].bodies[0].scope.startswith("main/4.")
