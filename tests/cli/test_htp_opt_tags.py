"""htp-opt: what it says of the tags of a file it wrote is what that file has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest

from modelexport.cli import htp_opt
from modelexport.ir import Model, load_model
from modelexport.ir.facts import Fact
from modelexport.ir.io.merged_tags import tags_in_file
from modelexport.passes import Pass, PassContext, PassResult
from modelexport.passes.pipeline import registry

pytestmark = pytest.mark.usefixtures("folder")


@dataclass(frozen=True)
class Coarsen(Pass):
    """Attribute every node to the root."""

    name: ClassVar[str] = "coarsen"
    invalidates: ClassVar[frozenset[Fact]] = frozenset({Fact.EMBEDDED})

    def run(self, model: Model, ctx: PassContext) -> PassResult:
        for node in model.nodes():
            assert node.attribution is not None
            node.attribute_to(replace(node.attribution, path="", by=self.name))
        return PassResult(changed=1)


@pytest.fixture
def coarsen(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(registry.PASSES, "coarsen", Coarsen)  # type: ignore[arg-type]
    registry._default.cache_clear()
    yield
    registry._default.cache_clear()


def errors(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert htp_opt.main(list(arguments)) == 0
    return capsys.readouterr().err.splitlines()


def test_tags_that_no_pass_writes_are_not_reported(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert errors(capsys, str(model), "-o", "out.onnx", "--passes", "scope-attribution") == [
        "warning: out.onnx: the tags of 2 nodes are not those of this run; add attribute-embedding",
        "out.onnx: 3 nodes, 0 tags written",
    ]
    assert tags_in_file(load_model("out.onnx")) == {}
    assert htp_opt.main([str(model), "-o", "out.onnx", "--passes", "scope-attribution", "--report", "table"]) == 0
    assert capsys.readouterr().out.startswith(f"{model}: 2 of 3 nodes tagged")  # of the input: the output has none


@pytest.mark.usefixtures("coarsen")
def test_stale_tags_are_named_and_counted_as_they_stand(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    warning, line = errors(capsys, str(model), "-o", "out.onnx", "--passes", "htp,coarsen")
    assert warning == "warning: out.onnx: the tags of 3 nodes are not those of this run; add attribute-embedding"
    assert line.startswith("out.onnx: 3 nodes: 2 scope, 1 ")
    assert errors(capsys, str(model), "-o", "out.onnx", "--passes", "htp,coarsen,attribute-embedding") == [line]


@pytest.mark.parametrize("carrier", ["metadata", "doc-string", "both"])
def test_tags_count_wherever_they_are(model: Path, carrier: str, capsys: pytest.CaptureFixture[str]) -> None:
    passes = f"scope-attribution,fallback-tagging,attribute-embedding{{carrier={carrier} table=false}}"
    (line,) = errors(capsys, str(model), "-o", "out.onnx", "--passes", passes)
    assert line.startswith("out.onnx: 3 nodes: 2 scope, 1 fallback")
    assert errors(capsys, "out.onnx", "-o", "again.onnx", "--passes", "none") == [line.replace("out", "again", 1)]


def test_a_table_alone_counts(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import onnx

    assert htp_opt.main([str(model), "-o", "out.onnx", "-q"]) == 0
    proto = onnx.load("out.onnx")
    for node in proto.graph.node:
        del node.metadata_props[:]
    onnx.save(proto, "bare.onnx")
    (line,) = errors(capsys, "bare.onnx", "-o", "again.onnx", "--passes", "none")
    assert line.startswith("again.onnx: 3 nodes: 2 scope, 1 ")


@pytest.mark.parametrize("passes", ["strip-tags", "htp,strip-tags"])
def test_taking_tags_out_is_what_was_asked_for(model: Path, passes: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert errors(capsys, str(model), "-o", "out.onnx", "--passes", passes) == ["out.onnx: 3 nodes, 0 tags written"]
    assert errors(capsys, str(model), "-o", "out.onnx", "--passes", passes, "-q") == []
