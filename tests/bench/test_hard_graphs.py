"""The graphs of the benchmark of hard use, small: each is what its name says, and every command takes it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import onnx
import pytest

from modelexport.cli import htp_opt

FOLDER = Path(__file__).resolve().parents[2] / "bench" / "inputs"


@pytest.fixture
def graphs() -> Iterator[ModuleType]:
    sys.path.insert(0, str(FOLDER))
    try:
        yield importlib.import_module("hard_graphs")
    finally:
        sys.path.remove(str(FOLDER))


def paths(file: Path) -> list[str]:
    nodes = onnx.load(file).graph.node
    return [{entry.key: entry.value for entry in node.metadata_props}["htp.path"] for node in nodes]


def test_every_graph_is_tagged_by_its_names(graphs: ModuleType, tmp_path: Path) -> None:
    small = {
        "readers": (graphs.readers(40), [*(f"layer.{index}" for index in range(40)), ""]),
        "branches": (graphs.branches(20), [f"layer.{index}" for index in range(20)]),
        "reversed": (graphs.reversed_chain(50), [f"layer.{index}" for index in reversed(range(50))]),
    }
    for name, (model, expected) in small.items():
        file, tagged = tmp_path / f"{name}.onnx", tmp_path / f"{name}.tagged.onnx"
        file.write_bytes(model.SerializeToString())
        if name != "reversed":
            onnx.checker.check_model(model)
        assert htp_opt.main([str(file), "-o", str(tagged), "-q"]) == 0
        assert paths(tagged) == expected, name


def test_bodies_nested_as_deep_as_protobuf_reads(graphs: ModuleType, tmp_path: Path) -> None:
    file, tagged = tmp_path / "nested.onnx", tmp_path / "tagged.onnx"
    file.write_bytes(graphs.nested().SerializeToString())
    assert htp_opt.main([str(file), "-o", str(tagged), "-q"]) == 0
    node, depth = onnx.load(tagged).graph.node[0], 0
    while node.op_type == "If":
        node, depth = next(one.g for one in node.attribute if one.name == "then_branch").node[0], depth + 1
    found = {entry.key: entry.value for entry in node.metadata_props}["htp.path"]
    assert depth == graphs.DEPTH == 30
    assert found == ".".join(f"inner.{level}" for level in range(30))
