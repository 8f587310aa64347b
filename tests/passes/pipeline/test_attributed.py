"""A tagged file's own tags are what scope-attribution reads in it, and are taken without it."""

import onnx
import pytest
from onnx import parser

from modelexport.ir.io.reader import from_proto, load_model
from modelexport.ir.io.writer import save_model
from modelexport.passes.pipeline import attributed as module
from modelexport.passes.pipeline.attributed import ATTRIBUTING, attributed
from modelexport.passes.pipeline.manager import PassManager

TEXT = """<ir_version: 8, opset_import: ["" : 17]>
g (float[2,4] x, bool c) => (float[2,3] y) <float[4,3] W = {1,1,1,1,1,1,1,1,1,1,1,1}> {
  h = MatMul (x, W)
  k = If (c) <then_branch = t () => (float[2,3] p) { p = Relu (h) },
              else_branch = e () => (float[2,3] q) { q = Neg (h) }>
  y = Exp (k)
}"""
NAMES = {"h": "/a/fc/MatMul", "k": "/a/If", "p": "/a/b/Relu", "q": "/a/c/Neg", "y": "/head/Exp"}


def name(graph):
    for node in graph.node:
        node.name = NAMES[node.output[0]]
        for attribute in node.attribute:
            name(attribute.g)


@pytest.fixture
def tagged(tmp_path):
    proto = parser.parse_model(TEXT)
    name(proto.graph)
    model = from_proto(proto)
    PassManager("htp").run(model)
    save_model(model, tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


def by_the_passes(path):
    model = load_model(path)
    PassManager(ATTRIBUTING, verify_each=False).run(model)
    return model


def told(model):
    return [node.attribution for node in model.nodes()], list(model.modules), model.warnings


def test_own_tags_are_what_the_passes_read(tagged, monkeypatch):
    expected = by_the_passes(tagged)
    monkeypatch.setattr(module, "_attribute", lambda model: pytest.fail("the passes ran"))
    assert told(attributed(tagged)) == told(expected)
    assert {node.attribution.path for node in attributed(tagged).nodes()} == {"a.fc", "a", "a.b", "a.c", "head"}


@pytest.mark.parametrize("damage", ["one without", "a wrong source", "another model", "no table", "another module"])
def test_other_files_read_as_the_passes_read_them(tagged, damage):
    proto = onnx.load(tagged)
    entries = {entry.key: entry for entry in proto.graph.node[0].metadata_props}
    if damage == "one without":
        del proto.graph.node[0].metadata_props[:]
    elif damage == "a wrong source":
        entries["htp.source"].value = "guess"
    elif damage == "another module":
        entries["htp.path"].value, entries["htp.tag"].value = "z.fc", "/Model/z/fc"
    elif damage == "another model":
        for entry in list(proto.metadata_props):
            if entry.key.startswith(("htp.modules.", "htp.nodes.")):
                proto.metadata_props.add(key=entry.key[:-8] + "0" * 8, value=entry.value)
    else:
        del proto.metadata_props[:]
    onnx.save(proto, tagged)
    assert told(attributed(tagged)) == told(by_the_passes(tagged))


def test_a_model_in_memory_stays_as_it_is(tagged):
    model = load_model(tagged)
    found = attributed(model)
    assert found is not model
    assert all(node.attribution is None for node in model.nodes())
    assert attributed(found) is found
