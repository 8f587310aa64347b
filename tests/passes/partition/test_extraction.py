"""Modules cut out: what comes along, what crosses the boundary, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelexport.ir import load_model, save_model
from modelexport.ir.errors import ConfigError, InputError, OutputError
from modelexport.ir.io.reader import from_proto
from modelexport.ir.model import Model
from modelexport.passes.partition import extract, split
from modelexport.passes.partition.extraction import extract_piece
from modelexport.passes.testing import make_model, run_pass

CHAIN = """
    # module: a  my.Block
    # module: a.act  my.Act
    # module: a.unused  my.Act
    # module: b  my.Block
    <ir_version: 10, opset_import: ["" : 18, "com.other" : 1]>
    g (float[N,2] X) => (float[N,2] Y)
        <float[2,2] W = {1, 2, 3, 4}, float[2,2] V = {5, 6, 7, 8}>
    {
        [first] p = MatMul (X, W)      # scope: a
        [between] q = Exp (p)          # scope: .
        [second] r = Relu (q)          # scope: a.act
        [third] s = MatMul (r, V)      # scope: b
        Y = Add (s, p)                 # scope: .
    }
"""


def names(model: Model) -> list[str]:
    return [node.name or node.first_output for node in model.main.nodes]


def test_a_module_with_what_lies_between_its_nodes() -> None:
    whole = make_model(CHAIN)
    before = whole.proto.SerializeToString()
    piece = extract_piece(whole, ["a"])
    assert names(piece.model) == ["first", "between", "second"]
    assert [node.name for node in piece.cut.absorbed] == ["between"]
    assert (piece.model.main.inputs, piece.model.main.outputs) == (["X"], ["p", "r"])
    assert piece.model.main.initializers == ["W"]
    assert [entry.domain for entry in piece.model.proto.opset_import] == [""]
    assert {node.name: node.attribution.path for node in piece.model.nodes() if node.attribution is not None} == {
        "first": "a",
        "between": "",
        "second": "a.act",
    }
    assert [module.path for module in piece.model.modules] == ["a", "a.act", "a.unused"]
    assert whole.proto.SerializeToString() == before
    onnx.checker.check_model(piece.model.proto)


def test_dynamic_dimensions_keep_their_names() -> None:
    piece = extract(make_model(CHAIN), ["b"])
    dims = [[d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in piece.proto.graph.input]
    assert piece.main.inputs == ["r"] and dims == [["N", 2]]


def test_only_whole_segments_of_a_path_count() -> None:
    text = """
        g (float[2] X) => (float[2] Y) {
            [one] p = Relu (X)    # scope: layers.1
            [ten] Y = Exp (p)     # scope: layers.10
        }
    """
    assert names(extract(make_model(text), ["layers.1"])) == ["one"]
    assert names(extract(make_model(text), ["layers"])) == ["one", "ten"]


def test_constants_are_copied_and_never_inputs() -> None:
    text = """
        g (float[2] X) => (float[2] Y, float[2] Z) <float[2] W = {1, 2}> {
            [two] c = Constant <value = float {2.0}> ()    # scope: other
            [scaled] d = Mul (W, c)                       # scope: other
            [mul] p = Mul (X, d)                          # scope: a
            Y = Add (p, d)                                # scope: b
            Z = Neg (d)                                   # scope: other
        }
    """
    piece = extract(make_model(text), ["a"])
    assert names(piece) == ["two", "scaled", "mul"]
    assert (piece.main.inputs, piece.main.outputs, piece.main.initializers) == (["X"], ["p"], ["W"])
    with pytest.raises(ConfigError, match="other: all operators of the module are constant"):
        extract(make_model(text), ["other"])


def test_random_numbers_are_no_constants() -> None:
    text = """
        g () => (float[2] Y) {
            r = RandomNormal <shape = [2]> ()    # scope: noise
            Y = Relu (r)                         # scope: a
        }
    """
    whole = make_model(text)
    assert extract(whole, ["a"]).main.inputs == ["r"]
    assert extract_piece(whole, ["noise"]).random and not extract_piece(whole, ["a"]).random


def test_functions_that_only_a_body_calls_come_along() -> None:
    text = """
        <ir_version: 10, opset_import: ["" : 18, "own" : 1]>
        g (float[2] X, bool C) => (float[2] Y) <float[2] W = {1, 2}> {
            [if] p = If (C) <    # scope: a
                then_branch = t () => (float[2] u) { u = own.twice (X) },
                else_branch = e () => (float[2] v) { v = Add (X, W) }
            >
            Y = own.other (p)        # scope: b
        }
        <domain: "own", opset_import: ["" : 18, "own" : 1]>
        twice (x) => (y) { y = own.inner (x) }
        <domain: "own", opset_import: ["" : 18]>
        inner (x) => (y) { y = Add (x, x) }
        <domain: "own", opset_import: ["" : 18]>
        other (x) => (y) { y = Relu (x) }
    """
    piece = extract(make_model(text), ["a"])
    assert sorted(function.name for function in piece.proto.functions) == ["inner", "twice"]
    assert piece.main.inputs == ["X", "C"] and piece.main.initializers == ["W"]
    onnx.checker.check_model(piece.proto)


CALLS = """
    # module: a  my.Block calls=2
    # module: b  my.Block calls=3
    g (float[2] X) => (float[2] Y) {
        [a0] p = Relu (X)      # scope: a
        [a1] q = Exp (p)       # scope: a
        [b0] r = Neg (q)       # scope: b
        [a2] s = Relu (r)      # scope: a
        [a3] Y = Exp (s)       # scope: a
    }
