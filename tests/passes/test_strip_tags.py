"""strip-tags: embed followed by strip gives the original bytes."""

from __future__ import annotations

import pytest

from modelexport.ir import load_model
from modelexport.ir.io.writer import to_bytes
from modelexport.passes.testing import make_model, run_pass

_TEXT = """
agraph (float[N] X, bool C) => (float[N] Y) {
    [first] a = Relu (X)    # scope: enc
    b = If (C) <            # scope: enc.x
      then_branch = t () => (float[N] u) {
        u = Relu (a)        # scope: enc.x.y
        # meta: namespace=theirs
      },
      else_branch = e () => (float[N] v) {
        v = Neg (a)         # scope: enc.x
      }>
    Y = Neg (b)             # scope: .
    # meta: {"pkg.torch.onnx.name_scopes": "['', 'x']", "other": "1"}
}
"""


def _source() -> bytes:
    """A model with doc strings of every kind: a text, an empty one, none."""
    proto = make_model(_TEXT).proto
    proto.graph.node[0].doc_string = "text"
    proto.graph.node[1].doc_string = ""
    proto.metadata_props.add(key="author", value="someone")
    return proto.SerializeToString(deterministic=True)


@pytest.mark.parametrize("interop", ["none", "namespace", "torch", "winml"])
@pytest.mark.parametrize("carrier", ["metadata", "doc-string", "both"])
def test_embedding_then_stripping_is_lossless(interop: str, carrier: str) -> None:
    source = _source()
    model = load_model(source)
    run_pass("scope-attribution", model)
    run_pass("fallback-tagging", model)
    run_pass(f"attribute-embedding{{interop={interop} carrier={carrier}}}", model)
    tagged = to_bytes(model)
    assert tagged != source
    model = load_model(tagged)
    result = run_pass("strip-tags", model)
    assert result.changed == 5
    assert to_bytes(model) == source


def test_a_foreign_model_is_left_alone() -> None:
    source = _source()
    model = load_model(source)
    assert run_pass("strip-tags", model).changed == 0
    assert to_bytes(model) == source


def test_a_doc_string_that_only_looks_like_ours_stays() -> None:
    proto = make_model(_TEXT).proto
    proto.graph.node[0].doc_string = "x\n@htp {not json"
    proto.graph.node[1].doc_string = "\n@htp [1]"
    source = proto.SerializeToString(deterministic=True)
    model = load_model(source)
    assert run_pass("strip-tags", model).changed == 0
    assert to_bytes(model) == source
