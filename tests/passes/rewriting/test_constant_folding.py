"""constant-folding: what depends on constants alone becomes a Constant of the same module."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from modelexport.ir.io.writer import to_bytes
from modelexport.passes.testing import check, make_model, run_pass


def test_shape_arithmetic_keeps_its_module_and_its_name() -> None:
    model = check(
        "constant-folding",
        """
        # module: a  my.A
        agraph (float[2,3] X) => (float[N] Y) {
            c = Constant <value_ints: ints = [2]> ()     # scope: b
            [shape] d = Concat <axis = 0> (c, c)         # scope: a
            [product] e = Mul (d, d)                     # scope: a
            Y = Expand (X, e)                            # scope: b
        }
        """,
        """
        product   a   scope
        Y         b   scope
        """,
    )
    constant = model.main.nodes[0]
    assert constant.op_type == "Constant" and constant.outputs == ("e",)
    assert onnx.numpy_helper.to_array(constant.attributes["value"]).tolist() == [4, 4]


@pytest.mark.parametrize(
    "line",
    [
        "e = Mul (f, f)",  # runtimes round differently
        "e = Cast <to = 7> (h)",  # 0.5 as an integer is not the same everywhere
        "e = Relu (f)",
        "e = RandomUniformLike (f)",
        "e = Reshape (X, s)",  # X is not constant
        "e = Reshape (W, s)",  # W is an input that only has a default
        'e = "custom.Reshape" (f, s)',
        "e, z = Split <num_outputs = 2> (f)",
    ],
)
def test_what_stays(line: str) -> None:
    domain = 'opset_import: ["": 18, "custom": 1]'
    line = line.replace('"custom.Reshape"', "custom.Reshape")
    text = f"""
    <ir_version: 8, {domain}>
    agraph (float[2] X, float[2] W) => (float[N] Y) <float[2] W = {{1, 2}}> {{
        f = Constant <value_floats: floats = [1.0, 2.0]> ()    # scope: a
        h = Constant <value_floats: floats = [0.5]> ()         # scope: a
        s = Constant <value_ints: ints = [2, 1]> ()            # scope: a
        {line}    # scope: a
        Y = Add (e, f)    # scope: a
        k = Add (h, s)    # scope: a
    }}
    """
    model = make_model(text)
    before = to_bytes(model)
    result = run_pass("constant-folding", model)
    assert result.changed == 0 and not result.structure_changed
    assert to_bytes(model) == before


def test_large_values_stay() -> None:
    text = """
    agraph (float[N] X) => (float[N] Y) {
        s = Constant <value_ints: ints = [100, 100]> ()    # scope: a
        e = ConstantOfShape (s)    # scope: a
        Y = Add (X, e)    # scope: a
    }
    """
    assert run_pass("constant-folding", make_model(text)).changed == 2
    assert run_pass("constant-folding{max-bytes=1000}", make_model(text)).changed == 0


def test_bodies_see_constants_around_them_and_outputs_stay_equal() -> None:
    model = make_model(
        """
        agraph (bool C, float[4] X) => (float[N,M] Y) <int64[1] two = {2}> {
            four = Concat <axis = 0> (two, two)    # scope: m
            Y = If (C) <    # scope: m
              then_branch = t () => (float[N,M] u) {
                shape = Concat <axis = 0> (two, two)    # scope: m.left
                u = Reshape (X, shape)                  # scope: m.left
              },
              else_branch = e () => (float[N,M] v) {
                v = Reshape (X, four)                   # scope: m.right
              }>
        }
        """
    )
    feeds = {"X": np.arange(4, dtype=np.float32)}
    before = onnx.ModelProto.FromString(to_bytes(model))
    run_pass("constant-folding", model)
    after = onnx.ModelProto.FromString(to_bytes(model))
    onnx.checker.check_model(after)
    assert {node.op_type for node in model.nodes()} == {"Constant", "If", "Reshape"}
    for choice in (True, False):
        inputs = {**feeds, "C": np.array(choice)}
        (old,), (new,) = (ReferenceEvaluator(each).run(None, inputs) for each in (before, after))
        assert np.array_equal(old, new) and old.shape == (2, 2)
    paths = {str(node.attribution.path) for node in model.nodes() if node.attribution}
    assert paths == {"m", "m.left", "m.right"}
