"""The metadata file: valid by its schema, a faithful tree, and no burden however large the export."""

from __future__ import annotations

import copy
import json
import math
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from modelexport.frontend.monitor import HTPExportMonitor, HTPExportStep, ModuleInfo, NodeInfo
from modelexport.frontend.monitor.metadata import schema

Make = Callable[..., HTPExportMonitor]
KEYS = [
    "format", "schema_version", "outcome", "export_context", "model", "inputs", "modules", "nodes", "statistics",
    "steps", "files",
]  # fmt: skip


def walk(modules: list[dict[str, Any]], depth: int = 0) -> Iterator[tuple[int, dict[str, Any]]]:
    for module in modules:
        yield depth, module
        yield from walk(module["children"], depth + 1)


@pytest.mark.parametrize("state", ["untouched", "complete", "failed", "halfway"])
def test_it_is_valid_by_the_shipped_schema(new_monitor: Make, monitored: Make, state: str) -> None:
    if state == "untouched":
        monitor = new_monitor()
    else:
        monitor = monitored(until=HTPExportStep.EXPORT if state in ("failed", "halfway") else None)
    if state == "failed":
        monitor.log_error(HTPExportStep.EXPORT, "no")
    metadata = json.loads(monitor.finalize()[0].read_text())
    assert list(metadata) == KEYS
    jsonschema.Draft202012Validator.check_schema(schema())
    jsonschema.validate(metadata, schema())


def test_the_schema_refuses_what_is_wrong(monitored: Make) -> None:
    good = monitored().get_metadata()
    changes: list[tuple[list[str], Any]] = [
        (["outcome", "status"], "fine"),
        (["outcome", "error"], "but it is a success"),
        (["statistics", "coverage"], 98.5),
        (["nodes", "/Cast", "confidence"], 2),
        (["steps", "TRACE"], {}),
        (["extra"], 1),
    ]
    for path, value in changes:
        bad = copy.deepcopy(good)
        place = bad
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(bad, schema())


def test_modules_are_a_tree_in_which_siblings_of_one_class_live_side_by_side(monitored: Make) -> None:
    metadata = monitored().get_metadata()
    rows = list(walk(metadata["modules"]))
    assert len(rows) == metadata["model"]["modules"] == 34
    assert len({module["path"] for _, module in rows}) == 34
    blocks = metadata["modules"][0]["children"][1]["children"]
    assert [(block["class"], block["name"]) for block in blocks] == [("Block", str(n)) for n in range(6)]
    assert {depth for depth, module in rows if module["class"] == "Linear"} == {1, 4}


def test_counts_of_modules_add_up(monitored: Make, steps: dict[HTPExportStep, dict[str, Any]]) -> None:
    metadata = monitored().get_metadata()
    records = steps[HTPExportStep.NODE_TAGGING]["nodes"].values()
    for _, module in walk(metadata["modules"]):
        path = module["path"]
        below = [other for _, other in walk([module])]
        assert module["nodes"] == sum(record["path"] == path for record in records)
        assert module["all_nodes"] == sum(other["nodes"] for other in below)
        assert module["all_parameters"] == sum(other["parameters"] for other in below)
    assert metadata["modules"][0]["all_nodes"] == metadata["statistics"]["total_nodes"] == 50


def test_modules_in_any_order_make_the_same_tree(monitored: Make, steps: dict[HTPExportStep, dict[str, Any]]) -> None:
    hierarchy = steps[HTPExportStep.HIERARCHY]["hierarchy"]
    expected = {module["path"]: module for _, module in walk(monitored().get_metadata()["modules"])}
    for order in (list(reversed(hierarchy)), sorted(hierarchy, key=lambda path: (path.count("."), path))):
        monitor = monitored()
        monitor.log_step(HTPExportStep.HIERARCHY, hierarchy={path: hierarchy[path] for path in order})
        found = {module["path"]: module for _, module in walk(monitor.get_metadata()["modules"])}
        assert set(found) == set(expected)
        for path, module in found.items():
            names = {child["path"] for child in module["children"]}
            assert names == {child["path"] for child in expected[path]["children"]}
            assert module["all_nodes"] == expected[path]["all_nodes"]


