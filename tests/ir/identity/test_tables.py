"""Tagged models that tools put into the branches of one operator, alike as a decoder with its cache and without is."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
import pytest
from onnx import GraphProto, ModelProto, TensorProto, compose, helper

from modelexport.ir import load_model
from modelexport.ir.io.writer import to_bytes
from modelexport.ir.node import Node
from modelexport.passes import PassManager
from modelexport.passes.report import model_summary

ALIKE = ["a", "a", "b", "b", "b", "b", "b", "b", "head"]
OTHER = ["a", "a", "b", "c", "b", "b", "b", "b", "head", "head"]  # the fourth node is another module's, one is new


def chain(paths: Sequence[str], root: str = "net") -> ModelProto:
    """A tagged chain of operators from these modules, named as torch.export names them."""
    values = ["X", *(f"val_{number}" for number in range(len(paths) - 1)), "Y"]
    nodes = []
    for number, (path, read, made) in enumerate(zip(paths, values[:-1], values[1:], strict=True)):
        node = helper.make_node("Neg", [read], [made], name=f"node_Neg_{number}")
        node.metadata_props.add(key="pkg.torch.onnx.name_scopes", value=str(["", path, f"neg_{number}"]))
        node.metadata_props.add(key="pkg.torch.onnx.class_hierarchy", value=str([root, f"the.{path}", "aten.neg"]))
        nodes.append(node)
    graph = helper.make_graph(nodes, "main_graph", [_float("X")], [_float("Y")])
    return retagged(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10))


def retagged(proto: ModelProto) -> ModelProto:
    model = load_model(proto.SerializeToString())
    PassManager("htp").run(model)
    return onnx.load_from_string(to_bytes(model))


def branches(
    *models: ModelProto, prefixes: Sequence[str] = (), tables: bool = True, tags: bool = True, name: str = "choose"
) -> ModelProto:
    """All models in branches, each after the first in the else branch of an If around it, as tools merge decoders."""
    bodies = []
    keep = {"rename_inputs": False, "rename_outputs": False}
    for number, proto in enumerate(models):
        body = compose.add_prefix(proto, prefixes[number], **keep) if prefixes else _copy(proto)
        del body.graph.input[:]
        body.graph.name = f"body_{number}"
        if not tags:
            _without_tags(body)
        bodies.append(body.graph)
    held = bodies.pop()
    while bodies:
        output = "Y" if len(bodies) == 1 else f"inner_{len(bodies)}"
        node = helper.make_node("If", ["use"], [output], name, then_branch=bodies.pop(), else_branch=held)
        held = helper.make_graph([node], "around", [], [_float(output)])
    held.input.extend([_float("X"), helper.make_tensor_value_info("use", TensorProto.BOOL, [])])
    whole = helper.make_model(held, opset_imports=models[0].opset_import, ir_version=10)
    if tables:
        helper.set_model_props(whole, {each.key: each.value for proto in models for each in proto.metadata_props})
    return whole


def _float(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [2])


def _copy(proto: ModelProto) -> ModelProto:
    copy = ModelProto()
    copy.CopyFrom(proto)
    return copy


def _without_tags(proto: ModelProto) -> ModelProto:
    for node in proto.graph.node:
        del node.metadata_props[:]
    return proto


def _said(node: onnx.NodeProto | Node) -> tuple[str, str]:
    held = node.metadata if isinstance(node, Node) else {each.key: each.value for each in node.metadata_props}
    return held["htp.path"], held["htp.tag"].rpartition("/")[2].partition(".")[0]


def read(proto: ModelProto) -> tuple[dict[str, list[tuple[str, str]]], list[Node]]:
    """Path and class of the nodes of each body, and the nodes around them."""
    found: dict[str, list[tuple[str, str]]] = {}
    around: list[Node] = []
    for graph in load_model(retagged(proto).SerializeToString()).graphs():
        assert graph.proto is None or isinstance(graph.proto, GraphProto)
        for node in graph.nodes:
            if node.op_type == "If":
                around.append(node)
            else:
                assert graph.proto is not None
                found.setdefault(graph.proto.name, []).append(_said(node))
    return found, around


def below(segment: str, proto: ModelProto) -> list[tuple[str, str]]:
    return [(f"{segment}.{path}".strip("."), cls) for path, cls in map(_said, proto.graph.node)]


@pytest.mark.parametrize(("tables", "tags"), [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("prefixes", [(), ("one_", "two_", "tri_")])
def test_each_branch_keeps_its_own_tags(tables: bool, tags: bool, prefixes: tuple[str, ...]) -> None:
    one, two = chain(ALIKE), chain(OTHER)
    whole = branches(one, two, one, prefixes=prefixes, tables=tables, tags=tags)
    bodies, around = read(whole)
    # without tables and prefixes, nothing speaks against their being one model
    graphs = ("main_graph", "main_graph_2", "main_graph") if tables else ("", "", "")
    first, second, third = (prefix.strip("_") for prefix in prefixes) if prefixes else graphs
    assert bodies == {"body_0": below(first, one), "body_1": below(second, two), "body_2": below(third, one)}
    assert [(node.metadata["htp.path"], node.metadata["htp.rule"]) for node in around] == [("", "bodies")] * 2


def test_what_was_put_around_models_is_not_the_module_whose_output_it_shares() -> None:
    _, around = read(branches(chain(ALIKE), chain(OTHER), tags=False, name=""))
    assert [(node.first_output, node.metadata["htp.path"]) for node in around] == [("Y", "")]


def test_models_of_other_classes_hang_under_names_of_their_own_that_are_no_exporters() -> None:
    one, two = chain(ALIKE), chain(OTHER, "with_cache")
    bodies, _ = read(branches(one, two, tables=False))
    assert bodies == {"body_0": below("model_2", one), "body_1": below("model", two)}


@pytest.mark.parametrize("tags", [True, False])
def test_no_tag_moves_to_a_branch_that_had_none(tags: bool) -> None:
    one = chain(ALIKE)
    other = _without_tags(chain(OTHER))
    del other.metadata_props[:]
    bodies, _ = read(branches(one, other, tags=tags))
    assert bodies["body_0"] == list(map(_said, one.graph.node))
    assert {path for path, _ in bodies["body_1"]} == {""}


@pytest.mark.parametrize("tags", [True, False])
def test_models_that_are_alike_hang_under_one_prefix_each(tags: bool) -> None:
    one, two = chain(ALIKE), chain(OTHER)
    whole = compose.merge_models(one, two, io_map=[("Y", "X")], prefix1="one_", prefix2="two_")
    model = load_model((whole if tags else _without_tags(whole)).SerializeToString())
    PassManager("htp").run(model)
    assert [_said(node) for node in model.main.nodes] == below("one", one) + below("two", two)
    listed = {row["path"] for row in model_summary(model)["modules"]}
    assert {path.partition(".")[0] for path in listed} == {"", "one", "two"} and "one.c" not in listed


def test_names_in_branches_make_no_modules_beside_those_of_the_tags() -> None:
    nodes = [helper.make_node("Neg", ["X"], ["Y"], name="/enc/fc/Neg")]
    graph = helper.make_graph(nodes, "main_graph", [_float("X")], [_float("Y")])
    one = retagged(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10))
    two = _copy(one)
    for each in two.graph.node[0].metadata_props:
        if each.key == "htp.tag":
            each.value = "/Other/enc/fc"
        if each.key == "htp.model":
            each.value = "01234567"
    tagged = retagged(branches(one, two, tables=False))
    model = load_model(tagged.SerializeToString())
    PassManager("htp").run(model)
    assert {path.partition(".")[0] for path in model.modules.tags()} == {"", "model", "model_2"}
