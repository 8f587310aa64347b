"""A fault is blamed on the module that makes it, and on no other."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelexport.analysis import compare_values
from modelexport.analysis.divergence.error import deviation, odd_values
from modelexport.analysis.divergence.module_outputs import ModuleReference
from modelexport.analysis.divergence.result import Divergence
from modelexport.ir import load_model
from modelexport.ir.errors import InputError
from modelexport.ir.model import Model
from modelexport.passes.selection import Selector
from modelexport.passes.testing import make_model

pytest.importorskip("onnxruntime")
TEXT = """
    <ir_version: 10, opset_import: ["" : 18]>
    g (float[N,4] X) => (float[N,4] Y)
        <float[4] W = {1, 2, 3, 4}, float[4] V = {4, 3, 2, 1}, float three = {3}>
    {
        [a0] p = Mul (X, W)                      # scope: a
        [a1] q = Softmax <axis = 1> (p)          # scope: a.soft
        [b0] r = Sub (q, p)                      # scope: b
        [b1] s = Mul (r, V)                      # scope: b.scale
        [c0] t = Pow (s, three)                    # scope: c
        Y = Add (t, q)                           # scope: .
    }
"""
SHAPES = {"X": (3, 4)}


def compared(old: str, new: str, **options: object) -> Divergence:
    return compare_values(make_model(TEXT), make_model(TEXT.replace(old, new)), shapes=SHAPES, **options)  # type: ignore[arg-type]


def statuses(found: Divergence) -> dict[str, str]:
    return {module.path: module.status for module in found.modules}


@pytest.mark.parametrize(
    ("old", "new", "path", "weights"),
    [
        ("{4, 3, 2, 1}", "{4, 3, 2, 9}", "b.scale", ("V",)),
        ("axis = 1", "axis = 0", "a.soft", ()),
        ("Sub (q, p)", "Sub (p, q)", "b", ()),
        ("float three = {3}", "float three = {2}", "c", ("three",)),
        ("Add (t, q)", "Add (t, p)", "", ()),
    ],
)
def test_one_fault_is_named_alone(old: str, new: str, path: str, weights: tuple[str, ...]) -> None:
    found = compared(old, new)
    assert found.first is not None and not found.agree
    assert (found.first.path, found.first.suspects, found.first.changed_weights) == (path, (path,), weights)
    assert found.diverging == [path] and found.first.introduced > 1e-3
    [output] = found.outputs
    assert output.error is not None and output.error > 1e-3


def test_what_follows_a_fault_only_carries_it() -> None:
    found = compared("axis = 1", "axis = 0")
    assert statuses(found) == {
        "a.soft": "diverges", "a": "agrees", "b": "carries", "b.scale": "carries", "c": "carries", "": "carries",
    }  # fmt: skip
    assert found.modules[0].path == "a.soft" and found.modules[0].values == 1


def test_two_faults_are_both_found() -> None:
    other = TEXT.replace("axis = 1", "axis = 0").replace("{4, 3, 2, 1}", "{4, 3, 2, 9}")
    found = compare_values(make_model(TEXT), make_model(other), shapes=SHAPES)
    assert set(found.diverging) == {"a.soft", "b.scale"} and found.first is not None and found.first.path == "a.soft"
    assert {str(Selector.parse(part)) for part in found.selector().split(" or ")} == {"at:a.soft", "at:b.scale"}


def test_equal_models_agree_and_say_how_well() -> None:
    found = compared("", "")
    assert found.agree and found.largest_agreeing == 0 and found.compared_values == 6 and not found.unmatched_values
    assert set(statuses(found).values()) == {"agrees"}


def test_a_fused_value_has_the_modules_of_all_that_it_was_made_of_as_suspects() -> None:
    fused = TEXT.replace("[b1] s = Mul (r, V)                      # scope: b.scale", "")
    fused = fused.replace("[b0] r = Sub (q, p)                      # scope: b", "[f] s = Mul (X, V)    # scope: b")
    found = compare_values(make_model(TEXT), make_model(fused), shapes=SHAPES)
    assert found.first is not None
    assert (found.first.path, set(found.first.suspects)) == ("b.scale", {"b.scale", "b"})
    assert statuses(found)["b"] == "not compared" and found.unmatched_values == 1


def test_a_weight_that_changed_decides_between_suspects() -> None:
    other = TEXT.replace("p = Mul (X, W)", "k = Mul (X, W)").replace("Softmax <axis = 1> (p)", "Softmax <axis = 1> (k)")
    other = other.replace("Sub (q, p)", "Sub (q, k)").replace("{1, 2, 3, 4}", "{1, 2, 3, 9}")
    found = compare_values(make_model(TEXT), make_model(other), shapes=SHAPES)
    assert found.first is not None
    assert (found.first.path, found.first.changed_weights, found.first.suspects[0]) == ("a", ("W",), "a")


def test_the_tolerance_follows_the_precision_of_the_candidate() -> None:
    half = TEXT.replace(
        "[c0] t = Pow (s, three)                    # scope: c",
        "h = Cast <to = 10> (s)    # scope: c\n i = Pow (h, three)    # scope: c\n t = Cast <to = 1> (i)    # scope: c",
    )
    found = compare_values(make_model(TEXT), make_model(half), shapes=SHAPES)
    assert found.agree and 1e-5 < found.largest_agreeing < 1e-2
    assert not compare_values(make_model(TEXT), make_model(half), shapes=SHAPES, rtol=1e-6).agree


def test_values_that_quantisers_dequantised_again_count() -> None:
    quantised = TEXT.replace(
        "[b1] s = Mul (r, V)",
        'u = QuantizeLinear (r, step, zero)    # scope: b\n"r_DequantizeLinear_Output" = '
        'DequantizeLinear (u, step, zero)    # scope: b\n[b1] s = Mul ("r_DequantizeLinear_Output", V)',
    ).replace("float three = {3}", "float three = {3}, float step = {0.1}, uint8 zero = {128}")
    found = compare_values(make_model(TEXT), make_model(quantised), shapes=SHAPES)
    row = next(module for module in found.modules if module.path == "b")
    assert row.values == 2 and row.introduced is not None and 1e-3 < row.introduced < 5e-2 and found.agree


def test_the_first_value_that_is_not_finite() -> None:
    found = compared("Softmax <axis = 1> (p)", "Log (p)")
    assert found.not_finite is not None
    assert (found.not_finite.path, found.not_finite.value, found.not_finite.in_reference) == ("a.soft", "q", False)
    both = TEXT.replace("Softmax <axis = 1> (p)", "Log (p)")
    found = compare_values(make_model(both), make_model(both), shapes=SHAPES)
    assert found.not_finite is not None and found.not_finite.in_reference and found.agree


def test_random_values_are_put_in_and_not_compared() -> None:
    text = """
        g (float[4] X) => (float[4] Y) {
            n = RandomNormalLike (X)    # scope: noise
            Y = Add (X, n)              # scope: a
        }
    """
    found = compare_values(make_model(text), make_model(text))
    assert found.agree and statuses(found) == {"a": "agrees", "noise": "not compared"}


def test_inputs_in_other_orders_and_types() -> None:
    half = make_model(TEXT).proto
    half.graph.input[0].name = "renamed"
    half.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    half.graph.node.insert(0, helper.make_node("Cast", ["renamed"], ["X"], to=TensorProto.FLOAT))
    found = compare_values(make_model(TEXT), load_model(half.SerializeToString()), shapes=SHAPES, rtol=1e-2)
    assert found.agree and found.compared_values == 6


def test_models_that_have_nothing_in_common() -> None:
    other = make_model("g (float[4] Z) => (float[4] U) {\n U = Relu (Z)    # scope: a\n}")
    with pytest.raises(InputError, match="does not take the shape"):
        compare_values(make_model(TEXT), other, shapes=SHAPES)
    other = make_model("g (float[N,4] X) => (float[N,4] U) {\n U = Relu (X)    # scope: a\n}")
    with pytest.raises(InputError, match="nothing can be compared"):
        compare_values(make_model(TEXT), other, shapes=SHAPES)


@pytest.mark.parametrize(
    ("candidate", "reference", "relative", "largest"),
    [
        (np.float32([3, 4]), np.float32([3, 4]), 0.0, 0.0),
        (np.float32([3, 5]), np.float32([3, 4]), 0.2, 1.0),
        (np.float32([0, 2]), np.float32([0, 0]), 2.0, 2.0),
        (np.float32([np.nan, 1]), np.float32([np.nan, 1]), 0.0, 0.0),
        (np.float32([np.nan, 1]), np.float32([2, 1]), math.inf, math.inf),
        (np.float32([np.inf, 1]), np.float32([-np.inf, 1]), math.inf, math.inf),
        (np.int64([1, 2, 3, 9]), np.int64([1, 2, 3, 4]), 0.25, 5.0),
        (np.array([True, False]), np.array([True, True]), 0.5, 1.0),
        (np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32), 0.0, 0.0),
        (np.float16([60000, 60000]), np.float32([60000, 60000]), 0.0, 0.0),
    ],
)
def test_deviation(candidate: np.ndarray, reference: np.ndarray, relative: float, largest: float) -> None:
    found = deviation(candidate, reference)
    assert (found.relative, found.max_abs) == (pytest.approx(relative), pytest.approx(largest))


def test_odd_values() -> None:
    assert [odd_values(np.float32(x)) for x in ([1, 2], [1, np.inf], [np.inf, np.nan])] == ["", "inf", "nan"]


def outputs_of(
    model: Model, values: dict[str, tuple[str, int]], memory: int
) -> tuple[ModuleReference, dict[str, np.ndarray]]:
    """A reference as modules would give it: the values of the graph under the paths of modules."""
    import onnxruntime

    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    del proto.graph.output[:]
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in values)
    arrays = {"X": np.random.default_rng(0).standard_normal((3, 4), np.float32)}
    found = onnxruntime.InferenceSession(proto.SerializeToString()).run(list(values), arrays)
    reference = ModuleReference("model", memory)
    for (path, call), array in zip(values.values(), found, strict=True):
        reference.add(path, call, [array])
    return reference, arrays


@pytest.mark.parametrize("memory", [0, 1 << 20])
def test_outputs_of_modules_are_a_reference(memory: int) -> None:
    whole = (
        "# module: a  my.A\n# module: a.soft  my.S\n# module: b  my.B\n# module: b.scale  my.C\n# module: c  my.P"
        + TEXT
    )
    values = {"q": ("a.soft", 1), "p": ("a", 1), "r": ("b", 1), "s": ("b.scale", 1), "t": ("c", 1), "Y": ("", 1)}
    reference, arrays = outputs_of(make_model(whole), values, memory)
    fine = compare_values(reference, make_model(whole), inputs=arrays)
    assert fine.agree and fine.compared_values >= 5 and fine.outputs[0].error == 0
    wrong = compare_values(reference, make_model(whole.replace("{4, 3, 2, 1}", "{4, 3, 2, 9}")), inputs=arrays)
    reference.close()
    assert wrong.first is not None and wrong.first.path == "b.scale" and wrong.diverging == ["b.scale"]


def test_a_changed_weight_in_a_file_of_its_own(tmp_path: Path) -> None:
    proto = make_model(TEXT).proto
    for name, factor in (("a.onnx", 1.0), ("b.onnx", 2.0)):
        edited = onnx.ModelProto()
        edited.CopyFrom(proto)
        array = numpy_helper.to_array(edited.graph.initializer[1]) * np.float32(factor)
        edited.graph.initializer[1].CopyFrom(numpy_helper.from_array(array, "V"))
        for index, path in enumerate(["a", "a.soft", "b", "b.scale", "c", ""]):
            edited.graph.node[index].metadata_props.add(key="pkg.torch.onnx.name_scopes", value=str(["", path]))
        onnx.save_model(edited, tmp_path / name, save_as_external_data=True, location=f"{name}.data", size_threshold=0)
    found = compare_values(tmp_path / "a.onnx", tmp_path / "b.onnx", shapes=SHAPES)
    assert found.first is not None and found.first.value == "s" and found.first.changed_weights == ("V",)
