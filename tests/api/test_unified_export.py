"""The unified exporter: choice, fallback, report, optimisation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from modelexport import HierarchyExporter, export_model
from modelexport.cli.schema import schema
from modelexport.core import tag_utils
from modelexport.frontend.unified.selection import ModelFacts, select
from modelexport.ir import errors
from modelexport.ir.errors import ConfigError, ExportError, MemoryLimitExceeded, OutputError
from modelexport.ir.io.embedded_tags import pipeline_of
from modelexport.strategies.htp.export_monitor import HTPExportMonitor
from modelexport.strategies.usage_based import UsageBasedExporter
from modelexport.unified_export import ExportStrategy, UnifiedExporter


class Mixer(torch.nn.Module):
    """Shape arithmetic and repeated constants, so that there is something to fold and to merge."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(4, 4)
        self.second = torch.nn.Linear(4, 4)
        self.norm = torch.nn.LayerNorm(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.first(x).pow(2.0)) * 3.0 + self.second(x).pow(2.0)
        return (x * 3.0 + 3.0).reshape(x.shape[0], -1, 2).transpose(1, 2).reshape(x.shape[0], -1)


INPUT = torch.randn(2, 4)
TORCHSCRIPT: dict[str, Any] = {"opset_version": 14, "dynamic_axes": {"x": {0: "batch"}}, "input_names": ["x"]}


def run(path: Path | str, x: torch.Tensor = INPUT) -> np.ndarray[Any, Any]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    return np.asarray(output)


def fail_in(monkeypatch: pytest.MonkeyPatch, kind: type, error: Exception) -> None:
    real = HierarchyExporter.export

    def export(self: HierarchyExporter, *args: Any, **kwargs: Any) -> dict[str, Any]:
        if type(self) is kind or kind is object:
            raise error
        return real(self, *args, **kwargs)

    monkeypatch.setattr(HierarchyExporter, "export", export)


@pytest.mark.parametrize("strategy", [ExportStrategy.HTP, "usage_based", "auto"])
def test_the_report(strategy: str, tmp_path: Path) -> None:
    exporter = UnifiedExporter(strategy=strategy, enable_monitoring=True)
    assert exporter.get_performance_report() == {}
    report = exporter.export(Mixer(), INPUT, tmp_path / "m.onnx", **TORCHSCRIPT)
    jsonschema.validate(json.loads(json.dumps(report)), schema("export"))
    assert report["summary"]["success"] and not report["errors"]
    assert report["summary"]["file_size"] == (tmp_path / "m.onnx").stat().st_size
    assert report["tagged_operations"] == report["total_operations"] == len(onnx.load(tmp_path / "m.onnx").graph.node)
    assert report["performance_metrics"]["memory_peak_usage"] > 0 and "auxiliary_operations_analysis" in report
    assert exporter.get_performance_report() is report
    assert tag_utils.validate_tag_consistency(tmp_path / "m.onnx")["consistent"]
    expected = "usage_based" if strategy == "usage_based" else "htp"
    assert report["summary"]["final_strategy"] == report["strategy_selection"]["selected"] == expected
    assert run(tmp_path / "m.onnx").shape == (2, 4)


def test_usage_based_runs_no_forward_and_no_hooks(tmp_path: Path) -> None:
    model = Mixer()
    calls = 0

    def count(*_: Any) -> None:
        nonlocal calls
        calls += 1

    model.register_forward_hook(count)
    result = UsageBasedExporter().export(model, INPUT, str(tmp_path / "m.onnx"), **TORCHSCRIPT)
    assert calls == 1  # torch's own run
    assert result["strategy"] == "usage_based" and result["operation_trace_length"] == 0
    assert result["builtin_tracking_enabled"] is False
    assert "scope" not in result["by_source"] and result["by_source"]["parameter"] >= 3
    tags = tag_utils.load_tags_from_onnx(tmp_path / "m.onnx").values()
    assert {row["primary_path"] for row in tags if row["source"] == "parameter"} <= {
        "/Mixer/Linear.first",
        "/Mixer/Linear.second",
        "/Mixer/LayerNorm",
    }


