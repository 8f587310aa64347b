"""The testing helper: ONNX text with scopes in, attribution tables out."""

from __future__ import annotations

import doctest
from dataclasses import dataclass
from typing import ClassVar

import pytest

from modelexport.ir import Attribution, Model, Source
from modelexport.passes import Pass, PassContext, PassResult, testing
from modelexport.passes.testing import assert_attributions, attributions, check, make_model, run_pass

TEXT = """
    # module: .        my.Top
    # module: encoder  my.Encoder  calls=2 aliases=enc,other parameters=12
    # model-meta: author=me
    <ir_version: 9, opset_import: ["" : 17, "my" : 1]>
    agraph (float[N] X, bool C) => (float[N] Y) <float[1] w = {1.0}>
    {
        [first] a = Relu (X)        # scope: encoder inherited/neighbours 0.5
                                    # meta: {"a": "b", "c": "d"}
        # an ordinary comment
        b = If (C) <then_branch = g1 () => (float[N] z) {
                [inner] z = Neg (a)      # scope: .
            }, else_branch = g2 () => (float[N] z) { z = Abs (a) }>
        c = Constant <value = float[2] {1.0, 2.0}> ()
        Y = my.f (b)                # meta: key=a value # with a hash
    }
    <opset_import: ["" : 17], domain: "my">
    f (x) => (y) { y = Exp (x)      # scope: encoder.x
    }
"""


@dataclass(frozen=True)
class Everything(Pass):
    """Attribute every node to one path."""

    name: ClassVar[str] = "everything"
    path: str = "everywhere"

    def run(self, model: Model, ctx: PassContext) -> PassResult:
        for node in model.nodes():
            node.attribute_to(Attribution(self.path, Source.FALLBACK, "all", 0.25, (), self.name))
        return PassResult(changed=1, skipped="" if ctx.trace else "no trace" if ctx.optional else "")


def test_scopes_belong_to_the_node_that_began_last_at_every_depth() -> None:
    lines = [" ".join(line.split()) for line in attributions(make_model(TEXT)).splitlines()]
    assert lines == [
        "first encoder inherited/neighbours 0.50",
        "b -",
        "c -",
        "Y -",
        "inner . scope/given 1.00",
        "main/1.else_branch::z -",
        "y encoder.x scope/given 1.00",
    ]


def test_modules_and_metadata_are_read() -> None:
    model = make_model(TEXT)
    encoder = model.modules["encoder"]
    assert (encoder.cls, encoder.calls, encoder.aliases, encoder.parameters) == ("my.Encoder", 2, ("enc", "other"), 12)
    assert model.modules[""].cls == "my.Top"
    assert model.main.nodes[0].metadata == {"a": "b", "c": "d"}
    assert model.main.nodes[3].metadata == {"key": "a value # with a hash"}
    assert model.metadata == {"author": "me"}
    assert model.main.initializers == ["w"]


def test_a_header_is_put_before_a_bare_graph() -> None:
    model = make_model("g (float[N] X) => (float[N] Y) { Y = Relu (X) }")
    assert model.proto.ir_version == 10
    assert model.proto.opset_import[0].version == 18


def test_check_runs_a_pass_and_compares() -> None:
    check(Everything(), "g (float[N] X) => (float[N] Y) { Y = Relu (X) }", "Y everywhere fallback/all 0.25")


def test_a_difference_shows_both_sides() -> None:
    model = make_model(TEXT)
    with pytest.raises(AssertionError) as caught:
        assert_attributions(model, "first  decoder\nY  -\nz .\nq .\n")
    lines = str(caught.value).splitlines()
    assert lines[1].split() == ["-", "first", "decoder"]
    assert lines[2].split() == ["+", "first", "encoder", "inherited/neighbours", "0.50"]
    assert lines[3].split() == ["Y", "-"]
    assert "ambiguous: main/1.then_branch::z, main/1.else_branch::z" in lines[4]
    assert lines[5].endswith("is not in the model")
    assert lines[6].split()[:3] == ["+", "b", "-"] and lines[6].endswith("is not in the table")


@pytest.mark.parametrize(
    "row", ["first encoder", "first encoder inherited", "first encoder inherited/neighbours", "first encoder 0.5"]
)
def test_what_a_table_leaves_out_is_not_compared(row: str) -> None:
    assert_attributions(make_model(TEXT), f"{row}\n...")


@pytest.mark.parametrize("row", ["first enc", "first encoder scope", "first encoder inherited/x", "first encoder 0.4"])
def test_what_a_table_says_is_compared(row: str) -> None:
    with pytest.raises(AssertionError):
        assert_attributions(make_model(TEXT), f"{row}\n...")


def test_a_mapping_compares_paths() -> None:
    assert_attributions(make_model(TEXT), {"first": "encoder", "inner": "", "...": ""})


def test_nodes_that_are_not_listed_fail_without_dots() -> None:
    with pytest.raises(AssertionError, match="is not in the table"):
        assert_attributions(make_model(TEXT), "first encoder")


def test_run_pass_passes_files_and_whether_it_is_optional(tmp_path: object) -> None:
    model = make_model(TEXT)
    assert run_pass(Everything(), model, named=True).skipped == "no trace"
    assert run_pass(Everything(), model, trace="x", named=True).skipped == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense", "not ONNX text"),
        ("# scope: a\ng (float X) => (float Y) { Y = Relu (X) }", "no node stands before"),
        ("g (float X) => (float Y) { Y = Relu (X)  # scope: a guess\n}", "not a source"),
        ("g (float X) => (float Y) { Y = Relu (X)  # meta: a\n}", "KEY=VALUE"),
        ("# module: a b c\ng (float X) => (float Y) { Y = Relu (X) }", "PATH CLASS"),
    ],
)
def test_a_mistake_in_the_text_is_named(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_model(text)


def test_the_example_in_the_documentation_runs() -> None:
    assert doctest.testmod(testing).failed == 0
