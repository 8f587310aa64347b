"""The text dump, as people read it."""

from __future__ import annotations

import loss_cases
import pytest
from onnx import helper

from modelexport.ir import Attribution, Source
from modelexport.ir.dump import dump
from modelexport.ir.io.reader import from_proto

EXPECTED = """\
model ir_version=8 ai.onnx=17
  k: v

main 'g' (x) -> (y, z)
  flag: bool[]
  h = Relu(x)  # "a.b" scope/name 1.00 'relu'
  y = Neg(h)   # - 'neg'
  z = If{else_branch=<graph>, then_branch=<graph>}(flag)  # - 'if'

main/2.else_branch 'else' () -> (else_out)
  else_out = Mul(x, x)  # - 'mul'

main/2.then_branch 'then' () -> (then_out)
  in_then = Add(x, h)      # - 'add'
  then_out = Abs(in_then)  # - 'abs'
"""


def test_dump() -> None:
    model = from_proto(loss_cases.build("captured_variable"))
    model.patch_metadata({"k": "v"})
    model.main.nodes[0].attribute_to(Attribution("a.b", Source.SCOPE, "name", 1.0, by="test"))
    lines = [line.rstrip() for line in dump(model).splitlines()]
    expected = EXPECTED.splitlines()
    assert [" ".join(line.split()) for line in lines] == [" ".join(line.split()) for line in expected]
    assert len({line.index("#") for line in lines if line.startswith("  ") and "#" in line and "= " in line[:9]}) == 1


def test_attributes_are_short() -> None:
    proto = loss_cases.chain()
    node = proto.graph.node[0]
    node.domain = "acme"
    for key, value in {
        "i": 1,
        "f": 0.5,
        "s": "t" * 99,
        "ints": list(range(20)),
        "w": loss_cases.tensor("", 1.0),
    }.items():
        node.attribute.append(helper.make_attribute(key, value))
    line = dump(from_proto(proto)).splitlines()[3]
    assert line.startswith(
        "  h = acme.Relu{i=1, f=0.5, s='" + "t" * 40 + "... 99 characters', "
        "ints=[0, 1, 2, 3, 4, 5, 6, 7, ... 20 in all], w=float[1]}(x)"
    )


@pytest.mark.parametrize("name", loss_cases.CASES)
def test_everything_can_be_dumped_as_printable_text(name: str) -> None:
    text = dump(from_proto(loss_cases.build(name)))
    assert text.replace("\n", "").isprintable()
    text.encode("utf-8")