def test_a_failed_strategy_is_followed_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_in(monkeypatch, HierarchyExporter, ExportError("no scopes today"))
    report = export_model(Mixer(), INPUT, tmp_path / "m.onnx", strategy="htp", **TORCHSCRIPT)
    assert report["summary"]["strategies_tried"] == ["htp", "usage_based"]
    assert report["summary"]["final_strategy"] == "usage_based" == report["strategy"]
    assert report["errors"] == ["htp: no scopes today"]
    assert "htp: no scopes today" in report["warnings"]
    assert report["strategy_selection"]["selected"] == "htp"


def test_when_all_fail_the_error_has_all_reasons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_in(monkeypatch, object, ExportError("broken"))
    exporter = UnifiedExporter()
    with pytest.raises(ExportError, match="htp: broken; usage_based: broken") as caught:
        exporter.export(Mixer(), INPUT, tmp_path / "m.onnx")
    report = exporter.get_performance_report()
    assert caught.value.report is report
    assert report["summary"]["success"] is False and report["summary"]["final_strategy"] is None
    assert report["summary"]["strategies_tried"] == ["htp", "usage_based"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [ConfigError("no"), OutputError("no"), MemoryLimitExceeded("no")])
def test_what_is_not_the_strategys_fault_is_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    fail_in(monkeypatch, HierarchyExporter, error)
    exporter = UnifiedExporter("htp")
    with pytest.raises(type(error)):
        exporter.export(Mixer(), INPUT, tmp_path / "m.onnx")
    assert exporter.get_performance_report()["summary"]["strategies_tried"] == ["htp"]


def test_wrong_arguments() -> None:
    with pytest.raises(ConfigError, match="no strategy 'fast'; known: auto, htp, usage_based"):
        UnifiedExporter("fast")
    with pytest.raises(ConfigError, match="embedd"):
        UnifiedExporter(embedd=True)


def facts(**changes: Any) -> ModelFacts:
    known = {"type": "M", "module_count": 9, "scripted": 0, "weight_bytes": 1 << 20, "free_bytes": 1 << 30}
    return ModelFacts(**{**known, **changes})


def test_auto_chooses_from_facts() -> None:
    usual = select(ExportStrategy.AUTO, facts(), {})
    assert usual.order[0] is ExportStrategy.HTP and "9 modules" in usual.reasoning
    scripted = select(ExportStrategy.AUTO, facts(scripted=2), {})
    assert scripted.order[0] is ExportStrategy.USAGE_BASED and "TorchScript" in scripted.reasoning
    large = select(ExportStrategy.AUTO, facts(weight_bytes=1 << 29), {})
    assert large.order[0] is ExportStrategy.USAGE_BASED and "memory" in large.reasoning
    for wanted in (ExportStrategy.HTP, ExportStrategy.USAGE_BASED):
        assert select(wanted, facts(scripted=2), {}).order[0] is wanted
    assert len({usual.confidence, scripted.confidence, large.confidence}) == 3


def test_a_scripted_model_is_exported_by_its_weights(tmp_path: Path) -> None:
    model = torch.jit.script(torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2)))
    report = export_model(model, INPUT, tmp_path / "m.onnx", opset_version=17)
    assert report["summary"]["strategies_tried"] == ["usage_based"]
    assert report["model_info"] == {"type": "Sequential", "module_count": 4}
    assert report["by_source"]["parameter"] >= 2


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_optimize_keeps_outputs_and_tags(exporter: str, tmp_path: Path) -> None:
    model, plain, best = Mixer().eval(), tmp_path / "plain.onnx", tmp_path / "best.onnx"
    settings = TORCHSCRIPT if exporter == "torchscript" else {"optimize": False}
    before = UnifiedExporter("htp", exporter=exporter).export(model, INPUT, plain, **settings)
    after = UnifiedExporter("htp", optimize=True, exporter=exporter).export(model, INPUT, best, **settings)
    assert after["optimizations_applied"]
    assert after["total_operations"] < before["total_operations"]
    assert after["tagged_operations"] == after["total_operations"] == len(onnx.load(best).graph.node)
    assert np.array_equal(run(plain), run(best))
    onnx.checker.check_model(str(best))
    assert tag_utils.validate_tag_consistency(best)["consistent"]
    old, new = tag_utils.load_tags_from_onnx(plain), tag_utils.load_tags_from_onnx(best)
    kept = old.keys() & new.keys()
    assert kept and all(old[key]["tags"] == new[key]["tags"] for key in kept)
    assert set(tag_utils.get_tag_statistics(best)) == set(tag_utils.get_tag_statistics(plain))
    assert "constant-deduplication" in str(pipeline_of({e.key: e.value for e in onnx.load(best).metadata_props}))


