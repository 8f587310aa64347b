"""Files made of several tagged models, and of one whose names were prefixed: what their tags and tables still say."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import ModelProto, compose, helper

from modelexport.ir import load_model
from modelexport.ir.io.tag_rows import model_rows
from modelexport.ir.io.writer import to_bytes
from modelexport.ir.modules import Module
from modelexport.passes import PassManager
from modelexport.passes.testing import make_model

_ENC = """
    agraph (float[2,2] X) => (float[2,2] H) <float[2,2] "fc.weight" = {1,2,3,4}> {
        ["/fc/MatMul"] "/fc/MatMul_output_0" = MatMul (X, "fc.weight")
        ["/act/Relu"] H = Relu ("/fc/MatMul_output_0")
    }
"""
_DEC = """
    agraph (float[2,2] H) => (float[2,2] Y) <float[2,2] "fc.weight" = {4,3,2,1}> {
        ["/norm/Mul"] "/norm/Mul_output_0" = Mul (H, H)
        ["/fc/MatMul"] Y = MatMul ("/norm/Mul_output_0", "fc.weight")
    }
"""


def tagged(text: str, passes: str = "htp") -> ModelProto:
    return retagged(make_model(text).proto, passes)


def retagged(proto: ModelProto, passes: str = "htp") -> ModelProto:
    model = load_model(proto.SerializeToString())
    PassManager(passes).run(model)
    return onnx.load_from_string(to_bytes(model))


def bare(proto: ModelProto) -> ModelProto:
    """What optimisers leave: no metadata of nodes."""
    copy = ModelProto()
    copy.CopyFrom(proto)
    for node in copy.graph.node:
        del node.metadata_props[:]
    return copy


def paths(proto: ModelProto) -> dict[str, str]:
    return {
        node.name: next(entry.value for entry in node.metadata_props if entry.key == "htp.path")
        for node in proto.graph.node
    }


def merged(first: str = "enc_", second: str = "dec/") -> ModelProto:
    names = [("H", "H")]
    return compose.merge_models(tagged(_ENC), tagged(_DEC), io_map=names, prefix1=first, prefix2=second)


_BOTH = {
    "enc_/fc/MatMul": "enc.fc",
    "enc_/act/Relu": "enc.act",
    "dec//norm/Mul": "dec.norm",
    "dec//fc/MatMul": "dec.fc",
}


@pytest.mark.parametrize("strip", [False, True])
def test_two_tagged_models_merge_and_each_hangs_under_its_prefix(strip: bool) -> None:
    whole = merged()
    onnx.checker.check_model(whole)
    assert paths(retagged(bare(whole) if strip else whole)) == _BOTH


@pytest.mark.parametrize("lacking", [0, 1])
def test_a_model_without_a_table_hangs_under_its_prefix_beside_one_with_a_table(lacking: int) -> None:
    models = [tagged(_ENC), tagged(_DEC)]
    for entry in [entry for entry in models[lacking].metadata_props if entry.key.startswith(("htp.mod", "htp.nod"))]:
        models[lacking].metadata_props.remove(entry)
    names = [(models[0].graph.output[0].name, models[1].graph.input[0].name)]
    whole = compose.merge_models(*models, io_map=names, prefix1="enc_", prefix2="dec/")
    assert paths(retagged(whole)) == _BOTH


def test_a_model_without_a_prefix_hangs_under_the_name_of_its_graph() -> None:
    whole = merged("", "dec/")
    assert paths(retagged(whole)) == {
        "/fc/MatMul": "agraph.fc",
        "/act/Relu": "agraph.act",
        "dec//norm/Mul": "dec.norm",
        "dec//fc/MatMul": "dec.fc",
    }


def test_a_merged_file_can_be_read_before_it_is_tagged_again(tmp_path: Path) -> None:
    onnx.save(merged(), tmp_path / "m.onnx")
    rows = list(model_rows(tmp_path / "m.onnx"))
    assert {row.key: row.path for row in rows} == _BOTH
    assert len({row.tag for row in rows}) == 4 and all(row.tag for row in rows)


def test_tagging_a_merged_file_again_changes_nothing() -> None:
    once = retagged(merged())
    assert retagged(once) == once


@pytest.mark.parametrize("strip", [False, True])
def test_a_model_that_was_merged_with_itself_is_there_twice(strip: bool) -> None:
    one = tagged(_ENC)
    whole = compose.merge_models(one, one, io_map=[("H", "X")], prefix1="a_", prefix2="b_")
    found = paths(retagged(bare(whole) if strip else whole))
    assert list(found.values()) == ["a.fc", "a.act", "b.fc", "b.act"]


_REPEATED = """
    agraph (float[2,2] X) => (float[2,2] "/act_1/Relu_output_0") {
        ["/act/Relu"] "/act/Relu_output_0" = Relu (X)
        ["/act_1/Relu"] "/act_1/Relu_output_0" = Relu ("/act/Relu_output_0")
    }
