"""What every registered pass and named pipeline keeps: idempotence, and bytes that come back when tags are stripped."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from modelexport.ir import load_model, save_model
from modelexport.ir.attribution import Source
from modelexport.ir.io.reader import from_proto
from modelexport.ir.io.writer import to_bytes
from modelexport.ir.model import Model
from modelexport.passes import PassManager, Pipeline
from modelexport.passes.pipeline.registry import PASSES, PIPELINES
from modelexport.passes.testing import make_model, run_pass

_TEXT = """
<ir_version: 10, opset_import: ["" : 18, "local" : 1]>
agraph (float[4] X, bool C) => (float[4] Y)
<float[4] "enc.fc.weight" = {1,2,3,4}, float[4] "enc.fc.bias" = {1,2,3,4}> {
    a = Mul (X, "enc.fc.weight")
    b = Add (a, "enc.fc.bias")
    ["/dec/If"] c = If (C) <
      then_branch = t () => (float[4] u) {
        u = Relu (b)    # meta: namespace=theirs
      },
      else_branch = e () => (float[4] v) {
        [""] v = local.fn (b)
      }>
    one = Constant <value = float {1}> ()
    Y = Add (c, one)
}
<domain: "local", opset_import: ["" : 18]>
fn (p) => (q) {
    r = Exp (p)
    q = Neg (r)
}
"""

ASKING = {"attribute-embedding", "coverage-validation", "node-naming", "layer-annotation"}  # for tags
OPTIONS = {"layer-annotation": "{depth=1}", "extract-module": "{paths=.}"}  # of passes that can't do without
_FOLDER = "modelexport.passes.tools."
TOOLS = {name for name, target in PASSES.items() if target.startswith(_FOLDER)}  # what others do is theirs to promise
_BEFORE = {"context-inheritance": ("scope-attribution",), "fallback-tagging": ("scope-attribution",)}
_BEFORE |= dict.fromkeys(ASKING, ("fallback-tagging",))


class Block(torch.nn.Module):
    """A module with a container, an activation without parameters and a second call of one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList([torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)])
        self.act = torch.nn.GELU()
        self.norm = torch.nn.LayerNorm(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = self.act(layer(x)) + x
        return self.norm(self.layers[0](x)).view(x.shape[0], -1, 2).transpose(1, 2).reshape(x.shape[0], -1)


def _exported(dynamo: bool) -> bytes:
    stream = io.BytesIO()
    torch.manual_seed(0)
    model = torch.nn.Sequential(Block(), torch.nn.ReLU(), Block()).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            shapes = ({0: torch.export.Dim("batch")},)
            program = torch.onnx.export(
                model, (torch.randn(3, 4),), dynamo=True, dynamic_shapes=shapes, optimize=False, verbose=False
            )
            assert program is not None
            program.save(stream)
        else:
            torch.onnx.export(
                model,
                (torch.randn(3, 4),),
                stream,
                dynamo=False,
                input_names=["x"],
                dynamic_axes={"x": {0: "batch"}},
                opset_version=17,
            )
    return _deterministic(stream.getvalue())


def _deterministic(data: bytes) -> bytes:
    """``data`` as our writer spells it: deterministically."""
    return to_bytes(load_model(data))


@pytest.fixture(scope="module")
def graphs() -> dict[str, bytes]:
    """Serialized models by name."""
    return {
        "text": make_model(_TEXT).proto.SerializeToString(deterministic=True),
        "torchscript": _exported(dynamo=False),
        "dynamo": _exported(dynamo=True),
    }


def _state(model: Model) -> list[object]:
    return [(node.name, node.op_type, node.attribution) for node in model.nodes()]


def _prepared(data: bytes) -> Model:
    """A model as a pass in the middle of a pipeline sees it: recorded, inherited, nothing open."""
    model = load_model(data)
    for name in ("scope-attribution", "context-inheritance", "fallback-tagging"):
        run_pass(name, model)
    return model


@pytest.mark.parametrize("kind", ["text", "torchscript", "dynamo"])
@pytest.mark.parametrize("prepare", [load_model, _prepared], ids=["fresh", "prepared"])
@pytest.mark.parametrize("name", sorted(set(PASSES) - TOOLS))
def test_a_pass_that_runs_again_changes_nothing(
    name: str, prepare: Callable[[bytes], Model], kind: str, graphs: dict[str, bytes]
) -> None:
    if prepare is load_model and name in ASKING:
        prepare = _prepared
    model = prepare(graphs[kind])
    element = name + OPTIONS.get(name, "")
    run_pass(element, model, named=True)
    once, written = _state(model), to_bytes(model)
    run_pass(element, model, named=True)
    assert _state(model) == once
    assert to_bytes(model) == written


@pytest.mark.parametrize("kind", ["text", "torchscript", "dynamo"])
@pytest.mark.parametrize("pipeline", sorted(PIPELINES))
def test_a_pipeline_then_strip_gives_the_original_bytes(pipeline: str, kind: str, graphs: dict[str, bytes]) -> None:
    source = graphs[kind]
    model = load_model(source)
    PassManager(Pipeline.parse(pipeline)).run(model)
    tagged = to_bytes(model)
    assert (tagged == source) == (pipeline == "none")
    again = load_model(tagged)
    PassManager(Pipeline.parse(pipeline)).run(again)
    assert to_bytes(again) == tagged
    stripped = load_model(tagged)
    PassManager(Pipeline.parse("strip-tags")).run(stripped)
    assert to_bytes(stripped) == source


@pytest.mark.parametrize("kind", ["text", "torchscript", "dynamo"])
@pytest.mark.parametrize("name", sorted(PASSES.keys() - TOOLS))
def test_every_attribution_says_what_it_read(name: str, kind: str, graphs: dict[str, bytes], tmp_path: Path) -> None:
    """Every attribution of every registered pass has evidence, whether the names, the tags or nothing is left."""
    tagged = load_model(graphs[kind])
    PassManager("htp").run(tagged)
    reference = tmp_path / "reference.onnx"
    save_model(tagged, reference)
    nameless = load_model(graphs[kind]).proto
    for graph in (nameless.graph, *nameless.functions):
        for node in graph.node:
            node.ClearField("name")
            del node.metadata_props[:]
    sources = [load_model(graphs[kind]), load_model(reference), from_proto(nameless)]
    for model in sources:
        for before in _BEFORE.get(name, ()):
            run_pass(before, model, named=True)
        held = {node: node.attribution for node in model.nodes()}
        run_pass(name + OPTIONS.get(name, ""), model, reference=reference, named=True)
        for node in model.nodes():
            made = node.attribution
            if made is not None and made is not held.get(node):
                assert made.evidence and all(isinstance(each, str) for each in made.evidence), (node, made)
                assert any(made.evidence), (node, made)


@pytest.mark.parametrize("kind", ["torchscript", "dynamo"])
def test_fresh_exports_are_attributed_from_records(kind: str, graphs: dict[str, bytes]) -> None:
    model = load_model(graphs[kind])
    PassManager(Pipeline.parse("htp")).run(model)
    by_path: dict[str, set[str]] = {}
    for node in model.nodes():
        assert node.attribution is not None
        assert node.attribution.source is not Source.FALLBACK
        by_path.setdefault(node.attribution.path, set()).add(node.op_type)
    assert {"0.layers.0", "0.layers.1", "0.act", "0.norm", "1", "2.layers.0", "2.norm", "0", "2"} <= set(by_path)
    assert "Relu" in by_path["1"]
    assert "LayerNormalization" in by_path["0.norm"]
    assert "Transpose" in by_path["0"]


def test_tags_survive_edits_of_other_metadata(graphs: dict[str, bytes]) -> None:
    model = load_model(graphs["torchscript"])
    PassManager(Pipeline.parse("htp")).run(model)
    proto = load_model(to_bytes(model)).proto
    for node in proto.graph.node:
        node.metadata_props.add(key="note", value="added later")
    edited = to_bytes(load_model(proto.SerializeToString(deterministic=True)))
    again = load_model(edited)
    PassManager(Pipeline.parse("htp")).run(again)
    assert to_bytes(again) == edited
