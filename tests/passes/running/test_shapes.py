"""Shapes and counts of every node's executions, against models whose numbers are known."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelexport.ir.errors import InputError
from modelexport.ir.io.reader import from_proto, load_model
from modelexport.passes.running.inputs import make_inputs, read_npz, resolved_shapes
from modelexport.passes.running.named_copy import named_copy, nodes_of
from modelexport.passes.running.shapes import find_shapes
from modelexport.passes.running.values import Value


def parsed(text):
    return from_proto(onnx.parser.parse_model(text))


STATIC = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[2,3] x) => (float[2,3] y) <float[2,3] a> { [r] a = Relu(x) [n] y = Neg(a) }
"""
DYNAMIC = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[batch,3] x, float[batch,1] z) => (float[batch,3] y) { [r] a = Relu(x) [n] y = Mul(a, z) }
"""
LOOP = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[2,3] x, int64 times, bool c) => (float[2,3] y) {
  [loop] s = Loop(times, , x) <body = b (int64 i, bool go, float[2,3] h) => (bool out, float[2,3] k) {
    out = Identity(go)
    Relu_0 = Relu(h)
    k = Neg(Relu_0)
  }>
  [branch] y = If(c) <then_branch = t () => (float[2,3] t1) { t1 = Abs(s) },
                      else_branch = e () => (float[2,3] e1) { e0 = Exp(s) e1 = Relu(e0) }>
}
"""
CALLS = """
<ir_version: 8, opset_import: ["" : 17, "my": 1]>
g (float[2,3] x) => (float[4,3] y) {
  [one] a = my.f(x)
  b = Concat<axis = 0>(a, a)
  [two] y = my.f(b)
}
<domain: "my", opset_import: ["" : 17, "my": 1]>
f (x) => (y) { [in] z = Relu(x) [deep] y = my.g(z) }
<domain: "my", opset_import: ["" : 17]>
g (x) => (y) { y = Exp(x) }
"""


def executed(found):
    """(operator, count, shape of the first output) of each execution."""
    return [
        (found.instances[name].node.op_type, each.count, each.outputs[0].dims)
        for name, executions in found.executions.items()
        for each in executions
    ]


def test_a_file_with_every_shape_is_taken_as_it_is():
    found = find_shapes(parsed(STATIC))
    assert (found.source, found.complete) == ("static", True)
    assert executed(found) == [("Relu", 1, (2, 3)), ("Neg", 1, (2, 3))]


def test_free_dimensions_are_given_or_one_and_inferred():
    found = find_shapes(parsed(DYNAMIC), shapes={"x": (5, 3)})
    assert (found.source, found.inputs) == ("inferred", {"x": (5, 3), "z": (5, 1)})
    assert executed(found) == [("Relu", 1, (5, 3)), ("Mul", 1, (5, 3))]
    assert find_shapes(parsed(DYNAMIC)).inputs == {"x": (1, 3), "z": (1, 1)}


@pytest.mark.parametrize("taken", [True, False])
def test_a_run_tells_how_often_bodies_run(taken):
    model = parsed(LOOP)
    arrays = {"times": np.array(3), "c": np.array(taken)}
    without = find_shapes(model, arrays, may_run=False)
    assert not without.complete
    assert {each.count for name in without.executions for each in without.executions[name]} == {1, None}
    found = find_shapes(model, arrays)
    assert (found.source, found.complete) == ("run", True)
    counts = [(op, count) for op, count, _ in executed(found)]
    branch = [("Abs", 1)] if taken else [("Exp", 1), ("Relu", 1)]
    assert counts == [("Loop", 1), ("If", 1), ("Identity", 3), ("Relu", 3), ("Neg", 3), *branch]


def test_a_loop_of_known_length_needs_no_run():
    model = parsed(
        LOOP.replace("int64 times, ", "")
        .replace("bool c)", "bool c)")
        .replace("[loop]", "times = Constant<value_int = 4>() [loop]")
        .replace("bool c", "float[1] q")
        .replace("[branch] y = If(c)", "c = Constant<value = bool {0}>() [branch] y = If(c)")
    )
    found = find_shapes(model, may_run=False)
    counts = {op: count for op, count, _ in executed(found) if op in ("Neg", "Exp", "Abs")}
    assert counts == {"Neg": 4, "Exp": 1}


def test_functions_count_at_each_call():
    found = find_shapes(parsed(CALLS))
    assert [each for each in executed(found) if each[0] in ("Relu", "Exp")] == [
        ("Relu", 1, (2, 3)),
        ("Exp", 1, (2, 3)),
        ("Relu", 1, (4, 3)),
        ("Exp", 1, (4, 3)),
    ]
    calls = [[call.name for call in each.calls] for each in found.instances.values() if each.node.op_type == "Exp"]
    assert calls == [["one", "deep"], ["two", "deep"]]


