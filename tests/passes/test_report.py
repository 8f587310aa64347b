"""The numbers of a tagged model, and the decisions of one pass."""

from __future__ import annotations

from modelexport.cli.tables import explanation_text, module_tree, summary_text, table
from modelexport.ir import Attribution, Source
from modelexport.passes.report import confidences, explanation, model_summary, says_nothing, sources_line
from modelexport.passes.testing import make_model

TEXT = """
    # module: .                my.Net
    # module: blocks           torch.nn.modules.container.ModuleList calls=0
    # module: blocks.0         my.Block
    # module: blocks.1         my.Block
    # module: blocks.1.lin     torch.nn.modules.linear.Linear
    # module: unused           my.Unused
    g (float[N] X, bool C) => (float[N] Y) {
        a = Relu (X)            # scope: blocks.0
        b = Relu (a)            # scope: blocks.1 inherited/consumers 0.5
        c = Exp (b)             # scope: blocks.1.lin
        Y = If (C) <then_branch = t () => (float[N] y) { y = Neg (c)    # scope: blocks.1.lin
            }, else_branch = e () => (float[N] z) { z = Abs (b) }>      # scope: .
    }
"""


def test_a_summary_counts_nodes_of_every_scope() -> None:
    summary = model_summary(make_model(TEXT), "m.onnx")
    modules = summary.pop("modules")
    assert summary == {
        "model_path": "m.onnx",
        "total_operations": 6,
        "tagged_operations": 5,
        "unique_tags": 4,
        "by_source": {"scope": 4, "inherited": 1},
        "confidence": {"mean": 0.9, "sure": 4, "likely": 1, "guess": 0},
        "tag_statistics": {"/Net/Block.0": 1, "/Net/Block.1": 1, "/Net/Block.1/Linear": 2, "/Net": 1},
        "operations": {"Relu": 2, "Exp": 1, "If": 1, "Neg": 1, "Abs": 1},
    }
    assert [(row["path"], row["parent"], row["nodes"], row["total_nodes"]) for row in modules] == [
        ("", None, 1, 5),
        ("blocks", "", 0, 0),
        ("blocks.0", "", 1, 1),
        ("blocks.1", "", 1, 3),
        ("blocks.1.lin", "blocks.1", 2, 2),
        ("unused", "", 0, 0),
    ]


def test_a_summary_does_not_change_the_module_table() -> None:
    model = make_model("g (float[N] X) => (float[N] Y) { Y = Relu (X)   # scope: a.b\n }")
    summary = model_summary(model)
    assert len(model.modules) == 0
    assert summary["model_path"] == ""
    assert [(row["path"], row["total_nodes"]) for row in summary["modules"]] == [("", 1), ("a", 1), ("a.b", 1)]


def test_coverage_in_one_line() -> None:
    model = make_model(TEXT)
    assert sources_line(model) == "6 nodes: 4 scope, 1 inherited, 1 without tag; 4 sure, 1 likely, 0 guess"
    assert sources_line(make_model("g (float[N] X) => (float[N] Y) { Y = Relu (X) }")) == "1 node"


def test_an_explanation_has_what_was_replaced_and_whether_it_stayed() -> None:
    model = make_model(TEXT)
    first, second = model.main.nodes[:2]
    first.attribute_to(
        Attribution("blocks.1", Source.VALUE, "equal", 0.9, ("v1", "v2", "v3", "v4"), "value-attribution")
    )
    second.attribute_to(Attribution("", Source.VALUE, "equal", 0.9, (), "value-attribution"))
    second.attribute_to(Attribution("blocks.0", Source.SCOPE, "x", 1.0, (), "other"))
    rows = explanation(model, "value-attribution")
    assert [(row["node"], row["path"], row["replaced"], row["final"]) for row in rows] == [
        ("a", "blocks.1", "blocks.0 (scope/given)", True),
        ("b", "", "blocks.1 (inherited/consumers)", False),
    ]
    shown = explanation_text("value-attribution", "", {"matched": 2}, rows).splitlines()
    assert shown[:2] == ["value-attribution decided 2 nodes", "  matched: 2"]
    assert shown[4].split() == [
        "a",
        "Relu",
        "blocks.1",
        "value/equal",
        "0.90",
        "v1",
        "v2",
        "v3",
        "...",
        "blocks.0",
        "(scope/given)",
    ]
    assert explanation_text("p", "no file", {}, []) == "p was skipped: no file"


def test_a_tree_shows_each_module_under_its_parent() -> None:
    lines = module_tree(model_summary(make_model(TEXT))["modules"]).splitlines()
    assert lines == [
        "module        nodes  with inner   share  confidence",
        "/Net              1           5  100.0%        0.90",
        "  ModuleList      0           0    0.0%",
        "  Block.0         1           1   20.0%        1.00",
        "  Block.1         1           3   60.0%        0.83",
        "    Linear        2           2   40.0%        1.00",
        "  Unused          0           0    0.0%",
    ]
    assert len(module_tree(model_summary(make_model(TEXT))["modules"], depth=0).splitlines()) == 2


def test_a_table_aligns_its_columns() -> None:
    assert (
        table(("name", "n"), [("a", 1), ("long name", 1234)]) == "name           n\na              1\nlong name  1,234"
    )


def test_an_empty_model_has_a_report() -> None:
    model = make_model("g (float[N] X) => (float[N] X) { }")
    assert summary_text(model_summary(model, "m")).startswith("m: 0 of 0 nodes tagged, 0 different tags")


def test_modules_stand_where_their_first_node_stands() -> None:
    model = make_model("""
        # module: .        my.Net
        # module: b        torch.nn.modules.container.ModuleList calls=0
        # module: b.2      my.Block
        # module: silent   my.Dropout
        # module: b.10     my.Block
        # module: b.10.x   my.Leaf
        # module: a        my.Head
        # module: silent2  my.Dropout
        g (float[N] X) => (float[N] Y) {
            p = Relu (X)    # scope: b.10.x
            q = Relu (p)    # scope: b.2
            r = Relu (q)    # scope: a
            Y = Relu (r)    # scope: b.10
        }
    """)
    paths = [row["path"] for row in model_summary(model)["modules"]]
    # silent stays behind b.2, silent2 behind a: as the table has them
    assert paths == ["", "b", "b.10", "b.10.x", "b.2", "silent", "a", "silent2"]


def test_every_level_of_a_path_is_a_row_and_a_number_is_one_with_its_list() -> None:
    model = make_model("""
        g (float[N] X) => (float[N] Y) {
            a = Relu (X)    # scope: enc.layer.0.mlp.fc
            Y = Relu (a)    # scope: enc.layer.1.mlp.fc
        }
    """)
    paths = [row["path"] for row in model_summary(model)["modules"]]
    assert paths == ["", "enc", *(f"enc.layer.{i}{end}" for i in (0, 1) for end in ("", ".mlp", ".mlp.fc"))]


def test_a_file_that_says_nothing_is_told_from_one_that_does() -> None:
    model = make_model("g (float[N] X) => (float[N] Y) { a = Relu (X)  # scope: . fallback/root 0.0\n Y = Abs (a) }")
    assert says_nothing(model)
    assert confidences(model.nodes()) == {"mean": 0.0, "sure": 0, "likely": 0, "guess": 1}
    assert confidences([]) == {"mean": None, "sure": 0, "likely": 0, "guess": 0}
    named = make_model("g (float[N] X) => (float[N] Y) { Y = Relu (X)  # scope: .\n }")
    assert not says_nothing(named) and not says_nothing(make_model("g (float[N] X) => (float[N] X) { }"))
