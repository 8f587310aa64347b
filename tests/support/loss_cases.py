"""One model for each thing that a round trip through graphsurgeon alone loses, changes or crashes on."""

from __future__ import annotations

import onnx
from case_builders import BAD, CASES, RUNNABLE, build, case, chain, floats, sparse, spend, tensor, unknown_field
from loss_cases_attributes import with_function
from onnx import AttributeProto, TensorProto, helper

__all__ = ["CASES", "RUNNABLE", "build", "chain", "floats", "tensor", "with_function", "with_if"]


@case(runnable=True)
def node_metadata_and_doc(model: onnx.ModelProto) -> None:
    node = model.graph.node[0]
    node.doc_string = "where it is from"
    node.metadata_props.add(key="uid", value="a second one of the same key")
    node.metadata_props.add(key="no value")


@case()
def node_overload_and_devices(model: onnx.ModelProto) -> None:
    model.graph.node[0].overload = "fast"
    configuration = model.graph.node[0].device_configurations.add()
    configuration.configuration_id = "two"


@case(runnable=True)
def unknown_fields(model: onnx.ModelProto) -> None:
    for message in (model, model.graph, model.graph.node[0], model.graph.input[0]):
        message.MergeFromString(unknown_field(200))


@case(runnable=True)
def graph_metadata(model: onnx.ModelProto) -> None:
    model.graph.metadata_props.add(key="k", value="v")
    model.graph.doc_string = ""


@case()
def quantization_annotation(model: onnx.ModelProto) -> None:
    model.graph.initializer.extend([tensor("scale", 0.5), tensor("zero", 0.0)])
    annotation = model.graph.quantization_annotation.add(tensor_name="h")
    annotation.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="scale")
    annotation.quant_parameter_tensor_names.add(key="ZERO_POINT_TENSOR", value="zero")


@case()
def model_fields(model: onnx.ModelProto) -> None:
    model.metadata_props.add(key="k", value="v")
    model.doc_string, model.domain, model.model_version = "doc", "acme", 7
    model.configuration.add(name="two", num_devices=2)


@case()
def training_info(model: onnx.ModelProto) -> None:
    training = model.training_info.add()
    training.initialization.CopyFrom(helper.make_graph([helper.make_node("Abs", ["a"], ["b"])], "init", [], []))
    training.algorithm.CopyFrom(helper.make_graph([helper.make_node("Exp", ["a"], ["b"])], "step", [], []))
    training.update_binding.add(key="w", value="b")


@case()
def unset_fields(model: onnx.ModelProto) -> None:
    model.ClearField("producer_name")
    model.ClearField("ir_version")
    model.graph.ClearField("name")


@case(runnable=True)
def explicitly_empty_fields(model: onnx.ModelProto) -> None:
    model.producer_name = model.producer_version = model.domain = model.doc_string = ""
    model.model_version = 0
    node = model.graph.node[0]
    node.domain = node.doc_string = node.overload = ""
    unnamed = model.graph.node.add(op_type="Elu", input=["h"], output=["e"], name="")
    unnamed.attribute.append(helper.make_attribute("alpha", 0.0))
    unnamed.attribute[0].f = 0.0


@case()
def optional_map_opaque_types(model: onnx.ModelProto) -> None:
    element = helper.make_tensor_type_proto(TensorProto.FLOAT, [2])
    optional = helper.make_optional_type_proto(element)
    mapping = onnx.TypeProto()
    mapping.map_type.key_type = TensorProto.INT64
    mapping.map_type.value_type.CopyFrom(element)
    for name, kind in (("o", optional), ("m", mapping)):
        model.graph.input.append(helper.make_value_info(name, kind))
        model.graph.output.append(helper.make_value_info(name, kind))
        model.graph.value_info.append(helper.make_value_info(f"{name}_unused", kind))
    model.graph.input.add(name="opaque").type.MergeFromString(b"\x3a\x03\x0a\x01o")


@case()
def sequence_types(model: onnx.ModelProto) -> None:
    element = helper.make_tensor_type_proto(TensorProto.FLOAT, [2, "n"])
    sequence = helper.make_sequence_type_proto(element)
    mapping = onnx.TypeProto()
    mapping.map_type.key_type = TensorProto.STRING
    mapping.map_type.value_type.CopyFrom(element)
    for index, kind in enumerate((sequence, helper.make_sequence_type_proto(sequence))):
        model.graph.input.append(helper.make_value_info(f"s{index}", kind))
    model.graph.output.append(helper.make_value_info("s0", helper.make_sequence_type_proto(mapping)))


