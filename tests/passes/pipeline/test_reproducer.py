"""What a failing pass leaves behind: the model as that pass got it, and a command that fails again."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import onnx
import pytest

from modelexport.ir import Model, load_model
from modelexport.passes import Fact, Pass, PassContext, PassError, PassManager, PassResult, Pipeline
from modelexport.passes.pipeline.registry import Registry
from modelexport.passes.pipeline.reproducer import Reproducer
from modelexport.passes.testing import assert_attributions, make_model

TEXT = """
    # module: encoder.layer  my.Layer
    # module: .              my.Model
    g (float[N] X, bool C) => (float[N] Y) {
        a = Relu (X)            # scope: encoder.layer inherited/neighbours 0.375
                                # meta: kept=yes
        b = Exp (a)
        Y = If (C) <then_branch = t () => (float[N] y) { y = Neg (b)    # scope: .
            }, else_branch = e () => (float[N] z) { z = Abs (b) }>
    }
"""


@dataclass(frozen=True)
class Vandal(Pass):
    """Change everything it can, then crash."""

    name: ClassVar[str] = "vandal"
    requires: ClassVar[frozenset[Fact]] = frozenset({Fact.TAGGED})
    note: str = "it's"

    def run(self, model: Model, ctx: PassContext) -> PassResult:
        model.patch_metadata({"vandal": "was here"})
        for node in model.nodes():
            node.patch_metadata({"vandal": "was here", "kept": None})
        raise RuntimeError("crash")


@dataclass(frozen=True)
class Breaker(Vandal):
    """Edit the structure, then crash."""

    name: ClassVar[str] = "breaker"
    metadata_only: ClassVar[bool] = False

    def run(self, model: Model, ctx: PassContext) -> PassResult:
        model.main.insert("Identity", ["X"], ["extra"])
        return super().run(model, ctx)


@dataclass(frozen=True)
class Heir(Vandal):
    """Crash where tags are in the file."""

    name: ClassVar[str] = "heir"
    requires: ClassVar[frozenset[Fact]] = frozenset({Fact.EMBEDDED})


REGISTRY = Registry.default().extended(Vandal, Breaker, Heir)


def fail(text: str, target: Path, *arguments: str) -> Reproducer:
    reproducer = Reproducer(target, arguments)
    with pytest.raises(PassError):
        PassManager(Pipeline.parse(text, registry=REGISTRY), [reproducer]).run(make_model(TEXT))
    return reproducer


@pytest.mark.parametrize("name", ["vandal", "breaker"])
def test_the_file_is_the_model_before_the_failing_pass(name: str, tmp_path: Path) -> None:
    target = tmp_path / "case.onnx"
    reproducer = fail(f"fallback-tagging,{name}", target)
    assert reproducer.written == (target, tmp_path / "case.onnx.sh") and reproducer.problem == ""
    model = load_model(target)
    assert [node.op_type for node in model.main.nodes] == ["Relu", "Exp", "If"]
    assert "vandal" not in model.metadata
    assert model.main.nodes[0].metadata["kept"] == "yes"
    assert all("vandal" not in node.metadata for node in model.nodes())
    PassManager("scope-attribution").run(model)
    assert_attributions(
        model,
        """
        a  encoder.layer  inherited/neighbours 0.38
        b  .              fallback
        Y  .              fallback
        y  .              scope/given
        z  .              fallback
        """,
    )
    assert {module.path: module.cls for module in model.modules}["encoder.layer"] == "my.Layer"
    onnx.checker.check_model(onnx.load(target))


def test_the_command_has_what_the_failing_pass_requires_and_no_more(tmp_path: Path) -> None:
    pipeline = 'scope-attribution,context-inheritance,fallback-tagging,vandal{note="so it is"},strip-tags'
    fail(pipeline, tmp_path / "my case.onnx", "--trace", "/a b/t.htptrace")
    script = (tmp_path / "my case.onnx.sh").read_text()
    assert script.startswith("#!/bin/sh\n")
    words = shlex.split(script.splitlines()[-1])
    assert words[3:] == [
        "--passes",
        'scope-attribution,fallback-tagging,vandal{note="so it is"}',
        "--trace",
        "/a b/t.htptrace",
        "$@",
    ]


def test_the_command_has_what_the_required_passes_require(tmp_path: Path) -> None:
    fail("scope-attribution,context-inheritance,fallback-tagging,attribute-embedding,heir", tmp_path / "case.onnx")
    text = shlex.split((tmp_path / "case.onnx.sh").read_text().splitlines()[-1])[4]
    assert text == "scope-attribution,fallback-tagging,attribute-embedding,heir"
    with pytest.raises(PassError, match="the pass heir crashed"):
        PassManager(Pipeline.parse(text, registry=REGISTRY)).run(load_model(tmp_path / "case.onnx"))


def test_the_command_fails_in_the_same_way(tmp_path: Path) -> None:
    fail("scope-attribution,fallback-tagging,vandal", tmp_path / "case.onnx")
    text = shlex.split((tmp_path / "case.onnx.sh").read_text().splitlines()[-1])[4]
    with pytest.raises(PassError, match="the pass vandal crashed"):
        PassManager(Pipeline.parse(text, registry=REGISTRY)).run(load_model(tmp_path / "case.onnx"))


def test_a_first_pass_that_fails_leaves_the_input(tmp_path: Path) -> None:
    reproducer = Reproducer(tmp_path / "case.onnx")
    model = make_model("g (float[N] X) => (float[N] Y) { Y = Relu (X) }")
    before = model.proto.SerializeToString(deterministic=True)
    with pytest.raises(PassError):
        PassManager([Vandal()], [reproducer], assume=[Fact.TAGGED]).run(model)
    assert (tmp_path / "case.onnx").read_bytes() == before


def test_nothing_is_written_when_nothing_fails(tmp_path: Path) -> None:
    reproducer = Reproducer(tmp_path / "case.onnx")
    PassManager("fallback-tagging", [reproducer]).run(make_model(TEXT))
    assert reproducer.written == () and list(tmp_path.iterdir()) == []


def test_a_reproducer_that_can_not_be_written_does_not_hide_the_failure(tmp_path: Path) -> None:
    reproducer = fail("fallback-tagging,vandal", tmp_path / "missing" / "case.onnx")
    assert reproducer.written == () and "missing" in reproducer.problem