def test_nothing_to_optimize_is_said_so(tmp_path: Path) -> None:
    report = export_model(torch.nn.Linear(4, 4), INPUT, tmp_path / "m.onnx", optimize=True, opset_version=17)
    assert report["optimizations_applied"] == []
    assert export_model(torch.nn.ReLU(), INPUT, tmp_path / "r.onnx", opset_version=17)["optimizations_applied"] == []


def test_optimize_without_embedding_keeps_the_sidecar_right(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    report = export_model(Mixer(), INPUT, path, optimize=True, embed=False, **TORCHSCRIPT)
    assert report["optimizations_applied"] and report["tagged_operations"] == report["total_operations"]
    assert tag_utils.load_tags_from_onnx(path) == {}
    assert len(tag_utils.load_tags_from_sidecar(path)["node_tags"]) == len(onnx.load(path).graph.node)


def test_benchmark(tmp_path: Path) -> None:
    table = UnifiedExporter().benchmark_strategies(Mixer(), INPUT, tmp_path, **TORCHSCRIPT)
    assert set(table["strategies"]) == {"htp", "usage_based"}
    assert table["fastest"] in table["strategies"]
    for name, row in table["strategies"].items():
        assert row["success"] and row["file_size"] == (tmp_path / f"{name}.onnx").stat().st_size
    assert table["strategies"]["htp"]["by_source"] != table["strategies"]["usage_based"]["by_source"]


def test_benchmark_of_what_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_in(monkeypatch, HierarchyExporter, ExportError("broken"))
    table = UnifiedExporter().benchmark_strategies(Mixer(), INPUT, **TORCHSCRIPT)
    assert table["strategies"]["htp"] == {
        "success": False,
        "export_time": table["strategies"]["htp"]["export_time"],
        "error": "broken",
    }
    assert table["fastest"] == "usage_based"


def test_file_size_counts_external_data(tmp_path: Path) -> None:
    wide = torch.nn.Linear(32, 32)  # weights of up to 256 bytes stay inside
    report = export_model(wide, torch.randn(2, 32), tmp_path / "m.onnx", external_data=True, **TORCHSCRIPT)
    files = (tmp_path / "m.onnx", tmp_path / "m.onnx.data")
    assert report["summary"]["file_size"] == sum(file.stat().st_size for file in files)


@pytest.mark.parametrize("embed", [True, False])
def test_monitors_of_an_optimized_export_tell_of_the_optimized_file(embed: bool, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    monitor = HTPExportMonitor(path, verbose=False)
    options: dict[str, Any] = {"embed": embed, "report": True, "monitor": monitor}
    report = export_model(Mixer(), INPUT, path, optimize=True, **options, **TORCHSCRIPT)
    assert report["optimizations_applied"]
    metadata = json.loads((tmp_path / "m_htp_metadata.json").read_text())
    nodes = onnx.load(path).graph.node
    assert set(metadata["nodes"]) == {node.name for node in nodes}
    assert metadata["statistics"]["total_nodes"] == len(nodes) == report["total_operations"]
    assert metadata["statistics"]["by_source"] == report["by_source"]
    assert metadata["outcome"]["status"] == "success"
    sizes = {entry["role"]: entry["bytes"] for entry in metadata["files"]}
    assert sizes["model"] == metadata["steps"]["SAVE"]["data"]["file_size"] == path.stat().st_size
    assert monitor.get_metadata()["nodes"] == metadata["nodes"]


def test_a_failed_optimization_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(result: dict[str, Any], **options: Any) -> list[str]:
        raise OutputError("no room")

    monkeypatch.setattr("modelexport.frontend.unified.optimize.optimize_file", refuse)
    with pytest.raises(OutputError, match="no room"):
        export_model(Mixer(), INPUT, tmp_path / "m.onnx", optimize=True, report=True, **TORCHSCRIPT)
    outcome = json.loads((tmp_path / "m_htp_metadata.json").read_text())["outcome"]
    assert outcome == {"status": "failed", "step": "SAVE", "error": "OutputError: no room"}


def test_an_export_that_fails_before_it_would_be_optimized_is_told(tmp_path: Path) -> None:
    options: dict[str, Any] = {"optimize": True, "report": True, "exporter": "torchscript"}
    with pytest.raises(ExportError):
        export_model(Mixer(), torch.ones(2, 5), tmp_path / "m.onnx", **options)
    metadata = json.loads((tmp_path / "m_htp_metadata.json").read_text())
    assert metadata["outcome"]["status"] == "failed"
    assert metadata["steps"]["SAVE"]["status"] == "not run"


def test_a_report_tells_why_another_strategy_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise ExportError("not this way")

    monkeypatch.setattr("modelexport.frontend.export.job.apply_scopes", refuse)
    report = export_model(Mixer(), INPUT, tmp_path / "m.onnx", report=True, exporter="torchscript", **TORCHSCRIPT)
    assert report["summary"]["strategies_tried"] == ["htp", "usage_based"]
    metadata = json.loads((tmp_path / "m_htp_metadata.json").read_text())
    assert metadata["outcome"]["status"] == "success"
    assert "htp: not this way" in metadata["export_context"]["warnings"]
    assert "htp: not this way" in (tmp_path / "m_htp_export_report.txt").read_text()


@pytest.mark.parametrize("optimize", [True, False])
def test_files_that_cannot_be_written_are_a_warning(tmp_path: Path, optimize: bool) -> None:
    (tmp_path / "m_htp_export_report.txt").mkdir()
    report = export_model(Mixer(), INPUT, tmp_path / "m.onnx", report=True, optimize=optimize, **TORCHSCRIPT)
    assert [line for line in report["warnings"] if "m_htp_export_report.txt" in line]
    assert (tmp_path / "m_htp_metadata.json").is_file()


def test_the_report_of_the_last_attempt_has_the_failures_before_it(tmp_path: Path) -> None:
    with pytest.raises(ExportError):
        export_model(Mixer(), torch.ones(2, 5), tmp_path / "m.onnx", report=True, exporter="torchscript")
    metadata = json.loads((tmp_path / "m_htp_metadata.json").read_text())
    assert metadata["outcome"]["status"] == "failed"
    assert [line for line in metadata["export_context"]["warnings"] if line.startswith("htp: ")]


@pytest.mark.parametrize(
    ("name", "kind", "other"),
    [
        ("context_inheritance.ContextInheritance", errors.ContextInheritanceError, errors.AuxiliaryOperationError),
        ("fallback_tagging.FallbackTagging", errors.AuxiliaryOperationError, errors.ContextInheritanceError),
    ],
)
def test_a_pass_that_crashes_under_every_strategy_has_the_class_of_its_crash(
    name: str, kind: Any, other: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*arguments: object) -> None:
        raise RuntimeError("no way")

    monkeypatch.setattr(f"modelexport.passes.{name}.run", crash)
    with pytest.raises(ExportError, match=r"every strategy failed: htp: .*no way; usage_based: .*no way") as caught:
        export_model(torch.nn.Linear(2, 2), torch.ones(1, 2), tmp_path / "m.onnx")
    report = caught.value.report
    assert report is not None and report["summary"]["strategies_tried"] == ["htp", "usage_based"]  # type: ignore[index]
    error: BaseException = caught.value
    assert isinstance(error, kind) and isinstance(error, errors.PassError) and not isinstance(error, other)
    assert isinstance(error.__cause__, kind) and error.exit_code == 3
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("more", [{}, {"optimize": True}, {"report": True}, {"embed": False}])
def test_a_pipeline_that_names_no_torch_modules_is_so_in_every_file(more: dict[str, Any], tmp_path: Path) -> None:
    steps = "scope-attribution,context-inheritance,fallback-tagging,attribute-embedding{torch-nn=false}"
    target = tmp_path / "m.onnx"
    export_model(Mixer().eval(), torch.ones(1, 4), target, pipeline=steps, **more)
    assert set(tag_utils.get_tag_statistics(target)) == {"/Mixer"}
    if more.get("embed", True):
        assert tag_utils.validate_tag_consistency(target)["consistent"]
    if "report" in more:
        told = json.loads((tmp_path / "m_htp_metadata.json").read_text())
        assert {node["tag"] for node in told["nodes"].values()} == {"/Mixer"}
