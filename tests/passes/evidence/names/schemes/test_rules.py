"""One case for each rule of a naming scheme: names as exporters other than torch's make them."""

from __future__ import annotations

from modelexport.passes.testing import check, make_model, run_pass

PASS = "scope-attribution"
TENSORFLOW = """
    agraph (float[2,4] X) => (float[2,4] Y)
    <float[4,4] "net/fc/MatMul/ReadVariableOp:0" = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}> {
        ["net/fc/MatMul"] a = MatMul (X, "net/fc/MatMul/ReadVariableOp:0")
        ["net/fc/BiasAdd"] b = Add (a, X)
        ["net/fc/BiasAdd__7"] c = Transpose (b)
        ["net/act/Relu"] Y = Relu (c)
    }
"""
JAX = """
    agraph (float[2,2] X) => (float[2,2] Y) {
        ["jax2tf__lambda__/Net/block/query/pjit_add_/AddV2"] a = Add (X, X)
        ["jax2tf__lambda__/Net/block/query/Mul"] b = Mul (a, X)
        ["jax2tf__lambda__/Net/block/query/Mul__12"] c = Transpose (b)
        ["jax2tf__lambda__/Net/block/ff/Add"] Y = Add (c, X)
    }
"""
LITE = """
    agraph (float[1,1,4] X) => (float[1,1,4] Y) <float[1,1,1] w = {2}, float[1,1,1] v = {3}> {
        ["m/act/Relu;m/stem/BiasAdd;m/other/Conv2D;m/stem/Conv2D1"] a = Conv (X, w)
        ["m/add/add"] b = Add (a, X)
        ["m/other/BiasAdd;m/other/Conv2D"] c = Conv (b, v)
        ["m/pool/MaxPool"] Y = MaxPool <kernel_shape = [1]> (c)
    }
"""
PADDLE = """
    agraph (float[2,2] X) => (float[2,2] Y)
    <float[2,2] "linear_0.w_0" = {1,2,3,4}, float[2,2] "linear_1.w_0" = {5,6,7,8}, float[2] scale = {1,2},
     int64[1] axes = {1}> {
        ["MatMul.0"] "p2o.pd_op.matmul.0.0" = MatMul (X, "linear_0.w_0")
        ["ReduceMean.0"] m = ReduceMean ("p2o.pd_op.matmul.0.0", axes)
        ["Sub.0"] d = Sub ("p2o.pd_op.matmul.0.0", m)
        ["Mul.0"] "p2o.pd_op.layer_norm.0.0" = Mul (d, scale)
        ["MatMul.1"] "p2o.pd_op.matmul.1.0" = MatMul ("p2o.pd_op.layer_norm.0.0", "linear_1.w_0")
        Y = Relu ("p2o.pd_op.matmul.1.0")
    }
"""


def test_rule_scheme_tensorflow() -> None:
    check(PASS, TENSORFLOW, "a net.fc scope/scheme-tensorflow\nY net.act scope/scheme-tensorflow\n...")


def test_rule_scheme_tensorflow_helper() -> None:
    """The converter's own operators are named after the operation that they help."""
    check(PASS, TENSORFLOW, "c net.fc scope/scheme-tensorflow-helper\n...")


def test_rule_scheme_jax() -> None:
    check(PASS, JAX, "a Net.block.query scope/scheme-jax\nY Net.block.ff scope/scheme-jax\n...")


def test_rule_scheme_jax_helper() -> None:
    check(PASS, JAX, "c Net.block.query scope/scheme-jax-helper\n...")


def test_rule_scheme_tflite() -> None:
    check(PASS, LITE, "a m.stem scope/scheme-tflite\nc m.other scope/scheme-tflite\n...")


def test_rule_scheme_paddle_weight() -> None:
    expected = "p2o.pd_op.matmul.0.0 linear_0 parameter/scheme-paddle-weight\n..."
    check(PASS, PADDLE, expected)


def test_rule_scheme_paddle_order() -> None:
    """Where a normalisation's weights bear no name, its number among its like is all that is left."""
    check(PASS, PADDLE, "p2o.pd_op.layer_norm.0.0 layer_norm_0 scope/scheme-paddle-order\n...")


def test_rule_norm_order() -> None:
    """What normalises before an operator that only a number names is that module's."""
    model = make_model(PADDLE)
    run_pass(PASS, model)
    check("context-inheritance", model, "m layer_norm_0 inherited/norm-order\nd layer_norm_0 inherited/norm-order\n...")