"""


@pytest.mark.parametrize(
    ("call", "nodes"), [(1, ["a0", "a1"]), (2, ["a2", "a3"]), ("all", ["a0", "a1", "b0", "a2", "a3"])]
)
def test_one_call_of_several(call: int, nodes: list[str]) -> None:
    assert names(extract(make_model(CALLS), ["a"], call=call)) == nodes


@pytest.mark.parametrize(
    ("paths", "call", "message"),
    [
        (["a"], None, r"a: the module runs 2 times: name a call \(1 to 2\), or all"),
        (["a"], 3, "a: there is no call 3: the module runs 2 times"),
        (["b"], 2, "b: its 3 calls can't be told apart"),
        (["."], 2, "there is no call 2: the module runs once"),
        (["c"], None, "no module 'c'; the nearest path is [ab]"),
        ([], None, "no module to extract"),
        (["a"], "first", "call 'first': a call is a number from 1, or all"),
        (["a"], True, "call True: a call is a number from 1, or all"),
    ],
)
def test_what_can_not_be_cut_out_is_said(paths: list[str], call: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        extract(make_model(CALLS), paths, call=call)


def test_a_single_path_may_be_a_string() -> None:
    model = make_model(CHAIN)
    assert names(extract(model, "b")) == names(extract(model, ["b"])) == ["third"]
    assert [names(stage) for stage in split(model, "b")] == [names(stage) for stage in split(model, ["b"])]


def test_the_nearest_path_shares_the_most_segments() -> None:
    with pytest.raises(ConfigError, match=r"the nearest path is a\.act"):
        extract(make_model(CHAIN), ["a.axt"])
    with pytest.raises(ConfigError, match=r"a\.unused: the module has no operator"):
        extract(make_model(CHAIN), ["a.unused"])


def test_a_module_in_a_body_names_the_module_that_runs_it() -> None:
    text = """
        g (float[2] X, bool C) => (float[2] Y) {
            [if] Y = If (C) <    # scope: a
                then_branch = t () => (float[2] u) {
                    u = Relu (X)    # scope: a.inner
                },
                else_branch = e () => (float[2] v) {
                    v = Exp (X)     # scope: a
                }
            >
        }
    """
    with pytest.raises(ConfigError, match=r"a\.inner: the module runs inside a body of If 'if'; extract a"):
        extract(make_model(text), ["a.inner"])
    assert names(extract(make_model(text), ["a"])) == ["if"]


def test_the_root_is_the_whole() -> None:
    whole = make_model(CHAIN)
    piece = extract(whole, ["."])
    assert names(piece) == names(whole)
    assert (piece.main.inputs, piece.main.outputs) == (whole.main.inputs, whole.main.outputs)


def test_an_unknown_element_type_names_the_value() -> None:
    node = helper.make_node("Mystery", ["X"], ["m"], domain="nobody")
    last = helper.make_node("Mystery", ["m"], ["Y"], domain="nobody")
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "XY"]
    proto = helper.make_model(
        helper.make_graph([node, last], "g", value[:1], value[1:]), opset_imports=[helper.make_opsetid("nobody", 1)]
    )
    model = load_model(proto.SerializeToString())
    run_pass("fallback-tagging", model)
    first, second = model.main.nodes
    from modelexport.ir.attribution import Attribution, Source

    first.attribute_to(Attribution("a", Source.SCOPE, "given", 1.0, by="test"))
    second.attribute_to(Attribution("b", Source.SCOPE, "given", 1.0, by="test"))
    with pytest.raises(InputError, match="element type of value 'm' is not known"):
        extract(model, ["a"])


def external(folder: Path) -> Path:
    """Two products whose weights are in one data file."""
    arrays = [np.arange(4096, dtype=np.float32).reshape(64, 64) + n for n in range(2)]
    nodes = [
        helper.make_node("MatMul", ["X", "w0"], ["p"], "/a/MatMul"),
        helper.make_node("MatMul", ["p", "w1"], ["Y"]),
    ]
    nodes[1].name = "/b/MatMul"
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 64]) for name in "XY"]
    weights = [numpy_helper.from_array(array, f"w{n}") for n, array in enumerate(arrays)]
    proto = helper.make_model(helper.make_graph(nodes, "g", value[:1], value[1:], weights), ir_version=10)
    onnx.save_model(proto, folder / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    return folder / "m.onnx"


def test_only_the_needed_external_data_is_copied(tmp_path: Path) -> None:
    source = external(tmp_path)
    before = (tmp_path / "m.data").read_bytes()
    save_model(extract(source, ["b"]), tmp_path / "b.onnx")
    assert (tmp_path / "b.onnx.data").stat().st_size == 64 * 64 * 4
    loaded = onnx.load(tmp_path / "b.onnx")
    assert np.array_equal(numpy_helper.to_array(loaded.graph.initializer[0]), np.arange(4096).reshape(64, 64) + 1)
    assert (tmp_path / "m.data").read_bytes() == before
    save_model(extract(source, ["b"]), tmp_path / "b.onnx", external_data="embed")
    assert not onnx.load(tmp_path / "b.onnx", load_external_data=False).graph.initializer[0].external_data


def test_data_of_the_whole_is_never_replaced(tmp_path: Path) -> None:
    source = external(tmp_path)
    (tmp_path / "m.data").rename(tmp_path / "b.onnx.data")
    proto = onnx.load(source, load_external_data=False)
    for tensor in proto.graph.initializer:
        for entry in tensor.external_data:
            entry.value = "b.onnx.data" if entry.key == "location" else entry.value
    source.write_bytes(proto.SerializeToString())
    before = (tmp_path / "b.onnx.data").read_bytes()
    with pytest.raises(OutputError, match="its data would replace"):
        save_model(extract(source, ["b"]), tmp_path / "b.onnx")
    assert (tmp_path / "b.onnx.data").read_bytes() == before and not (tmp_path / "b.onnx").exists()


def test_the_pass_keeps_the_module() -> None:
    model = make_model(CHAIN)
    result = run_pass("extract-module{paths=a}", model)
    assert names(model) == ["first", "between", "second"] and result.changed == 2
    assert all(node.graph.model is model for node in model.nodes())


@pytest.mark.parametrize("number", [0, 99])
def test_an_element_type_that_there_is_not_is_unknown(number: int) -> None:
    proto = make_model("""
        g (float[2] X) => (float[2] Y) {
            ["/one/Foo"] a = Foo (X)
            ["/two/Relu"] Y = Relu (a)
        }
    """).proto
    proto.graph.value_info.append(onnx.helper.make_tensor_value_info("a", 1, [2]))
    assert extract(from_proto(proto), ["two"]).main.inputs == ["a"]
    proto.graph.value_info[0].type.tensor_type.elem_type = number
    with pytest.raises(InputError, match="the element type of value 'a' is not known"):
        extract(from_proto(proto), ["two"])
