"""scope-attribution on files of other exporters: naming schemes, prefixes, names that name no module."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any

import pytest
from onnx import ModelProto

from modelexport.ir import load_model
from modelexport.ir.errors import PipelineError
from modelexport.passes.evidence.names.schemes import catalogue
from modelexport.passes.evidence.names.schemes.agreement import agrees
from modelexport.passes.evidence.names.schemes.interface import Scheme, Scope
from modelexport.passes.pipeline.base import PassContext
from modelexport.passes.scope_attribution import ScopeAttribution
from modelexport.passes.testing import check, make_model

PASS = "scope-attribution"


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


def test_name_scopes_of_tensorflow() -> None:
    """Wrappers go, helpers are marked, framework functions and the model's own operations are no modules."""
    check(
        PASS,
        """
        agraph (float[2,4] X) => (float[2,4] Y)
        <float[4,4] "net/fc/MatMul/ReadVariableOp:0" = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}> {
            ["StatefulPartitionedCall/net/fc/MatMul"] a = MatMul (X, "net/fc/MatMul/ReadVariableOp:0")
            ["StatefulPartitionedCall/net/fc/BiasAdd"] b = Add (a, X)
            ["StatefulPartitionedCall/net/fc/BiasAdd__7"] c = Transpose (b)
            ["StatefulPartitionedCall/net/norm.1/moments/mean"] d = ReduceMean (c)
            ["StatefulPartitionedCall/net/norm.1/sub"] e = Sub (c, d)
            ["StatefulPartitionedCall/net/fc/Tensordot/MatMul_Gemm__6"] f = MatMul (e, e)
            ["StatefulPartitionedCall/net/add"] g = Add (f, X)
            ["Unsqueeze__12"] h = Identity (g)
            ["Relu__3/duplicated"] Y = Relu (h)
        }
        """,
        """
        a   net.fc         scope/scheme-tensorflow
        b   net.fc         scope/scheme-tensorflow
        c   net.fc         scope/scheme-tensorflow-helper
        d   net.norm%2E1   scope/scheme-tensorflow
        e   net.norm%2E1   scope/scheme-tensorflow
        f   net.fc         scope/scheme-tensorflow
        g   net            scope/scheme-tensorflow
        h   -
        Y   -
        """,
    )


def test_calls_that_read_one_weight_are_one_module() -> None:
    found = places(
        """
        agraph (float[2,2] X) => (float[2,2] Y)
        <float[2,2] "m/gate_3/ReadVariableOp:0" = {1,2,3,4}, float[2,2] "m/out_1/ReadVariableOp:0" = {2,2,3,4}> {
            ["m/gate_1/MatMul"] a = MatMul (X, "m/gate_3/ReadVariableOp:0")
            ["m/gate_1/Tanh"] b = Tanh (a)
            ["m/gate_3/MatMul"] c = MatMul (b, "m/gate_3/ReadVariableOp:0")
            ["m/gate_3/Tanh"] d = Tanh (c)
            ["m/out_1/MatMul"] Y = MatMul (d, "m/out_1/ReadVariableOp:0")
        }
        """
    )
    assert [place[0] for place in found.values() if place] == ["m.gate_1"] * 4 + ["m.out_1"]


def test_jitted_helpers_and_equations_are_no_modules() -> None:
    found = places(
        """
        agraph (float[2,2] X) => (float[2,2] Y) {
            ["jax2tf__lambda__/Net/block_0/attn/attn/query/pjit_add_/AddV2"] a = Add (X, X)
            ["jax2tf__lambda__/Net/block_0/attn/attn/query/Mul"] b = Mul (a, X)
            ["jax2tf__lambda__/Net/block_0/attn/attn/...hq->...q/Einsum"] c = MatMul (b, X)
            ["jax2tf__lambda__/Net/block_0/ff/pjit_gelu_/pjit_add_/Add"] Y = Add (c, X)
        }
        """
    )
    assert found == {
        "a": ("Net.block_0.attn.query", "scheme-jax"),
        "b": ("Net.block_0.attn.query", "scheme-jax"),
        "c": ("Net.block_0.attn", "scheme-jax"),
        "Y": ("Net.block_0.ff", "scheme-jax"),
    }


