"""The verifier sees every inconsistency of the IR, and nothing that was in the file."""

from __future__ import annotations

from collections.abc import Callable

import loss_cases
import pytest

from modelexport.ir import Model
from modelexport.ir.io.reader import from_proto
from modelexport.ir.verify import verify


def swap_first_two(model: Model) -> None:
    first, second, *rest = model.main.nodes
    model.main.index.ordered = (second, first, *rest)


def foreign_node(model: Model) -> None:
    model.main.nodes[0].graph = next(graph for graph in model.graphs() if graph.kind == "body")


def body_of_nobody(model: Model) -> None:
    model.main.insert("Exp", ["x"], ["n"])
    model.main.bodies[99] = model.main.bodies[2]


def output_of_nobody(model: Model) -> None:
    model.main.insert("Exp", ["x"], ["n"])
    model.main.outputs.append("nowhere")


BREAKS: dict[str, tuple[Callable[[Model], object], str]] = {
    "producer": (lambda m: m.main.index.producers.update(h=m.main.nodes[1]), "as the producer of 'h' and is not"),
    "no producer": (lambda m: m.main.index.producers.pop("h"), "makes 'h', and no index says so"),
    "reader": (lambda m: m.main.index.consumers.pop("h"), "readers is wrong about 'h'"),
    "reader list": (lambda m: m.main.index.consumers["h"].clear(), "readers is wrong about 'h'"),
    "defined twice": (lambda m: setattr(m.main.nodes[1], "outputs", ("h",)), "defines 'h', which is defined already"),
    "capture": (lambda m: setattr(m.main.nodes[2], "captures", ()), "not what its bodies read from outside"),
    "order": (swap_first_two, "comes before the producer of 'h'"),
    "body": (body_of_nobody, "bodies of node 99, which is gone"),
    "output": (output_of_nobody, "nothing defines its output 'nowhere'"),
    "graph": (foreign_node, "is not a node of its graph"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_breaks_are_seen(name: str) -> None:
    model = from_proto(loss_cases.build("captured_variable"))
    broken, message = BREAKS[name]
    broken(model)
    assert message in "\n".join(map(str, verify(model, everything=True)))
    model.revision += 1
    assert message in "\n".join(map(str, verify(model)))
    assert message in "\n".join(map(str, verify(model)))  # a model that was found wrong is not taken for right


def test_edited_input_that_nothing_defines_is_seen() -> None:
    model = from_proto(loss_cases.chain())
    model.main.rewire(model.main.nodes[1], 0, "x")
    model.main.rename_value("h", "other")
    model.main.index.producers["x"] = model.main.index.producers.pop("other")
    model.main.index.given.discard("x")
    del model.main.index.producers["x"]
    assert "reads 'x', which nothing defines" in "\n".join(map(str, verify(model)))


@pytest.mark.parametrize("name", loss_cases.CASES)
def test_what_the_file_broke_is_no_violation_after_an_edit(name: str) -> None:
    model = from_proto(loss_cases.build(name))
    for graph in list(model.graphs()):
        for value in list(graph.index.producers)[:1]:
            graph.insert("Exp", [value], [f"new {graph.scope}"])
    assert list(verify(model)) == []


def test_an_unedited_model_is_not_looked_at() -> None:
    model = from_proto(loss_cases.chain())
    model.main.index.producers.clear()
    assert list(verify(model)) == []
    assert list(verify(model, everything=True)) != []