def test_every_name_of_the_copy_is_unique_and_known():
    for text in (STATIC, LOOP, CALLS):
        copy = named_copy(parsed(text))
        names = [node.name for node in nodes_of(copy.proto.graph)]
        assert len(set(names)) == len(names)
        assert set(names) <= set(copy.instances)
        onnx.checker.check_model(copy.proto)
    names = [node.name for node in nodes_of(named_copy(parsed(STATIC)).proto.graph)]
    assert names == ["r", "n"]


def test_the_model_is_left_alone():
    model = parsed(CALLS)
    before = model.proto.SerializeToString()
    find_shapes(model)
    assert model.proto.SerializeToString() == before


def test_absent_slots_and_optional_outputs_are_aligned():
    model = parsed("""
    <ir_version: 8, opset_import: ["" : 17]>
    g (float[batch,4,8] x, int64[2] sizes) => (float[m,n,k,l] y) <float[8] zero> {
      r = Reshape(x, sizes)
      [resize] y = Resize<mode = "nearest">(x4, , scales)
      x4 = Unsqueeze(x, axis)
    }
    """)
    graph = model.proto.graph
    nodes = [graph.node[2], graph.node[1]]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.append(numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales"))
    graph.initializer.append(numpy_helper.from_array(np.array([0]), "axis"))
    del graph.input[1]
    found = find_shapes(from_proto(model.proto), shapes={"x": (3, 4, 8)})
    execution = found.executions["resize"][0]
    assert [None if v is None else v.dims for v in execution.inputs] == [(1, 3, 4, 8), None, (4,)]
    assert execution.outputs[0].dims == (1, 3, 8, 16)


def test_operators_that_inference_does_not_know_are_seen_in_a_run():
    node = helper.make_node("Gelu", ["x"], ["h"], domain="com.microsoft", name="gelu")
    last = helper.make_node("Neg", ["h"], ["y"], name="neg")
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["b", 4]) for n in "xy")
    proto = helper.make_model(
        helper.make_graph([node, last], "g", [x], [y]),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)],
        ir_version=8,
    )
    found = find_shapes(from_proto(proto), shapes={"x": (3, 4)})
    assert found.source == "run"
    assert executed(found) == [("Gelu", 1, (3, 4)), ("Neg", 1, (3, 4))]


def test_a_model_that_can_not_run_says_why():
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["b"]) for n in "xy")
    node = helper.make_node("Foo", ["x"], ["y"], domain="of.mine")
    proto = helper.make_model(
        helper.make_graph([node], "g", [x], [y]),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("of.mine", 1)],
        ir_version=8,
    )
    found = find_shapes(from_proto(proto))
    assert (found.source, found.complete) == ("inferred", False)
    assert "Foo" in found.problems[-1]


def test_half_precision_keeps_its_type_though_the_kernel_runs_in_single():
    proto = onnx.parser.parse_model("""
    <ir_version: 8, opset_import: ["" : 17]>
    g (float16[n,3] x) => (float16[n,3] y) { [s] z = Sin(x) [m] y = Mul(z, z) }
    """)
    proto.graph.node[0].op_type = "Softmax"
    proto.graph.node[0].domain = ""
    found = find_shapes(from_proto(proto), shapes={"x": (2, 3)})
    assert found.executions["m"][0].outputs[0] == Value(TensorProto.FLOAT16, (2, 3))
    assert found.executions["m"][0].outputs[0].nbytes == 12