def test_fused_names_of_tensorflow_lite() -> None:
    found = places(
        """
        agraph (float[1,1,4] X) => (float[1,1,4] Y)
        <float[1,1,1] w = {2}, float[1,1,1] v = {3}> {
            ["m/act/Relu;m/stem/BiasAdd;m/other/Conv2D;m/stem/Conv2D1"] a = Conv (X, w)
            [Relu__9] b = Relu (a)
            ["m/add/add"] c = Add (b, X)
            ["m/other/BiasAdd;m/other/Conv2D"] d = Conv (c, v)
            ["m/pool/MaxPool"] Y = MaxPool <kernel_shape = [1]> (d)
        }
        """
    )
    assert {value: place[0] for value, place in found.items() if place} == {
        "a": "m.stem",
        "b": "m.act",
        "c": "m.add",
        "d": "m.other",
        "Y": "m.pool",
    }


def test_counters_of_paddle_name_modules_where_a_weight_is_read() -> None:
    """Converter values are counted too, and name nothing; a weight may be in a Constant node."""
    found = places(
        """
        agraph (float[2,2] X) => (float[2,2] Y)
        <float[2,2] "linear_0.w_0" = {1,2,3,4}, float[2] "p2o.pd_op.reshape.0.0" = {1,2},
         float[1] "auto.cast.3" = {2}> {
            "linear_1.w_0" = Constant <value = float[2,2] {5,6,7,8}> ()
            ["MatMul.0"] "p2o.pd_op.matmul.0.0" = MatMul (X, "linear_0.w_0")
            ["Add.0"] "p2o.pd_op.add.0.0" = Add ("p2o.pd_op.matmul.0.0", "p2o.pd_op.reshape.0.0")
            ["MatMul.1"] "linear_1.tmp_0" = MatMul ("p2o.pd_op.add.0.0", "linear_1.w_0")
            ["Mul.0"] Y = Mul ("linear_1.tmp_0", "auto.cast.3")
        }
        """
    )
    assert found["p2o.pd_op.matmul.0.0"] == ("linear_0", "scheme-paddle-weight")
    assert found["linear_1.tmp_0"] is not None and found["linear_1.tmp_0"][0] == "linear_1"
    assert found["linear_1.w_0"] is not None and found["linear_1.w_0"][0] == "linear_1"
    assert found["p2o.pd_op.add.0.0"] is None and found["Y"] is None


def test_blobs_of_caffe2() -> None:
    found = places(
        """
        agraph (float[1,1,4] X) => (float[1,1,4] Y)
        <float[1,1,1] "gpu_0/fire/squeeze_w_0" = {2}, float[1,1,2] "gpu_0/fire/expand_w_0" = {3,1}> {
            "gpu_0/fire/squeeze_1" = Conv (X, "gpu_0/fire/squeeze_w_0")
            "gpu_0/fire/squeeze_2" = Relu ("gpu_0/fire/squeeze_1")
            "gpu_0/pool1_1" = MaxPool <kernel_shape = [1]> ("gpu_0/fire/squeeze_2")
            "gpu_0/fire/expand_1" = Conv ("gpu_0/pool1_1", "gpu_0/fire/expand_w_0")
            Y = Relu ("gpu_0/fire/expand_1")
        }
        """
    )
    assert [place and place[0] for place in found.values()] == ["fire.squeeze"] * 2 + ["pool1", "fire.expand", None]


def test_what_a_fusion_puts_before_the_name_of_a_weight_is_no_part_of_it() -> None:
    kernel, bias = "ConvBnFusion_W_conv2d_{0}.w_0_deepcopy_{0}", "ConvBnFusion_BN_B_batch_norm2d_{0}.b_0_deepcopy_9{0}"
    tensors = [f'float[1,1,1] "{kernel.format(i)}" = {{{i}}}, float[1] "{bias.format(i)}" = {{{i}}}' for i in (1, 2)]
    weights = ", ".join(tensors)
    lines = "\n".join(
        f'["Conv.{i}"] {made} = Conv ({read}, "{kernel.format(i)}", "{bias.format(i)}")'
        for i, read, made in ((1, "X", "a"), (2, "a", "Y"))
    )
    found = places(f"agraph (float[1,1,4] X) => (float[1,1,4] Y) <{weights}> {{\n{lines}\n}}")
    assert [place and place[0] for place in found.values()] == ["conv2d_1", "conv2d_2"]