def test_a_module_goes_under_its_nearest_listed_ancestor(new_monitor: Make) -> None:
    monitor = new_monitor()
    paths = ["a", "a.b.c", "ab", "ab.c"]
    monitor.log_step(HTPExportStep.HIERARCHY, hierarchy={path: ModuleInfo(path) for path in paths})
    rows = [(depth, module["path"], module["name"]) for depth, module in walk(monitor.get_metadata()["modules"])]
    assert rows == [(0, "a", "a"), (1, "a.b.c", "b.c"), (0, "ab", "ab"), (1, "ab.c", "c")]


def test_nodes_of_tags_alone_have_null_for_the_rest(monitored: Make) -> None:
    monitor = monitored(until=HTPExportStep.NODE_TAGGING)
    monitor.log_step(HTPExportStep.NODE_TAGGING, tagged_nodes={"/a": "/Tiny/head", "/b": "/Other"}, total_nodes=4)
    metadata = monitor.get_metadata()
    assert metadata["nodes"]["/a"] == {"tag": "/Tiny/head", "path": None, "source": None, "confidence": None}
    statistics = metadata["statistics"]
    assert (statistics["tagged_nodes"], statistics["coverage"], statistics["nodes_of_unlisted_modules"]) == (2, 0.5, 1)
    assert next(module for _, module in walk(metadata["modules"]) if module["path"] == "head")["nodes"] == 1


def test_untagged_nodes_lower_the_coverage(new_monitor: Make) -> None:
    monitor = new_monitor()
    known = {"tag": "/M", "path": "", "source": "value", "confidence": 1.0}
    unknown = {"tag": None, "path": None, "source": None, "confidence": None}
    monitor.log_step(HTPExportStep.NODE_TAGGING, nodes={"a": known, "b": unknown}, total_nodes=2)
    assert monitor.get_metadata()["statistics"]["coverage"] == 0.5
    assert "1 node has no tag (50.0%)" in monitor.get_report()


def test_values_that_json_does_not_have(new_monitor: Make) -> None:
    monitor = new_monitor(model_name="caf\udce9")
    odd = {"nan": math.nan, "path": Path("folder") / "file.bin", 3: {1, 2}, "none": None}
    monitor.log_step(HTPExportStep.TRACE, odd=odd, nodes={"n\udcff": {"tag": "/M"}})
    text = monitor.finalize()[0].read_text(encoding="utf-8")
    metadata = json.loads(text, parse_constant=lambda word: pytest.fail(word))
    assert metadata["model"]["name"] == r"caf\xe9"
    assert list(metadata["nodes"]) == [r"n\xff"]
    assert metadata["steps"]["TRACE"]["data"]["odd"] == {"nan": None, "path": "file.bin", "3": [1, 2], "none": None}
    jsonschema.validate(metadata, schema())


def test_context_says_how_and_with_what(monitored: Make) -> None:
    context = monitored().get_metadata()["export_context"]
    assert (context["strategy"], context["exporter"], context["opset_version"]) == ("htp_builtin", "torchscript", 17)
    assert context["pipeline"] == "htp"
    assert {"python", "modelexport", "onnx"} <= set(context["versions"])
    assert context["warnings"] == ["dynamo could not export this model; TorchScript was used"]


@pytest.mark.parametrize(("large", "count"), [("nodes", 100_000), ("modules", 25_000)])
def test_large_exports_add_little_memory(tmp_path: Path, large: str, count: int) -> None:
    if large == "nodes":
        hierarchy = {f"m{n}": ModuleInfo(f"m{n}", "M", f"/M.m{n}") for n in range(200)}
        records = [NodeInfo(tag=f"/M.m{n}", path=f"m{n}", source="scope", confidence=0.99) for n in range(200)]
        nodes = {f"/m{n % 200}/Op_{n}": records[n % 200] for n in range(count)}
    else:
        paths = ["", *(f"g{n // 100}" + (f".m{n}" if n % 100 else "") for n in range(count - 1))]
        hierarchy = {path: ModuleInfo(path, "M", f"/M/{path}") for path in paths}
        nodes = {}
    monitor = HTPExportMonitor(tmp_path / "m.onnx", verbose=False)
    tracemalloc.start()
    try:
        monitor.log_step(HTPExportStep.NODE_TAGGING, hierarchy=hierarchy, nodes=nodes, total_nodes=len(nodes))
        paths_written = monitor.finalize()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(paths_written) == 3 and monitor.errors == []
    assert paths_written[0].stat().st_size > 50 * count
    assert peak < 3_000_000, f"{peak / 1e6:.1f} MB"
