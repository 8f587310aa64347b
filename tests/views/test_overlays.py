"""Numbers laid over a picture, from every form of file."""

from __future__ import annotations

import math
from typing import Any

import pytest

from modelexport.core.diff import diff_models
from modelexport.core.views import view
from modelexport.ir.errors import InputError
from modelexport.passes.testing import make_model
from modelexport.views.data import ViewData
from modelexport.views.overlays import Overlay, OverlayError, overlays_of

DIFF: dict[str, Any] = {
    "format": "modelexport-diff",
    "identical": False,
    "modules": [
        {
            "path": "blocks.10.lin",
            "nodes": {
                "added": [{"key": "lin", "name": "lin", "op_type": "Add", "domain": ""}],
                "removed": [{"key": "old", "name": "old", "op_type": "Sub", "domain": ""}],
                "changed": [],
            },
            "weights": [],
        },
        {
            "path": "head.gone",
            "nodes": {
                "added": [],
                "removed": [{"key": "x", "name": "", "op_type": "Tanh", "domain": ""}],
                "changed": [{"a": {"key": "neg"}, "b": {"key": "neg"}}],
            },
            "weights": [{"node": {"key": "a", "name": "a"}}],
        },
    ],
}


def placed(data: ViewData, document: Any) -> tuple[list[Overlay], list[str]]:
    return overlays_of(document, data, label="file.json", stem="file")


def one(data: ViewData, document: Any) -> tuple[Overlay, dict[str, float], dict[str, float]]:
    (overlay,), unknown = placed(data, document)
    assert unknown == []
    nodes = {data.nodes[index].key: value for index, value in overlay.nodes.items()}
    return overlay, nodes, {data.modules[index].path: value for index, value in overlay.modules.items()}


@pytest.mark.parametrize(("aggregate", "root", "block"), [("sum", 106, 5), ("max", 100, 3), ("mean", 26.5, 2.5)])
def test_modules_have_the_aggregate_of_their_nodes(data: ViewData, aggregate: str, root: float, block: float) -> None:
    values = {"a": 1, "b": 2, "lin": 3, "y": 100}  # y is made by neg
    overlay, nodes, modules = one(data, {"name": "t", "unit": "ms", "aggregate": aggregate, "values": values})
    assert nodes == {"a": 1, "b": 2, "lin": 3, "neg": 100}
    assert modules == {"": root, "blocks.2": 1, "blocks.10": block, "blocks.10.lin": 3, "head": 100}
    assert (overlay.name, overlay.unit) == ("t", "ms")


def test_a_given_number_of_a_module_wins(data: ViewData) -> None:
    _, _, modules = one(data, {"values": {"a": 1, "b": 2, "module:blocks.10": 9, "module:": 50}})
    assert modules == {"": 50, "blocks.2": 1, "blocks.10": 9}


def test_names_that_are_not_there_are_counted(data: ViewData) -> None:
    (overlay,), unknown = placed(data, {"values": {"a": 1, "nowhere": 2, "module:blocks.1": 3}})
    assert unknown == ["nowhere", "module:blocks.1"]
    assert overlay.name == "file"
    with pytest.raises(OverlayError, match="nothing in it fits the model") as error:
        placed(data, {"values": {"nowhere": 2}})
    assert error.value.exit_code == 1


@pytest.mark.parametrize(
    "document",
    [
        {"main": {"results": {"a": {"value": 1.5}, "lin": {"value": 2}}}},
        {"results": {"a": {"value": 1.5}, "lin": 2, "b": {"value": "text"}, "norm": {"bgColor": "red"}}},
    ],
)
def test_node_data_of_model_explorer(data: ViewData, document: Any) -> None:
    _, nodes, modules = one(data, document)
    assert nodes == {"a": 1.5, "lin": 2}
    assert modules[""] == 3.5