def test_flat_names_with_the_weights_named_after_them() -> None:
    found = places(
        """
        agraph (float[1,1,4] X) => (float[1,1,4] Y)
        <float[1,1,1] stage1_conv1_weight = {2}, float[1,1,2] "conv2d_1/kernel:0" = {3,1}> {
            [stage1_conv1] a = Conv (X, stage1_conv1_weight)
            [stage1_relu1] b = Relu (a)
            [Relu_7] c = Relu (b)
            [conv2d_1] Y = Conv (c, "conv2d_1/kernel:0")
        }
        """
    )
    assert [place and place[0] for place in found.values()] == ["stage1_conv1", "stage1_relu1", None, "conv2d_1"]


def test_flat_names_where_weights_have_those_of_keras() -> None:
    """Nodes are called as the modules are, which says more than scopes of weights; a pass's node is no module."""
    found = places(
        """
        agraph (float[1,1,4] X) => (float[1,1,4] Y)
        <float[1,1,1] "conv2d/kernel:0" = {2}, float[1,1] p_re_lu_initializer_8 = {0.5},
         float[1,1,1] "conv2d_1/kernel:0" = {3}> {
            [conv2d] a = Conv (X, "conv2d/kernel:0")
            [p_re_lu] b = PRelu (a, p_re_lu_initializer_8)
            [PushTranspose_1] c = Transpose <perm = [0, 1, 2]> (b)
            [conv2d_1] d = Conv (c, "conv2d_1/kernel:0")
            [softmax] Y = Softmax (d)
        }
        """
    )
    assert [place and place[0] for place in found.values()] == ["conv2d", "p_re_lu", None, "conv2d_1", "softmax"]


@pytest.mark.parametrize(
    "names",
    [
        [f"https://models.example.org/zoo/v1/net.html#{i}" for i in range(6)],
        [f"src/kernels/{op}/impl.cc:{i}" for i, op in enumerate(("add", "relu", "add", "relu", "add", "relu"))],
        [f"src/kernels/{op}/{op}_{i}" for i, op in enumerate(("Add", "Relu", "Add", "Relu", "Add", "Relu"))],
        ["Relu/Add_0", "Add/Relu_1", "Relu/Add_2", "Add/Relu_3", "Relu/Add_4", "Add/Relu_5"],
        [f"2024/01/02/{op}" for op in ("Add", "Relu", "Add_1", "Relu_1", "Add_2", "Relu_2")],
        [f"passes/run/{op}_{i}" for i, op in enumerate(("Add", "Relu", "Add", "Relu", "Add", "Relu"))],
        [f"main.aten.{i}" for i in range(6)],
    ],
)
def test_names_that_only_look_like_paths_name_no_module(names: list[str]) -> None:
    lines = [
        f'["{name}"] v{i + 1} = ' + (f"Add (v{i}, v{i})" if i % 2 == 0 else f"Relu (v{i})")
        for i, name in enumerate(names)
    ]
    found = places("agraph (float[4] v0) => (float[4] v6) {\n" + "\n".join(lines) + "\n}")
    assert set(found.values()) == {None}


def test_a_shape_with_a_dotted_name_names_no_module() -> None:
    found = places(
        """
        agraph (float[2,2] X) => (float[4] Y) <int64[1] "head.view.shape" = {4}, float[2,2] "fc.weight" = {1,2,3,4}> {
            a = MatMul (X, "fc.weight")
            Y = Reshape (a, "head.view.shape")
        }
        """
    )
    assert found["Y"] is None and found["a"] is not None


@pytest.mark.parametrize(
    ("operator", "op_type", "fits"),
    [
        ("BiasAdd", "Conv", True),
        ("Relu6", "Clip", True),
        ("mul_1", "Mul", True),
        ("FusedBatchNormV3", "BatchNormalization", True),
        ("mul_1", "Conv", False),
        ("impl.cc", "MatMul", False),
        ("3", "MatMul", False),
    ],
)
def test_operations_fit_operators(operator: str, op_type: str, fits: bool) -> None:
    assert agrees(operator, op_type) is fits


class Braces(Scheme):
    """``{enc}{fc}add``."""

    name = "braces"

    def scope(self, name: str, op_type: str) -> Scope | None:
        *atoms, operator = name.replace("{", "").split("}")
        return Scope(tuple(atoms), operator) if atoms else None


