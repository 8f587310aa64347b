"""Cases of functions and of attributes."""

from __future__ import annotations

import onnx
from case_builders import BAD, case, floats, sparse, spend, tensor
from onnx import AttributeProto, TensorProto, helper


def with_function(model: onnx.ModelProto, *attributes: onnx.AttributeProto, overload: str = "") -> onnx.FunctionProto:
    nodes = [helper.make_node("Abs", ["a"], ["m"], name="abs"), helper.make_node("Exp", ["m"], ["b"], name="exp")]
    for node in nodes:
        node.metadata_props.add(key="uid", value=node.name)
    nodes[0].attribute.extend(attributes)
    function = helper.make_function("acme", "Twice", ["a"], ["b"], nodes, [helper.make_opsetid("", 17)])
    if overload:
        function.overload = overload
    model.functions.append(function)
    spend(model, "Twice")
    return model.functions[-1]


@case(runnable=True)
def function(model: onnx.ModelProto) -> None:
    with_function(model)


@case()
def function_overloads(model: onnx.ModelProto) -> None:
    model.ir_version = 10
    for overload in ("one", "two"):
        with_function(model, overload=overload).node[0].op_type = "Abs" if overload == "one" else "Neg"
        node = model.graph.node[-1]
        node.overload, node.output[0] = overload, f"t_{overload}"


@case()
def function_fields(model: onnx.ModelProto) -> None:
    found = with_function(model)
    found.value_info.append(floats("m"))
    found.metadata_props.add(key="k", value="v")
    found.doc_string = "doc"
    found.node[0].doc_string = "inner"
    found.node[0].metadata_props.add(key="k", value="v")


@case()
def function_without_opsets(model: onnx.ModelProto) -> None:
    with_function(model).ClearField("opset_import")


@case()
def function_reference_attributes(model: onnx.ModelProto) -> None:
    references = []
    for kind in (AttributeProto.TENSOR, AttributeProto.TENSORS, AttributeProto.GRAPH, AttributeProto.SPARSE_TENSOR):
        references.append(AttributeProto(name=f"r{kind}", ref_attr_name=f"outer{kind}", type=kind))
    found = with_function(model, *references)
    found.attribute.extend(reference.ref_attr_name for reference in references)


@case()
def function_attribute_defaults(model: onnx.ModelProto) -> None:
    found = with_function(model)
    found.attribute_proto.append(AttributeProto(name="axes", type=AttributeProto.INTS))
    found.attribute_proto.append(helper.make_attribute("w", tensor("", 1.0)))


@case()
def attribute_kinds(model: onnx.ModelProto) -> None:
    node = spend(model)
    node.attribute.append(AttributeProto(name="tensors", type=AttributeProto.TENSORS, tensors=[tensor("", 1.0)]))
    node.attribute.append(helper.make_attribute("sparse", sparse("s")))
    node.attribute.append(
        AttributeProto(name="sparses", type=AttributeProto.SPARSE_TENSORS, sparse_tensors=[sparse("s")])
    )
    node.attribute.append(helper.make_attribute("type", helper.make_tensor_type_proto(TensorProto.FLOAT, [2])))
    types = [helper.make_tensor_type_proto(TensorProto.FLOAT, [2])]
    node.attribute.append(AttributeProto(name="types", type=AttributeProto.TYPE_PROTOS, type_protos=types))
    node.attribute.append(AttributeProto(name="kindless", type=AttributeProto.UNDEFINED))


@case()
def attribute_graphs(model: onnx.ModelProto) -> None:
    node = spend(model)
    for index in range(2):
        inner = [
            helper.make_node("Sqrt", ["h"], [f"s{index}"], name=f"sqrt{index}"),
            helper.make_node("Sin", [f"s{index}"], [f"o{index}"], name=f"sin{index}"),
        ]
        graph = helper.make_graph(inner, f"body{index}", [], [floats(f"o{index}")])
        if index == 0:
            node.attribute.append(AttributeProto(name="graphs", type=AttributeProto.GRAPHS, graphs=[graph]))
        else:
            node.attribute[0].graphs.append(graph)


@case()
def attribute_without_type(model: onnx.ModelProto) -> None:
    node = spend(model)
    node.attribute.append(AttributeProto(name="i", i=3))
    node.attribute.append(AttributeProto(name="t", t=tensor("", 1.0)))
    inner = helper.make_graph([helper.make_node("Sqrt", ["h"], ["s"])], "body", [], [floats("s")])
    node.attribute.append(AttributeProto(name="g", g=inner))


@case()
def attribute_doc_and_duplicates(model: onnx.ModelProto) -> None:
    node = spend(model)
    node.attribute.extend([helper.make_attribute("k", 1, doc_string="why"), helper.make_attribute("k", 2)])


@case()
def attribute_strings_not_utf8(model: onnx.ModelProto) -> None:
    node = spend(model)
    node.attribute.append(AttributeProto(name="s", type=AttributeProto.STRING, s=BAD))
    node.attribute.append(AttributeProto(name="ss", type=AttributeProto.STRINGS, strings=[BAD, b"ok"]))


@case()
def attribute_empty_lists(model: onnx.ModelProto) -> None:
    node = spend(model)
    for kind in (AttributeProto.INTS, AttributeProto.FLOATS, AttributeProto.STRINGS):
        node.attribute.append(AttributeProto(name=f"empty{kind}", type=kind))