def test_node_data_tells_graphs_apart() -> None:
    """Names are unique in one graph only: exporters give nodes of both branches of an If the same."""
    model = make_model("""
        g (float[2] X, bool C) => (float[2] Y) {
            [i] Y = If (C) <then_branch = t () => (float[2] p) { [n] p = Exp (X) },
                            else_branch = e () => (float[2] r) { [n] r = Neg (X) }>
        }
    """)
    of_values = view(model, [{"name": "time", "values": {"p": 1, "r": 2}}])
    again = view(model, [of_values.node_data()["time"]]).overlays[0]
    assert list(again.nodes.values()) == [1, 2] and again.nodes == of_values.overlays[0].nodes
    of_another_graph = view(model, [{"elsewhere": {"results": {"i": {"value": 3}, "gone": {"value": 4}}}}])
    assert list(of_another_graph.overlays[0].nodes.values()) == [3]
    assert "1 name is not in the model; first: gone" in of_another_graph.warnings[0]
    named_like_a_key = make_model("g (float[2] X) => (float[2] Y) {\n[results] Y = Exp (X)\n}")
    assert view(named_like_a_key, [{"results": {"results": {"value": 5}}}]).overlays[0].nodes == {0: 5}


def test_a_cost_report(data: ViewData) -> None:
    total = {"macs": 7, "parameters": 3}
    modules = [{"path": "", "total": total}, {"path": "head", "total": {"macs": 5, "parameters": 0}}]
    nodes = [{"node": "neg", "macs": 5, "charged_to": None}, {"node": "abs", "macs": None}]
    document = {"format": "modelexport-cost", "modules": modules, "nodes": nodes}
    (macs, parameters), unknown = placed(data, document)
    assert unknown == []
    assert (macs.name, parameters.name) == ("macs", "parameters")
    assert {data.modules[i].path: v for i, v in macs.modules.items()} == {"": 7, "head": 5}
    assert {data.nodes[i].key: v for i, v in macs.nodes.items()} == {"neg": 5}
    assert {data.modules[i].path: v for i, v in parameters.modules.items()} == {"": 3, "head": 0}


def test_a_profile(data: ViewData) -> None:
    modules = [{"path": "", "total_us": 12}, {"path": "head", "total_us": 5}]
    document = {"format": "modelexport-profile", "modules": modules, "nodes": [{"node": "neg", "us": 5}]}
    overlay, nodes, found = one(data, document)
    assert (overlay.name, overlay.unit, nodes, found) == ("us", "us", {"neg": 5}, {"": 12, "head": 5})


def test_what_a_runtime_made_is_in_the_numbers_of_its_modules(data: ViewData) -> None:
    """Fused and inserted nodes have no place of their own, and containers are modules to the profile only."""
    modules = [{"path": path, "total_us": us} for path, us in (("", 12), ("blocks", 7), ("head", 5))]
    nodes = [{"node": "neg+abs", "path": "head", "us": 5}, {"node": "cast_1", "path": "", "us": 1}]
    document = {"format": "modelexport-profile", "modules": modules, "nodes": nodes}
    _, found, numbers = one(data, document)
    assert (found, numbers) == ({}, {"": 12, "head": 5})
    strange = {"node": "x", "path": "tail", "us": 1}
    _, unknown = placed(data, {**document, "nodes": [*nodes, strange]})
    assert unknown == ["x"]


def test_a_profile_of_another_model_does_not_fit_by_its_root(data: ViewData) -> None:
    modules = [{"path": "", "total_us": 12}, {"path": "other", "total_us": 5}]
    nodes = [{"node": "x", "path": "other", "us": 5}]
    with pytest.raises(OverlayError, match="nothing in it fits the model"):
        placed(data, {"format": "modelexport-profile", "modules": modules, "nodes": nodes})


def test_a_divergence_shows_the_largest_error_inside(data: ViewData) -> None:
    rows = [
        ("blocks.10", 1e-7, 0.1, "carries"),
        ("blocks.10.lin", 0.5, 0.6, "diverges"),
        ("head", None, None, "diverges"),
    ]
    modules = [{"path": p, "introduced": i, "accumulated": a, "status": s} for p, i, a, s in rows]
    (introduced, accumulated), _ = placed(data, {"format": "modelexport-divergence", "modules": modules})
    assert (introduced.name, accumulated.name) == ("introduced", "accumulated")
    found = {data.modules[i].path: v for i, v in introduced.modules.items()}
    assert found == {"blocks.10": 0.5, "blocks.10.lin": 0.5, "head": math.inf, "": math.inf}