def test_a_third_party_scheme_is_used_and_gives_half_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("braces", f"{__name__}:Braces", catalogue.GROUP)
    monkeypatch.setattr(EntryPoint, "load", lambda self: Braces)
    monkeypatch.setattr(catalogue, "entry_points", lambda group: [point] if group == catalogue.GROUP else [])
    catalogue.schemes.cache_clear()
    try:
        model = make_model(
            """
            agraph (float[4] X) => (float[4] Y) {
                ["{enc}{fc}add"] a = Add (X, X)
                ["{enc}{fc}relu"] b = Relu (a)
                ["{dec}relu"] Y = Relu (b)
            }
            """
        )
        ScopeAttribution().run(model, PassContext())
        held = [node.attribution for node in model.nodes()]
        assert [each and (each.path, each.rule) for each in held] == [
            ("enc.fc", "scheme-braces"),
            ("enc.fc", "scheme-braces"),
            ("dec", "scheme-braces"),
        ]
        assert all(each is not None and each.confidence <= 0.5 for each in held)
    finally:
        catalogue.schemes.cache_clear()


@pytest.mark.parametrize("loaded", [int, "text", ImportError("no such module")])
def test_a_scheme_that_is_none_is_an_error_that_names_it(monkeypatch: pytest.MonkeyPatch, loaded: Any) -> None:
    def load(self: EntryPoint) -> Any:
        if isinstance(loaded, Exception):
            raise loaded
        return loaded

    monkeypatch.setattr(EntryPoint, "load", load)
    monkeypatch.setattr(catalogue, "entry_points", lambda group: [EntryPoint("odd", "pkg:Odd", group)])
    catalogue.schemes.cache_clear()
    try:
        with pytest.raises(PipelineError, match="'odd'"):
            catalogue.schemes()
    finally:
        monkeypatch.undo()
        catalogue.schemes.cache_clear()


_STACKED = """
agraph (float[2,2] X) => (float[2,2] Y)
<float[2,2] "cell_0.w_0" = {1,2,3,4}, float[2,2] "cell_1.w_0" = {4,3,2,1}, float[2,2] "linear_0.w_0" = {1,1,2,2},
 float[2] "helper.reshape.7" = {1,2}, float[2] "helper.reshape.8" = {2,2}, float[2] "auto.cast.9" = {2,3}> {
    ["MatMul.0"] "MatMul.1" = MatMul (X, "cell_0.w_0")
    ["Transpose.0"] "helper.transpose.0" = Transpose ("MatMul.1")
    ["MatMul.2"] "MatMul.3" = MatMul ("helper.transpose.0", "cell_1.w_0")
    ["Transpose.1"] "helper.transpose.1" = Transpose ("MatMul.3")
    ["Identity.0"] "p2o.pd_op.rnn.0.0" = Identity ("helper.transpose.1")
    ["Mul.0"] "Mul.1" = Mul ("p2o.pd_op.rnn.0.0", "helper.reshape.7")
    ["Add.0"] "Add.1" = Add ("Mul.1", "helper.reshape.8")
    ["Sub.0"] "p2o.pd_op.x.0.0" = Sub ("Add.1", "auto.cast.9")
    ["MatMul.4"] Y = MatMul ("p2o.pd_op.x.0.0", "linear_0.w_0")
}
"""


def test_what_a_converter_made_of_one_operation_is_one_modules() -> None:
    """Names of the converter's own neither speak against the scheme nor end an operation."""
    found = places(_STACKED)
    operation = ("MatMul.1", "helper.transpose.0", "MatMul.3", "helper.transpose.1", "p2o.pd_op.rnn.0.0")
    assert {found[value] for value in operation} == {("cell_1", "scheme-paddle-operation")}
    assert found["Y"] == ("linear_0", "scheme-paddle-weight")
    assert found["Mul.1"] is None and found["p2o.pd_op.x.0.0"] is None


def test_operations_with_names_of_the_framework_between_them_are_several() -> None:
    found = places(_STACKED.replace("helper.transpose.0", "p2o.pd_op.transpose.0.0"))
    assert found["MatMul.1"] == ("cell_0", "scheme-paddle-weight")
    assert found["MatMul.3"] == ("cell_1", "scheme-paddle-weight")