@case()
def sparse_types_and_denotations(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_sparse_tensor_value_info("sp", TensorProto.FLOAT, [2, "n"]))
    model.graph.input[0].type.denotation = "IMAGE"
    model.graph.input[0].type.tensor_type.shape.dim[0].denotation = "DATA_BATCH"


@case(runnable=True)
def value_info_doc_and_metadata(model: onnx.ModelProto) -> None:
    model.graph.value_info.append(floats("h"))
    for value in (model.graph.input[0], model.graph.output[0], model.graph.value_info[0]):
        value.doc_string = "a value"
        value.metadata_props.add(key="k", value="v")


@case(runnable=True)
def value_info_of_everything(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(tensor("w", 1.0, 2.0))
    model.graph.node.append(helper.make_node("Add", ["h", "w"], ["s"]))
    model.graph.value_info.extend([floats("y"), floats("unused"), floats("w"), floats("h"), floats("x"), floats("h")])
    model.graph.value_info.add(name="s")


@case()
def conflicting_output_type(model: onnx.ModelProto) -> None:
    model.graph.value_info.append(floats("y", ("batch",)))
    model.graph.output.append(floats("x", (9,)))
    model.graph.output.append(floats("c", ("n",)))
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=tensor("", 1.0)))


@case(runnable=True)
def output_without_type(model: onnx.ModelProto) -> None:
    model.graph.output.add(name="h")


