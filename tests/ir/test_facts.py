"""Facts: what each checker finds, and that it finds nothing where the fact holds."""

from __future__ import annotations

import pytest

from modelexport.ir.attribution import Attribution, Source
from modelexport.ir.facts import Fact
from modelexport.ir.io.reader import from_proto
from modelexport.ir.model import Model
from modelexport.passes.testing import make_model

_CHAIN = """
agraph (float[N] X) => (float[N] Y) {
    [first] a = Relu (X)
    [second] b = Exp (a)
    [third] Y = Neg (b)
}
"""
_RECORD = {"htp.path": "enc", "htp.tag": "/Net/enc", "htp.source": "scope", "htp.rule": "r", "htp.confidence": "1.00"}


def attribute(model: Model, name: str, source: Source = Source.SCOPE, by: str = "test") -> None:
    node = next(node for node in model.nodes() if node.name == name)
    node.attribute_to(Attribution("enc", source, "r", 1.0, by=by))


def found(fact: Fact, model: Model) -> list[str]:
    return [str(violation) for violation in fact.check(model)]


def test_scoped_looks_for_own_records_of_open_nodes() -> None:
    model = make_model(_CHAIN)
    assert found(Fact.SCOPED, model) == []
    first, second, _ = model.nodes()
    first.patch_metadata(_RECORD)
    second.patch_doc(
        '\n@htp {"htp.path":"enc","htp.tag":"/t","htp.source":"scope","htp.rule":"r","htp.confidence":"1"}'
    )
    assert found(Fact.SCOPED, model) == [
        "main: node 0 (first): is open, and its own record says 'enc'",
        "main: node 1 (second): is open, and its own record says 'enc'",
    ]
    attribute(model, "first")
    attribute(model, "second")
    assert found(Fact.SCOPED, model) == []


def test_a_damaged_record_is_none() -> None:
    model = make_model(_CHAIN)
    next(model.nodes()).patch_metadata({**_RECORD, "htp.source": "guess"})
    assert found(Fact.SCOPED, model) == []


def test_inherited_looks_at_the_readers_of_open_nodes() -> None:
    model = make_model(_CHAIN)
    attribute(model, "third")
    assert found(Fact.INHERITED, model) == [
        "main: node 1 (second): is open, and main: node 2 (third) that reads it is not"
    ]
    attribute(model, "second", Source.INHERITED)
    assert found(Fact.INHERITED, model) == []  # how far weak evidence goes is an option of the pass


@pytest.mark.parametrize("fact", [Fact.SCOPED, Fact.INHERITED])
def test_whoever_attributes_says_so(fact: Fact) -> None:
    model = make_model(_CHAIN)
    for name in ("first", "second", "third"):
        attribute(model, name, by="" if name == "second" else "test")
    assert found(fact, model) == ["main: node 1 (second): its attribution does not name the pass that set it"]


def test_tagged_and_embedded() -> None:
    model = make_model(_CHAIN)
    attribute(model, "first")
    assert len(found(Fact.TAGGED, model)) == 2
    assert found(Fact.EMBEDDED, model) == ["main: node 0 (first): metadata says None, the IR says 'enc'"]
    next(model.nodes()).patch_doc('\n@htp {"htp.path":"enc"}')
    assert found(Fact.EMBEDDED, model) == []
    next(model.nodes()).patch_doc('\n@htp {"htp.path":"other"}')
    assert found(Fact.EMBEDDED, model) == ["main: node 0 (first): metadata says 'other', the IR says 'enc'"]


def test_a_sample_is_spread_over_the_model() -> None:
    model = make_model(_CHAIN)
    every = found(Fact.TAGGED, model)
    assert [str(each) for each in Fact.TAGGED.check(model, len(every))] == every
    assert [str(each) for each in Fact.TAGGED.check(model, 2)] == [every[0], every[2]]
    assert [str(each) for each in Fact.TAGGED.check(model, 1)] == [every[0]]


def test_inherited_asks_the_first_of_two_nodes_that_make_one_value() -> None:
    proto = make_model(_CHAIN).proto
    proto.graph.node.add(op_type="Relu", name="again", input=["X"], output=["a"])
    model = from_proto(proto)
    attribute(model, "first", Source.FALLBACK)
    attribute(model, "second")
    attribute(model, "third")
    assert found(Fact.INHERITED, model) == []
    open_first = from_proto(proto)
    attribute(open_first, "second")
    attribute(open_first, "third")
    assert found(Fact.INHERITED, open_first) == [
        "main: node 0 (first): is open, and main: node 1 (second) that reads it is not"
    ]
