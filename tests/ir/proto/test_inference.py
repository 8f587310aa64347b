"""onnx's inference, and the operators of which it ends the process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from onnx import parser

from modelexport.ir.proto.inference import inferred_copy

TEXT = """<ir_version: 8, opset_import: ["" : 20, "ai.onnx.ml" : 2, "acme" : 1]>
g (string[2] s, bool c) => (int64[2] y) {
    l = LOWER (s)
    i = ai.onnx.ml.LabelEncoder <keys_int64s = [0, 1], values_int64s = [0, 1]> (l)
    j = ai.onnx.ml.LabelEncoder <keys_int64s = [0, 1], values_int64s = [0, 1]> (i)
    z = If (c) <then_branch = t () => (m) { m = ai.onnx.ml.LabelEncoder <keys_int64s = [0], values_int64s = [0]> (l) },
                else_branch = e () => (n) { n = Identity (j) }>
    y = Add (j, z) }"""
CODE = """
import sys, onnx
from modelexport.ir.proto.inference import inferred_copy
found, problem = inferred_copy(onnx.load(sys.argv[1]))
assert found is not None and not problem, problem
"""


def model(lower: str) -> onnx.ModelProto:
    return parser.parse_model(TEXT.replace("LOWER", lower))


@pytest.mark.parametrize("lower", ["acme.Lower", "StringNormalizer", ""])
def test_an_operator_behind_an_unknown_one_does_not_end_the_process(lower: str, tmp_path: Path) -> None:
    source = model(lower or "acme.Lower")
    if not lower:
        source.graph.node[1].input[0] = ""
    onnx.save(source, tmp_path / "m.onnx")
    done = subprocess.run([sys.executable, "-c", CODE, str(tmp_path / "m.onnx")], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_is_known_is_inferred_and_the_nodes_stay() -> None:
    source = model("Cast <to = 7>")
    found, problem = inferred_copy(source)
    assert found is not None and not problem
    sizes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in found.graph.value_info}
    assert sizes["i"] == sizes["j"] == sizes["l"] == [2]
    assert found.opset_import == source.opset_import
    assert [node.domain for node in found.graph.node] == [node.domain for node in source.graph.node]
    assert found.graph.node[3].attribute[0].g.node == source.graph.node[3].attribute[0].g.node
    unknown, _ = inferred_copy(model("acme.Lower"))
    assert unknown is not None and [node.domain for node in unknown.graph.node][:3] == [
        "acme",
        "ai.onnx.ml",
        "ai.onnx.ml",
    ]
