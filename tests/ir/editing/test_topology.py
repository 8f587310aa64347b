"""Cycle detection: what it finds, and that file order and fan-out do not mislead it."""

from __future__ import annotations

import onnx
import onnx.helper as helper
import pytest

from modelexport.ir.editing.topology import find_cycle
from modelexport.ir.errors import InputError
from modelexport.ir.io.reader import from_proto


def proto(*nodes: onnx.NodeProto) -> onnx.ModelProto:
    return helper.make_model(helper.make_graph(list(nodes), "g", [], []))


def test_reversed_order_is_no_cycle() -> None:
    nodes = [helper.make_node("Add", [f"v{i}", f"v{i}"], [f"v{i + 1}"]) for i in range(300)]
    assert find_cycle(from_proto(proto(*reversed(nodes))).main) == []


def test_two_edges_between_two_nodes_count_once() -> None:
    split = helper.make_node("Split", ["x"], ["a", "b"])
    add = helper.make_node("Add", ["a", "b"], ["y"])
    assert find_cycle(from_proto(proto(add, split)).main) == []


def test_cycle_is_named_in_the_direction_of_the_data() -> None:
    nodes = [
        helper.make_node("Neg", ["c"], ["a"], name="first"),
        helper.make_node("Neg", ["a"], ["b"], name="second"),
        helper.make_node("Neg", ["b"], ["c"], name="third"),
        helper.make_node("Neg", ["c"], ["d"], name="reader"),
    ]
    with pytest.raises(InputError, match="cyclic through") as raised:
        from_proto(proto(*nodes))
    through = str(raised.value).rpartition("through ")[2].split(" -> ")
    assert " ".join(through) in "first second third first second"


def test_node_that_reads_itself_is_a_cycle() -> None:
    with pytest.raises(InputError, match="cyclic through loop"):
        from_proto(proto(helper.make_node("Neg", ["a"], ["a"], name="loop")))


def test_cycle_through_a_capture_is_found() -> None:
    body = helper.make_graph(
        [helper.make_node("Neg", ["y"], ["inner"])], "body", [], [onnx.ValueInfoProto(name="inner")]
    )
    outer = helper.make_node("If", ["flag"], ["x"], name="outer", then_branch=body, else_branch=body)
    with pytest.raises(InputError, match="cyclic"):
        from_proto(proto(outer, helper.make_node("Neg", ["x"], ["y"], name="after")))