def test_a_diff_marks_nodes_and_lists_what_is_gone(data: ViewData) -> None:
    (overlay,), unknown = placed(data, DIFF)
    assert (overlay.name, unknown) == ("changed", [])
    assert {data.nodes[i].key: what for i, what in overlay.marks.nodes.items()} == {
        "lin": "added",
        "neg": "changed",
        "a": "changed",
    }
    gone = {data.modules[i].path: lines for i, lines in overlay.marks.gone.items()}
    assert overlay.marks.other == "removed"
    assert gone == {"blocks.10.lin": ["Sub old"], "head": ["Tanh x"]}  # a module that is gone: in the one around it
    assert {data.modules[i].path: v for i, v in overlay.modules.items()} == {
        "": 3, "blocks.2": 1, "blocks.10": 1, "blocks.10.lin": 1, "head": 1,
    }  # fmt: skip


def test_a_diff_over_the_older_model(data: ViewData) -> None:
    nodes = {"added": [{"key": "new", "name": "new", "op_type": "Add"}], "removed": [{"key": "lin"}], "changed": []}
    document = {"format": "modelexport-diff", "modules": [{"path": "blocks.10.lin", "nodes": nodes, "weights": []}]}
    (overlay,), _ = placed(data, document)
    assert {data.nodes[i].key: what for i, what in overlay.marks.nodes.items()} == {"lin": "removed"}
    assert list(overlay.marks.gone.values()) == [["Add new"]] and overlay.marks.other == "added"


@pytest.mark.parametrize(("old", "new", "what"), [("Add", "Sub", "removed"), ("Sub", "Add", "added")])
def test_a_node_that_took_another_operator_tells_the_side(data: ViewData, old: str, new: str, what: str) -> None:
    removed, added = ({"key": "lin", "name": "lin", "op_type": op} for op in (old, new))
    nodes = {"added": [added], "removed": [removed], "changed": []}
    document = {"format": "modelexport-diff", "modules": [{"path": "blocks.10.lin", "nodes": nodes, "weights": []}]}
    (overlay,), _ = placed(data, document)
    assert {data.nodes[i].key: mark for i, mark in overlay.marks.nodes.items()} == {"lin": what}


@pytest.mark.parametrize("newer", [True, False])
def test_a_weight_marks_its_reader_whatever_that_is_called(newer: bool) -> None:
    """The diff names the reader as the older model does."""
    text = """
        g (float[2] X) => (float[2] Y) <float[2] W = {1, 2}> {
            [first] a = Mul (X, X)   # scope: m
            [second] Y = Mul (a, W)  # scope: m
        }
    """
    other = text.replace("{1, 2}", "{1, 3}").replace("W", "V").replace("[first]", "[p]").replace("[second]", "[first]")
    models = [make_model(text), make_model(other)]
    picture = view(models[newer], [diff_models(*models).to_dict()])
    assert not picture.warnings
    assert picture.overlays[0].marks.nodes == {1: "changed"}


def test_an_empty_diff_fits_every_model(data: ViewData) -> None:
    (overlay,), unknown = placed(data, {"format": "modelexport-diff", "identical": True, "modules": []})
    assert (overlay.nodes, overlay.modules, unknown) == ({}, {}, [])


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "a JSON object was expected"),
        ({"format": "modelexport-hierarchy"}, "format 'modelexport-hierarchy'"),
        ({}, "neither values nor results"),
        ({"values": {"a": "fast"}}, "'fast', not a number"),
        ({"values": {"a": True}}, "True, not a number"),
        ({"values": {"a": 1}, "aggregate": "median"}, "one of sum, max, mean"),
        ({"format": "modelexport-cost"}, "is damaged"),
        ({"format": "modelexport-profile", "modules": [3], "nodes": []}, "is damaged"),
        ({"format": "modelexport-diff", "modules": [{}]}, "damaged"),
    ],
)
def test_what_is_no_overlay(data: ViewData, document: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        placed(data, document)
    assert str(error.value).startswith("file.json: ")
    assert error.value.exit_code == 2
