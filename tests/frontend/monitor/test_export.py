"""Monitoring real exports: what the files say is what the saved model says."""

from __future__ import annotations

import json
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import onnx
import pytest
import torch

from modelexport import HierarchyExporter
from modelexport.frontend.monitor import HTPExportData, HTPExportMonitor, HTPExportStep, StepAwareWriter
from modelexport.frontend.monitor.metadata import schema
from modelexport.ir.errors import ExportError, ModelExportError


class Gate(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.LayerNorm(8)
        self.up = torch.nn.Linear(8, 16)
        self.down = torch.nn.Linear(16, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = self.down(torch.relu(self.up(self.norm(x))))
        return x + hidden.reshape(x.shape[0], -1, 8)


class Stack(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = torch.nn.Embedding(32, 8)
        self.gates = torch.nn.ModuleList(Gate() for _ in range(3))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.embed(ids)
        for gate in self.gates:
            x = gate(x)
        return x


class Refusing(torch.nn.Module):
    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        raise ValueError("no forward today")


def inputs() -> dict[str, torch.Tensor]:
    return {"ids": torch.randint(0, 32, (2, 5))}


def nodes_of(graph: Any) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for body in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                yield from nodes_of(body)


def saved_tags(path: Path) -> list[Mapping[str, str]]:
    """What each node of the file says of itself, at every depth."""
    model = onnx.load(path)
    scopes = [model.graph, *model.functions]
    return [{entry.key: entry.value for entry in node.metadata_props} for scope in scopes for node in nodes_of(scope)]


@pytest.fixture(scope="module", params=["torchscript", "dynamo", "collapsed"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    exporter = "dynamo" if request.param == "dynamo" else "torchscript"
    HierarchyExporter(exporter=exporter, report=True, torch_nn=request.param != "collapsed").export(
        Stack().eval(), inputs(), folder / "m.onnx"
    )
    return folder


def metadata_in(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / "m_htp_metadata.json").read_text())
    return loaded


def test_metadata_is_valid_and_says_success(folder: Path) -> None:
    metadata = metadata_in(folder)
    jsonschema.validate(metadata, schema())
    assert metadata["outcome"] == {"status": "success", "step": "COMPLETE", "error": None}
    assert {step["status"] for step in metadata["steps"].values()} == {"done"}
    assert metadata["inputs"] == [{"name": "ids", "dtype": "int64", "shape": [2, 5]}]


def test_nodes_in_the_metadata_are_the_nodes_of_the_file(folder: Path) -> None:
    def row(tag: str | None, path: str | None, source: str | None, confidence: float) -> tuple[Any, ...]:
        return tag, path, source, f"{confidence:.2f}"

    told = [row(*record.values()) for record in metadata_in(folder)["nodes"].values()]
    saved = [
        row(tags["htp.tag"], tags["htp.path"], tags["htp.source"], float(tags["htp.confidence"]))
        for tags in saved_tags(folder / "m.onnx")
    ]
    assert Counter(told) == Counter(saved)
    sidecar = json.loads((folder / "m_hierarchy.json").read_text())
    assert list(metadata_in(folder)["nodes"]) == list(sidecar["node_tags"])


def test_statistics_are_those_of_the_file(folder: Path) -> None:
    statistics = metadata_in(folder)["statistics"]
    saved = saved_tags(folder / "m.onnx")
    assert statistics["total_nodes"] == len(saved)
    assert statistics["tagged_nodes"] == sum("htp.tag" in tags for tags in saved)
    assert statistics["by_source"] == Counter(tags["htp.source"] for tags in saved)
    assert statistics["coverage"] == 1.0


def test_module_tables_count_the_nodes_of_the_file(folder: Path) -> None:
    owners = Counter(tags["htp.path"] for tags in saved_tags(folder / "m.onnx"))
    report = (folder / "m_htp_export_report.txt").read_text()
    rows = re.findall(r"^ +([\d,]+) +([\d,]+) +([\d,]+) +([\d,]+) +\d+  (\S+) \S+$", report, re.M)
    table = {
        path.replace("(root)", ""): [int(amount.replace(",", "")) for amount in amounts] for *amounts, path in rows
    }
    model = dict(Stack().named_modules())
    assert set(table) == set(model)
    for path, (own, every, parameters, all_parameters) in table.items():
        below = [other for other in owners if other == path or not path or other.startswith(f"{path}.")]
        assert own == owners[path]
        assert every == sum(owners[other] for other in below)
        assert parameters == sum(p.numel() for p in model[path].parameters(recurse=False))
        assert all_parameters == sum(p.numel() for p in model[path].parameters())


def test_the_report_and_the_log_count_sources_as_the_file_does(folder: Path) -> None:
    counts = Counter(tags["htp.source"] for tags in saved_tags(folder / "m.onnx"))
    for name in ("m_htp_export_report.txt", "m_htp_console.log"):
        text = (folder / name).read_text()
        for source, count in counts.items():
            assert re.search(rf"^ +{source} +{count} +[\d.]+%", text, re.M), (name, source)
        assert re.search(rf"^ +tagged +{counts.total()} +100.0%", text, re.M)


def test_files_in_the_metadata_are_there_with_their_sizes(folder: Path) -> None:
    listed = {entry["path"]: entry["bytes"] for entry in metadata_in(folder)["files"]}
    assert set(listed) == {path.name for path in folder.iterdir()}
    assert all((folder / name).stat().st_size == size for name, size in listed.items() if size is not None)


def test_verbose_shows_the_eight_steps_and_writes_no_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    HierarchyExporter(verbose=True).export(Stack().eval(), inputs(), tmp_path / "m.onnx", opset_version=17)
    out, err = capsys.readouterr()
    assert out == ""
    assert re.findall(r"^\[(\d)/8\]", err, re.M) == list("12345678")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.onnx", "m_hierarchy.json"]


class Listening(StepAwareWriter):
    def __init__(self) -> None:
        self.steps: list[HTPExportStep] = []

    def on_step(self, step: HTPExportStep, data: HTPExportData) -> None:
        self.steps.append(step)


def test_a_monitor_of_the_user_is_told_every_step_and_not_finalised(tmp_path: Path) -> None:
    listening = Listening()
    monitor = HTPExportMonitor(tmp_path / "m.onnx", verbose=False, writers=[listening])
    result = HierarchyExporter(monitor=monitor).export(Stack().eval(), inputs(), tmp_path / "m.onnx", opset_version=17)
    assert listening.steps == list(HTPExportStep)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.onnx", "m_hierarchy.json"]
    data = monitor.data
    assert (data.total_nodes, data.coverage) == (result["total_operations"], 1.0)
    assert dict(data.tagged_nodes) == {key: record["tag"] for key, record in data.nodes.items()}
    assert dict(data.tagging_stats) == result["by_source"]
    assert data.execution_steps == 14 and data.hierarchy["gates.1.up"].calls == 1
    assert data.hierarchy["gates"].execution_order == -1
    assert monitor.errors == []


def test_a_failed_export_leaves_three_files_that_say_so_and_raises(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="no forward today"):
        HierarchyExporter(report=True).export(Refusing(), inputs(), tmp_path / "m.onnx")
    names = ["m_htp_console.log", "m_htp_export_report.txt", "m_htp_metadata.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    outcome = metadata_in(tmp_path)["outcome"]
    assert (outcome["status"], outcome["step"]) == ("failed", "TRACE") and "no forward today" in outcome["error"]
    for name in names[:2]:
        text = (tmp_path / name).read_text()
        assert re.search(r"failed at \[4/8\] TRACE", text, re.I) and "no forward today" in text


@pytest.mark.parametrize(
    ("step", "changed"),
    [
        ("MODEL_PREP", {"model": 5}),
        ("MODEL_PREP", {"no_such_argument": 1}),
        ("MODEL_PREP", {"pipeline": "no-such-pass"}),
        ("INPUT_GEN", {"example_inputs": "nonsense"}),
    ],
)
def test_failures_before_the_model_runs_leave_their_files_too(
    tmp_path: Path, step: str, changed: dict[str, Any]
) -> None:
    given: dict[str, Any] = {"model": Stack(), "example_inputs": inputs(), "pipeline": "htp", **changed}
    monitor = HTPExportMonitor(tmp_path / "m.onnx", verbose=False)
    exporter = HierarchyExporter(report=True, monitor=monitor, pipeline=given.pop("pipeline"))
    with pytest.raises(ModelExportError) as failure:
        exporter.export(output_path=tmp_path / "m.onnx", **given)
    outcome = metadata_in(tmp_path)["outcome"]
    assert (outcome["status"], outcome["step"]) == ("failed", step) and str(failure.value) in outcome["error"]
    assert outcome == monitor.get_metadata()["outcome"]
    assert len(list(tmp_path.iterdir())) == 3


def test_an_export_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("default")
        exporter = HierarchyExporter(report=True, exporter="dynamo")
        result = exporter.export(Stack(), inputs(), tmp_path / "m.onnx", opset_version=20)
    assert capfd.readouterr() == ("", "")
    assert [str(one.message) for one in warned if one.category in (FutureWarning, UserWarning)] == []
    assert [line for line in result["warnings"] if "training mode" in line]