@case(runnable=True)
def initializer_in_inputs(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(tensor("w", 1.0, 2.0))
    model.graph.input.append(floats("w"))
    model.graph.node.append(helper.make_node("Add", ["h", "w"], ["s"]))
    model.graph.output.append(floats("s"))


@case()
def unused_and_duplicate_initializers(model: onnx.ModelProto) -> None:
    model.graph.initializer.extend([tensor("unused", 1.0), tensor("b", 1.0, 2.0), tensor("a", 3.0, 4.0)])
    model.graph.initializer.append(tensor("a", 5.0, 6.0))
    model.graph.sparse_initializer.append(sparse("s"))
    model.graph.node.append(helper.make_node("Add", ["a", "b"], ["s2"]))


def branch(name: str, *nodes: onnx.NodeProto) -> onnx.GraphProto:
    return helper.make_graph(list(nodes), name, [], [floats(nodes[-1].output[0])])


def with_if(model: onnx.ModelProto, captured: str) -> onnx.NodeProto:
    model.graph.initializer.append(helper.make_tensor("flag", TensorProto.BOOL, [], [True]))
    then = branch(
        "then",
        helper.make_node("Add", [captured, "h"], ["in_then"], name="add"),
        helper.make_node("Abs", ["in_then"], ["then_out"], name="abs"),
    )
    for node in then.node:
        node.metadata_props.add(key="uid", value=node.name)
    other = branch("else", helper.make_node("Mul", [captured, captured], ["else_out"], name="mul"))
    node = helper.make_node("If", ["flag"], ["z"], name="if", then_branch=then, else_branch=other)
    model.graph.node.append(node)
    model.graph.output.append(floats("z"))
    return model.graph.node[-1]


def then_branch(node: onnx.NodeProto) -> onnx.GraphProto:
    return next(attribute.g for attribute in node.attribute if attribute.name == "then_branch")


@case(runnable=True)
def captured_initializer(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(tensor("w", 1.0, 2.0))
    with_if(model, "w")


@case(runnable=True)
def captured_variable(model: onnx.ModelProto) -> None:
    with_if(model, "x")


@case()
def captured_before_its_producer(model: onnx.ModelProto) -> None:
    with_if(model, "late")
    model.graph.node.append(helper.make_node("Exp", ["x"], ["late"]))


@case()
def body_fields(model: onnx.ModelProto) -> None:
    body = then_branch(with_if(model, "x"))
    body.doc_string = "a body"
    body.metadata_props.add(key="k", value="v")
    body.value_info.extend([floats("in_then"), floats("h"), floats("nothing")])
    body.initializer.extend([tensor("bw", 1.0), tensor("unused", 2.0)])
    body.input.append(floats("bw", (1,)))
    body.quantization_annotation.add(tensor_name="in_then")


@case(runnable=True)
def nested_bodies(model: onnx.ModelProto) -> None:
    outer = then_branch(with_if(model, "x"))
    inner = branch(
        "inner",
        helper.make_node("Sub", ["in_then", "x"], ["in_inner"]),
        helper.make_node("Abs", ["in_inner"], ["inner_out"]),
    )
    again = branch("again", helper.make_node("Neg", ["h"], ["again_out"]))
    nested = helper.make_node("If", ["flag"], ["nested"], then_branch=inner, else_branch=again)
    outer.node.append(nested)
    outer.output[0].name = "nested"


@case(runnable=True)
def loop_and_scan(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(helper.make_tensor("trips", TensorProto.INT64, [], [2]))
    model.graph.initializer.append(helper.make_tensor("go", TensorProto.BOOL, [], [True]))
    inputs = [
        helper.make_tensor_value_info("i", TensorProto.INT64, []),
        helper.make_tensor_value_info("c", TensorProto.BOOL, []),
        floats("state"),
    ]
    nodes = [
        helper.make_node("Identity", ["c"], ["c_out"]),
        helper.make_node("Add", ["state", "h"], ["sum"]),
        helper.make_node("Abs", ["sum"], ["state_out"]),
    ]
    outputs = [helper.make_tensor_value_info("c_out", TensorProto.BOOL, []), floats("state_out")]
    body = helper.make_graph(nodes, "body", inputs, outputs)
    model.graph.node.append(helper.make_node("Loop", ["trips", "go", "x"], ["looped"], body=body))
    scanned = helper.make_graph(
        [helper.make_node("Add", ["s_in", "e_in"], ["s_mid"]), helper.make_node("Abs", ["s_mid"], ["s_out"])],
        "scan",
        [floats("s_in"), floats("e_in")],
        [floats("s_out")],
    )
    model.graph.initializer.append(helper.make_tensor("rows", TensorProto.FLOAT, [3, 2], [1.0] * 6))
    model.graph.node.append(helper.make_node("Scan", ["looped", "rows"], ["z"], body=scanned, num_scan_inputs=1))
    model.graph.output.append(floats("z"))


@case()
def unknown_data_types(model: onnx.ModelProto) -> None:
    for data_type in (99, 0):
        found = model.graph.initializer.add(name=f"w{data_type}", data_type=data_type, dims=[1])
        found.raw_data = b"1234"
        attribute = AttributeProto(name=f"t{data_type}", type=AttributeProto.TENSOR)
        attribute.t.CopyFrom(found)
        spend(model, f"Thing{data_type}").attribute.append(attribute)
        model.graph.node[-1].output[0] = f"out{data_type}"


@case()
def every_data_type(model: onnx.ModelProto) -> None:
    for data_type in TensorProto.DataType.values():
        if data_type:
            model.graph.initializer.add(name=f"w{data_type}", data_type=data_type, dims=[3], doc_string="kept")


@case()
def missing_opset_import(model: onnx.ModelProto) -> None:
    spend(model)
    del model.opset_import[1]


@case()
def unsorted_nodes(model: onnx.ModelProto) -> None:
    nodes = [model.graph.node[1], model.graph.node[0]]
    fresh = onnx.GraphProto(node=nodes)
    del model.graph.node[:]
    model.graph.node.extend(fresh.node)


@case()
def values_defined_twice(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Exp", ["h"], ["h"]))
    model.graph.node.append(helper.make_node("Sin", ["h"], ["x"]))


@case()
def names_not_utf8(model: onnx.ModelProto) -> None:
    wire = b"\x0a\x01h\x12\x03" + BAD + b"\x1a\x03" + BAD + b"\x22\x03Abs"
    model.graph.node.add().MergeFromString(wire)
    model.graph.node.add().MergeFromString(b"\x0a\x03" + BAD + b"\x0a\x01x\x12\x03end\x22\x03Add")
    model.graph.value_info.add().MergeFromString(b"\x0a\x03" + BAD)


@case()
def duplicate_and_empty_node_names(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Exp", ["h"], ["e"], name="relu"))
    model.graph.node.append(helper.make_node("Sin", ["e"], ["s"]))
    model.graph.output.append(floats("s"))