def test_external_weights_are_found_beside_the_file(tmp_path):
    node = helper.make_node("Gelu", ["w"], ["h"], domain="com.microsoft", name="gelu")
    add = helper.make_node("Add", ["h", "x"], ["y"], name="add")
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["b", 2000]) for n in "xy")
    weight = numpy_helper.from_array(np.ones((3, 2000), np.float32), "w")
    proto = helper.make_model(
        helper.make_graph([node, add], "g", [x], [y], [weight]),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)],
        ir_version=8,
    )
    onnx.save(proto, tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    found = find_shapes(load_model(tmp_path / "m.onnx"))
    assert (found.source, found.problems) == ("run", [])
    assert found.executions["gelu"][0].outputs[0].dims == (3, 2000)


def test_packed_types_have_the_bytes_they_take():
    assert Value(TensorProto.UINT4, (3,)).nbytes == 2
    assert Value(TensorProto.BFLOAT16, (3,)).nbytes == 6
    assert Value(TensorProto.FLOAT8E4M3FN, (3,)).nbytes == 3
    assert Value(TensorProto.FLOAT, (3,)).nbytes == 12
    assert Value(TensorProto.BOOL, (3,)).nbytes == 3
    assert Value(TensorProto.STRING, (3,)).nbytes is None


def test_inputs_are_made_as_documented():
    model = parsed("""
    <ir_version: 8, opset_import: ["" : 17]>
    g (float[batch,3] x, int64[batch] i, bool[2] b, float16[1] h) => (float[batch,3] y) { y = Identity(x) }
    """)
    made = make_inputs(model, shapes={"x": (2, 3)}, seed=4)
    assert {name: (a.shape, a.dtype.name) for name, a in made.items()} == {
        "x": ((2, 3), "float32"),
        "i": ((2,), "int64"),
        "b": ((2,), "bool"),
        "h": ((1,), "float16"),
    }
    assert made["i"].tolist() == [1, 1]
    assert made["b"].all()
    again = make_inputs(model, shapes={"x": (2, 3)}, seed=4)
    assert np.array_equal(made["x"], again["x"])
    assert not np.array_equal(made["x"], make_inputs(model, shapes={"x": (2, 3)})["x"])
    given = np.full((1, 3), 7, np.float32)
    assert np.array_equal(make_inputs(model, {"x": given}, {"x": (2, 3)})["x"], given)


@pytest.mark.parametrize(
    ("arrays", "shapes", "message"),
    [
        ({"nix": np.zeros(1)}, {}, "no input 'nix'"),
        ({}, {"nix": (1,)}, "no input 'nix'"),
        ({}, {"x": (1, 2, 3)}, "has 2 dimensions, not 3"),
        ({}, {"x": (2, 4)}, "dimension 1 is 3 in the model, not 4"),
        ({"x": np.zeros((2, 3))}, {}, "is float, not float64"),
        ({"x": np.zeros(3, np.float32)}, {}, "has 2 dimensions, not 1"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(arrays, shapes, message):
    with pytest.raises(InputError, match=message):
        find_shapes(parsed(DYNAMIC), arrays, shapes)


def test_inputs_are_never_unpickled(tmp_path):
    np.savez(tmp_path / "p.npz", x=np.array([{}], dtype=object))
    with pytest.raises(InputError, match="pickled"):
        read_npz(tmp_path / "p.npz")
    (tmp_path / "junk.npz").write_bytes(b"PK junk")
    for name in ("junk.npz", "missing.npz"):
        with pytest.raises(InputError, match=name):
            read_npz(tmp_path / name)
    np.save(tmp_path / "one.npy", np.zeros(2))
    with pytest.raises(InputError, match="not an npz file"):
        read_npz(tmp_path / "one.npy")


def test_inputs_of_unknown_rank_must_be_given():
    proto = onnx.parser.parse_model(STATIC)
    proto.graph.input[0].type.tensor_type.ClearField("shape")
    model = from_proto(proto)
    assert resolved_shapes(model) == {}
    with pytest.raises(InputError, match="give --input-shape"):
        make_inputs(model)
    assert find_shapes(model, shapes={"x": (2, 3)}).complete


def test_small_tensors_in_files_of_their_own_are_read_for_inference(tmp_path):
    """onnxruntime can't read them for a model in memory, and onnx's inference never does."""
    reshape = helper.make_node("Reshape", ["x", "to"], ["r"])
    gelu = helper.make_node("Gelu", ["r"], ["y"], domain="com.microsoft")
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in "xy")
    x.type.tensor_type.shape.dim.add(dim_param="b")
    target = numpy_helper.from_array(np.array([2, 6]), "to")
    proto = helper.make_model(
        helper.make_graph([reshape, gelu], "g", [x], [y], [target]),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)],
        ir_version=8,
    )
    onnx.save(proto, tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    found = find_shapes(load_model(tmp_path / "m.onnx"), shapes={"x": (12,)})
    assert (found.source, found.problems) == ("run", [])
    assert [each[2] for each in executed(found)] == [(2, 6), (2, 6)]


def test_a_file_that_became_another_is_not_run(tmp_path):
    def chained(*op_types):
        names = ["x", *(f"v{i}" for i in range(len(op_types) - 1)), "y"]
        nodes = [
            helper.make_node(
                op, [names[i]], [names[i + 1]], name=f"n{i}", domain="com.microsoft" if op == "Gelu" else ""
            )
            for i, op in enumerate(op_types)
        ]
        x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [s]) for n, s in (("x", 3), ("y", None)))
        imports = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(helper.make_graph(nodes, "g", [x], [y]), opset_imports=imports, ir_version=8)

    path = tmp_path / "m.onnx"
    onnx.save(chained("Gelu", "Relu"), path)
    model = load_model(path)
    onnx.save(chained("Gelu", "Relu", "Neg"), path)
    found = find_shapes(model)
    assert found.complete
    assert [op for op, _, _ in executed(found)] == ["Gelu", "Relu"]
