"""Prefixes that composing tools put before all names: what is behind them is read as it would be without."""

from __future__ import annotations

import pytest
from onnx import ModelProto, compose

from modelexport.ir import load_model
from modelexport.passes.pipeline.base import PassContext
from modelexport.passes.scope_attribution import ScopeAttribution
from modelexport.passes.testing import make_model


def places(text: str) -> dict[str, tuple[str, str] | None]:
    """Path and rule by first output."""
    return attributed(make_model(text).proto)


def attributed(proto: ModelProto) -> dict[str, tuple[str, str] | None]:
    model = load_model(proto.SerializeToString())
    ScopeAttribution().run(model, PassContext())
    return {
        node.first_output: (node.attribution.path, node.attribution.rule) if node.attribution else None
        for node in model.nodes()
    }


_TORCH = """
    agraph (float[2,2] X) => (float[2,2] Y)
    <float[2,2] "block.fc.weight" = {1,2,3,4}> {
        ["/block/fc/MatMul"] "/block/fc/MatMul_output_0" = MatMul (X, "block.fc.weight")
        ["/block/act/Relu"] "/block/act/Relu_output_0" = Relu ("/block/fc/MatMul_output_0")
        ["/Add"] Y = Add ("/block/act/Relu_output_0", X)
    }
"""


@pytest.mark.parametrize("prefix", ["enc_", "enc/", "Inline_0__"])
def test_a_prefix_before_every_name_changes_nothing(prefix: str) -> None:
    plain = attributed(make_model(_TORCH).proto)
    found = attributed(compose.add_prefix(make_model(_TORCH).proto, prefix))
    assert list(found.values()) == list(plain.values()) and None not in found.values()


@pytest.mark.parametrize("prefix", ["enc_", "enc/"])
def test_a_prefix_is_seen_in_names_of_values_where_nodes_have_none(prefix: str) -> None:
    proto = compose.add_prefix(make_model(_TORCH).proto, prefix)
    for node in proto.graph.node:
        node.name = ""
    assert [place and place[0] for place in attributed(proto).values()] == ["block.fc", "block.act", None]


def exported(*, records: bool) -> ModelProto:
    """As torch.export names things, with its records of modules and without."""
    proto = make_model(
        """
        agraph (float[1,1,4] X) => (float[1,1,4] Y)
        <float[1,1,1] "stem.conv.weight" = {2}, float[1] "head.bias" = {3}> {
            [node_Conv_7] val_7 = Conv (X, "stem.conv.weight")
            [node_relu] relu = Relu (val_7)
            [node_linear] Y = Add (relu, "head.bias")
        }
        """
    ).proto
    paths = ["stem.norm", "act", "head"] if records else []
    for node, path in zip(proto.graph.node, paths, strict=False):
        node.metadata_props.add(key="pkg.torch.onnx.name_scopes", value=str(["", path, "n"]))
        node.metadata_props.add(key="pkg.torch.onnx.class_hierarchy", value=str(["the.Net", f"the.{path}", "aten"]))
    if records:
        proto.graph.node[0].metadata_props.add(key="pkg.onnxscript.rewriter.rule_name", value="FuseBatchNormIntoConv")
    return proto


@pytest.mark.parametrize("prefix", ["enc_", "enc/", "my.model/", "a/b_"])
@pytest.mark.parametrize("records", [True, False])
@pytest.mark.parametrize("outputs", [True, False])
def test_a_prefix_changes_nothing_in_a_file_of_torch_export(prefix: str, records: bool, outputs: bool) -> None:
    plain = list(attributed(exported(records=records)).values())
    named = compose.add_prefix(exported(records=records), prefix, rename_inputs=outputs, rename_outputs=outputs)
    assert list(attributed(named).values()) == plain and plain[0] is not None and plain[0][0] == "stem.conv"


@pytest.mark.parametrize("records", [True, False])
@pytest.mark.parametrize("prefix", ["stem_", "b/"])
def test_each_of_two_files_of_torch_export_hangs_under_its_prefix(prefix: str, records: bool) -> None:
    one, two = exported(records=records), exported(records=records)
    merged = compose.merge_models(one, two, io_map=[("Y", "X")], prefix1="a/", prefix2=prefix)
    found = [place and place[0] for place in attributed(merged).values()]
    middle = "act" if records else None
    inside = ["stem.conv", middle, "head"]
    assert found == [path and f"{segment}.{path}" for segment in ("a", prefix[:-1]) for path in inside]


def test_a_name_that_only_holds_that_word_has_no_prefix() -> None:
    """Nodes of a Keras model and modules may be called so."""
    found = places(
        """
        agraph (float[4] X) => (float[4] Y) {
            ["net/node_block/Relu"] a = Relu (X)
            ["net/node_block/Neg"] b = Neg (a)
            ["net/node_add"] c = Add (b, b)
            ["net/node_add_1"] d = Add (c, c)
            ["net/fc/Relu"] Y = Relu (d)
        }
        """
    )
    assert [place and place[0] for place in found.values()] == [
        "net.node_block",
        "net.node_block",
        "net",
        "net",
        "net.fc",
    ]


def test_each_of_two_merged_models_hangs_under_its_prefix() -> None:
    one, two = make_model(_TORCH).proto, make_model(_TORCH).proto
    merged = compose.merge_models(one, two, io_map=[("Y", "X")], prefix1="a/", prefix2="b_")
    paths = [place and place[0] for place in attributed(merged).values()]
    assert paths == ["a.block.fc", "a.block.act", "a", "b.block.fc", "b.block.act", "b"]