"""


@pytest.mark.parametrize("carrier", ["metadata", "doc-string"])
@pytest.mark.parametrize("prefixes", [("a_", "b_"), ("left/", "right/"), ("", "second.")])
@pytest.mark.parametrize("text", [_ENC, _REPEATED])
def test_without_a_table_it_is_there_twice_too(text: str, prefixes: tuple[str, str], carrier: str) -> None:
    passes = f"scope-attribution,fallback-tagging,attribute-embedding{{table=false carrier={carrier}}}"
    one = tagged(text, passes)
    alone = attributed(one)
    assert alone == list(paths(tagged(text)).values())  # two calls of one module are no copies
    out = one.graph.output[0].name
    whole = compose.merge_models(one, one, io_map=[(out, "X")], prefix1=prefixes[0], prefix2=prefixes[1])
    heads = [prefix.strip("_/.") or "model" for prefix in prefixes]
    assert attributed(whole) == [f"{head}.{path}" for head in heads for path in alone]
    thrice = compose.merge_models(whole, one, io_map=[(prefixes[1] + out, "X")], prefix2="z-")
    assert attributed(thrice)[-len(alone) :] == [f"z-.{path}" for path in alone]


def attributed(proto: ModelProto) -> list[str]:
    """Paths of nodes after tagging."""
    model = load_model(proto.SerializeToString())
    PassManager("htp").run(model)
    return [node.attribution.path for node in model.nodes() if node.attribution is not None]


@pytest.mark.parametrize("strip", [False, True])
def test_a_prefix_alone_keeps_paths(strip: bool) -> None:
    whole = compose.add_prefix(tagged(_ENC), "x_")
    assert list(paths(retagged(bare(whole) if strip else whole)).values()) == ["fc", "act"]


def test_a_reference_is_found_behind_a_prefix(tmp_path: Path) -> None:
    """Names that say nothing by themselves: n1 and n2."""
    flat = _ENC.replace('["/fc/MatMul"]', "[n1]").replace('["/act/Relu"]', "[n2]").replace("fc.weight", "w")
    plain = make_model(flat.replace('"/fc/MatMul_output_0"', "v1")).proto
    reference = ModelProto()
    reference.CopyFrom(plain)
    for node, path in zip(reference.graph.node, ("enc.fc", "enc.act"), strict=True):
        for key, value in (("path", path), ("source", "scope"), ("rule", "node-name"), ("confidence", "1.00")):
            node.metadata_props.add(key=f"htp.{key}", value=value)
    onnx.save(reference, tmp_path / "reference.onnx")
    steps = f"reference-attribution{{reference={tmp_path / 'reference.onnx'}}},fallback-tagging,attribute-embedding"
    whole = retagged(compose.add_prefix(plain, "x_"), steps)
    assert list(paths(whole).values()) == ["enc.fc", "enc.act"]


def test_the_table_finds_a_body_whose_owner_has_moved() -> None:
    text = """
        agraph (bool C, float[2] X) => (float[2] Y) {
            [gone] D = Identity (C)
            ["/enc/If"] Y = If (C) <
                then_branch = one () => (float[2] a) { ["/enc/x/Relu"] a = Relu (X) },
                else_branch = two () => (float[2] b) { ["/enc/y/Abs"] b = Abs (X) }
            >
        }
    """
    proto = bare(tagged(text))
    del proto.graph.node[0]
    for branch in proto.graph.node[0].attribute:
        for node in branch.g.node:
            node.name = ""
            del node.metadata_props[:]
    model = load_model(proto.SerializeToString())
    PassManager("htp").run(model)
    assert [node.attribution.path for node in model.nodes() if node.attribution] == ["enc", "enc.x", "enc.y"]


def test_strip_removes_what_both_models_carried() -> None:
    plain = retagged(merged(), "strip-tags")
    assert not plain.metadata_props and not any(node.metadata_props for node in plain.graph.node)


def with_classes(text: str) -> ModelProto:
    """Tagged with the classes of a table, as an export is."""
    model = load_model(make_model(text).proto.SerializeToString())
    classes = {"": "net.Decoder", "blocks": "ModuleList", "blocks.0": "net.Block", "blocks.0.fc": "Linear"}
    for path, cls in classes.items():
        model.modules.add(Module(path, cls, calls=int(cls != "ModuleList")))
    PassManager("htp").run(model)
    return onnx.load_from_string(to_bytes(model))


def in_branches(one: ModelProto, other: ModelProto) -> ModelProto:
    """Both as branches of an If, without metadata of the model, as decoders with their cache and without are merged."""
    for node in other.graph.node:
        node.output[:] = [f"other/{value}" for value in node.output]
        node.input[:] = [f"other/{value}" if value.startswith("/") else value for value in node.input]
    bodies = []
    for name, each in (("one", one), ("other", other)):
        made = helper.make_tensor_value_info(each.graph.node[-1].output[0], 1, None)
        bodies.append(helper.make_graph(list(each.graph.node), name, [], [made]))
    owner = helper.make_node("If", ["which"], ["Y"], name="if", then_branch=bodies[0], else_branch=bodies[1])
    inputs = [helper.make_tensor_value_info("which", onnx.TensorProto.BOOL, []), *one.graph.input]
    graph = helper.make_graph([owner], "both", inputs, list(one.graph.output), list(one.graph.initializer))
    return helper.make_model(graph, opset_imports=list(one.opset_import), ir_version=8)


_BRANCH = """
    agraph (float[2,2] X) => (float[2,2] Y) <float[2,2] "blocks.0.fc.weight" = {1,2,3,4}> {
        ["/blocks.0/fc/MatMul"] "/blocks.0/fc/MatMul_output_0" = MatMul (X, "blocks.0.fc.weight")
        ["/blocks.0/Relu"] Y = Relu ("/blocks.0/fc/MatMul_output_0")
    }
"""


def test_tags_without_tables_are_of_one_model_where_they_agree() -> None:
    first, second = with_classes(_BRANCH), with_classes(_BRANCH.replace("Relu", "Tanh"))
    model = load_model(in_branches(first, second).SerializeToString())
    PassManager("htp").run(model)
    assert {node.attribution.path for graph in model.graphs() for node in graph.nodes if graph.owner} == {
        "blocks.0",
        "blocks.0.fc",
    }
    assert {module.path: module.cls for module in model.modules} == {
        "": "Decoder",
        "blocks.0": "Block",
        "blocks.0.fc": "Linear",
    }
    assert model.modules.tags()["blocks.0.fc"] == "/Decoder/Block.0/Linear"


def test_tags_without_tables_are_of_two_models_where_they_do_not() -> None:
    first, second = with_classes(_BRANCH), tagged(_BRANCH)
    model = load_model(in_branches(first, second).SerializeToString())
    PassManager("htp").run(model)
    assert {path.split(".")[0] for path in (node.attribution.path for node in model.nodes()) if path} == {
        "model",
        "model_2",
    }
