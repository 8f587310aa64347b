"""The result, its options and the files."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import architectures
import ground_truth
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch_versions import needs_dynamo_by_default

from modelexport.frontend.export.exporter import HierarchyExporter
from modelexport.frontend.inputs.options import read_options
from modelexport.frontend.monitor.data import HTPExportStep
from modelexport.frontend.torch.torch_internals import default_is_dynamo
from modelexport.ir import Model, errors
from modelexport.ir.errors import ConfigError, ExportError, InputError, MemoryLimitExceeded, PipelineError
from modelexport.ir.io.weights import Weights
from modelexport.passes import Pass, PassContext, PassResult
from modelexport.passes.pipeline import registry


def small() -> nn.Module:
    return nn.Sequential(nn.Linear(300, 300), nn.ReLU(), nn.Linear(300, 2)).eval()


def export(path: Path, model: nn.Module | None = None, example: Any = None, /, **options: Any) -> dict[str, Any]:
    """Constructor arguments and those of torch are told apart by name."""
    names = ("builtin_tracking", "enable_performance_monitoring", "embed", "sidecar", "report", "pipeline", "monitor")
    names += ("exporter", "torch_nn", "verbose")
    given = {name: options.pop(name) for name in names if name in options}
    options.setdefault("opset_version", 17)
    example = torch.ones(1, 300) if example is None else example
    return HierarchyExporter("htp", **given).export(model or small(), example, str(path), **options)


def test_documented_keys(tmp_path: Path) -> None:
    result = export(tmp_path / "m.onnx")
    assert result["output_path"] == result["onnx_path"] == str(tmp_path / "m.onnx")
    assert result["strategy"] == "htp_builtin" and result["builtin_tracking_enabled"] is True
    assert result["total_operations"] == result["tagged_operations"] == 3
    assert result["operation_trace_length"] == 3 and result["native_op_regions"] == 3
    assert result["exporter"] == "torchscript" and result["opset_version"] == 17
    assert result["by_source"] == {"scope": 3} and result["warnings"] == []
    assert "export_time" not in result
    sidecar = json.loads(Path(result["sidecar_path"]).read_text())
    assert sidecar["exporter"]["exporter"] == "torchscript" and sidecar["exporter"]["strategy"] == "htp_builtin"
    assert [module["path"] for module in sidecar["modules"]] == ["", "0", "1", "2"]
    assert sidecar["tag_statistics"] == {
        "/Sequential/Linear.0": 1,
        "/Sequential/ReLU.1": 1,
        "/Sequential/Linear.2": 1,
    }


def test_monitoring_keys_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, example = architectures.get("encoder")
    axes = {name: {0: "batch"} for name in example}
    monkeypatch.setenv("MODELEXPORT_ENABLE_PROFILING", "1")
    result = export(tmp_path / "m.onnx", model, example, dynamic_axes=axes)
    analysis, profile = result["auxiliary_operations_analysis"], result["performance_profile"]
    assert result["export_time"] > 0 and isinstance(profile["memory_peak_usage"], int)
    assert profile["memory_peak_usage"] > 50
    assert 0 < profile["context_inheritance_time"] < result["export_time"]
    assert result["auxiliary_operations_coverage"] == 1.0 and result["fallback_strategy_usage"] == 0
    assert result["context_inheritance_success_rate"] == 1.0
    roles = [node["role"] for node in json.loads(Path(result["sidecar_path"]).read_text())["node_tags"].values()]
    assert analysis["total_auxiliary_ops"] == roles.count("auxiliary") == sum(analysis["operation_types"].values())
    assert analysis["tagged_auxiliary_ops"] == analysis["total_auxiliary_ops"] > analysis["context_inherited"] > 0
    assert analysis["operation_types"]["Constant"] > 5


def test_nodes_of_bodies_are_counted(tmp_path: Path) -> None:
    @torch.jit.script
    def loop(x: Tensor, times: int) -> Tensor:
        for _ in range(times):
            x = x.sin() + 1.0
        return x

    class Loops(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Inner()

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x) * 2.0

    class Inner(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return loop(x, x.shape[0])

    axes = {"x": {0: "n"}}
    result = export(tmp_path / "m.onnx", Loops(), torch.ones(3, 2), input_names=["x"], dynamic_axes=axes)
    graph = onnx.load(tmp_path / "m.onnx").graph
    body = next(node for node in graph.node if node.op_type == "Loop").attribute[0].g
    assert result["total_operations"] == len(graph.node) + len(body.node) == result["tagged_operations"]
    for node in body.node:
        assert {entry.key: entry.value for entry in node.metadata_props}["htp.path"] == "inner"


def test_without_builtin_tracking_tags_are_matched_by_value(tmp_path: Path) -> None:
    model, example = architectures.get("encoder")
    exact = export(tmp_path / "exact.onnx", model, example)
    result = export(tmp_path / "m.onnx", model, example, builtin_tracking=False)
    assert result["strategy"] == "htp" and result["builtin_tracking_enabled"] is False
    assert result["by_source"].get("scope", 0) == 0 and result["by_source"]["value"] > 50
    truth, found = (ground_truth.paths_in(tmp_path / name) for name in ("exact.onnx", "m.onnx"))
    assert exact["total_operations"] == result["total_operations"]
    same = sum(truth[name] == found[name] for name in truth)
    assert same / len(truth) > 0.95


def test_embed_false_keeps_tags_in_the_sidecar_only(tmp_path: Path) -> None:
    result = export(tmp_path / "m.onnx", embed=False)
    assert result["tagged_operations"] == 3 and result["by_source"] == {"scope": 3}
    assert not any(node.metadata_props for node in onnx.load(tmp_path / "m.onnx").graph.node)
    assert "attribute-embedding" not in json.loads(Path(result["sidecar_path"]).read_text())["pipeline"]
    with pytest.raises(ConfigError, match="lost"):
        HierarchyExporter(embed=False, sidecar=False)


def test_torch_nn_false_collapses_tags(tmp_path: Path) -> None:
    model, example = architectures.get("unet")
    result = export(tmp_path / "m.onnx", model, example, torch_nn=False)
    tags = json.loads(Path(result["sidecar_path"]).read_text())["tag_statistics"]
    assert set(tags) == {"/UNet", "/UNet/Double.down.0", "/UNet/Double.down.1", "/UNet/Double.merge.0"}
    assert "down.0.conv1" in {path for path, _, _ in ground_truth.paths_in(tmp_path / "m.onnx").values()}


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_external_data_is_one_file(exporter: str, tmp_path: Path) -> None:
    model, example = small(), torch.randn(1, 300)
    export(tmp_path / "m.onnx", model, example, exporter=exporter, external_data=True, opset_version=18)
    assert sorted(os.listdir(tmp_path)) == ["m.onnx", "m.onnx.data", "m_hierarchy.json"]
    assert (tmp_path / "m.onnx").stat().st_size < 20_000 < (tmp_path / "m.onnx.data").stat().st_size
    onnx.checker.check_model(str(tmp_path / "m.onnx"))
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    (out,) = session.run(None, {session.get_inputs()[0].name: example.numpy()})
    np.testing.assert_allclose(out, model(example).detach().numpy(), rtol=1e-4, atol=1e-5)


def test_export_params_false_keeps_weights_as_inputs(tmp_path: Path) -> None:
    result = export(tmp_path / "m.onnx", export_params=False, opset_version=20)
    assert result["exporter"] == "torchscript"
    assert len(onnx.load(tmp_path / "m.onnx").graph.input) == 5
    with pytest.raises(ConfigError, match="export_params"):
        export(tmp_path / "m.onnx", export_params=False, exporter="dynamo")


def test_keep_initializers_as_inputs(tmp_path: Path) -> None:
    export(tmp_path / "m.onnx", keep_initializers_as_inputs=True)
    graph = onnx.load(tmp_path / "m.onnx").graph
    assert {entry.name for entry in graph.initializer} < {entry.name for entry in graph.input}


def test_pipelines(tmp_path: Path) -> None:
    result = export(tmp_path / "m.onnx", pipeline="fallback-tagging,attribute-embedding{interop=none}")
    assert result["by_source"] == {"scope": 3}  # scopes are the exporter's, not a pass's
    with pytest.raises(PipelineError):
        export(tmp_path / "no.onnx", pipeline="no-such-pass")
    assert not (tmp_path / "no.onnx").exists()


@dataclass(frozen=True)
class LargestWeight(Pass):
    """Note the largest weight."""

    name: ClassVar[str] = "largest-weight"
    reads_weights: ClassVar[bool] = True

    def run(self, model: Model, ctx: PassContext) -> PassResult:
        weights = Weights(model)
        arrays = [weights.read(model.main, name) for name in model.main.initializers]
        model.patch_metadata({"largest": f"{max(float(np.abs(array).max()) for array in arrays):.6f}"})
        return PassResult()


def test_a_pass_that_reads_weights_finds_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An export keeps weights apart from the graph only while no pass says that it reads them."""
    monkeypatch.setitem(registry.PASSES, "largest-weight", LargestWeight)  # type: ignore[arg-type]
    registry._default.cache_clear()
    try:
        model = small()
        export(tmp_path / "m.onnx", model, pipeline="htp,largest-weight")
    finally:
        registry._default.cache_clear()
    largest = max(float(parameter.detach().abs().max()) for parameter in model.parameters())
    metadata = {entry.key: entry.value for entry in onnx.load(tmp_path / "m.onnx").metadata_props}
    assert metadata["largest"] == f"{largest:.6f}"


class Recording:
    def __init__(self) -> None:
        self.steps: list[tuple[str, dict[str, Any]]] = []
        self.errors: list[tuple[str, str]] = []

    def log_step(self, step: HTPExportStep, data: Any = None, /, **fields: Any) -> None:
        self.steps.append((step.value, fields))

    def log_error(self, step: HTPExportStep, message: str) -> None:
        self.errors.append((step.value, message))


def test_a_monitor_is_told_of_each_step(tmp_path: Path) -> None:
    monitor = Recording()
    export(tmp_path / "m.onnx", monitor=monitor)
    assert [step for step, _ in monitor.steps] == [step.value for step in HTPExportStep]
    told = dict(monitor.steps)
    assert told["EXPORT"]["exporter"] == "torchscript" and told["NODE_TAGGING"]["coverage"] == 1.0
    assert told["COMPLETE"]["export_time"] > 0

    class Fails(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise ValueError("not today")

    failing = Recording()
    with pytest.raises(ExportError, match="not today"):
        export(tmp_path / "n.onnx", Fails(), monitor=failing)
    assert failing.errors[0][0] == "TRACE" and "not today" in failing.errors[0][1]


def test_report_writes_the_monitors_files(tmp_path: Path) -> None:
    export(tmp_path / "m.onnx", report=True)
    names = ["m.onnx", "m_hierarchy.json", "m_htp_console.log", "m_htp_export_report.txt", "m_htp_metadata.json"]
    assert sorted(os.listdir(tmp_path)) == names


def test_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("MODELEXPORT_MEMORY_LIMIT_MB", "20")
    with pytest.raises(MemoryLimitExceeded, match="20"):
        export(tmp_path / "m.onnx")
    assert os.listdir(tmp_path) == []
    for name, value in (("MODELEXPORT_MEMORY_LIMIT_MB", "much"), ("MODELEXPORT_AUX_OPS_DEBUG", "maybe")):
        monkeypatch.setenv(name, value)
        with pytest.raises(ConfigError, match=name):
            export(tmp_path / "m.onnx")
        monkeypatch.delenv(name)
    monkeypatch.setenv("MODELEXPORT_AUX_OPS_DEBUG", "1")
    model, example = architectures.get("encoder")
    with caplog.at_level("DEBUG", logger="modelexport"):
        export(tmp_path / "m.onnx", model, example)
    lines = [record.message for record in caplog.records if record.name == "modelexport.auxiliary"]
    assert len(lines) > 10 and any("Constant" in line and "by scope" in line for line in lines)


DEFAULT = ("dynamo", "torchscript") if default_is_dynamo() else ("torchscript", "dynamo")  # of this torch


@pytest.mark.parametrize(
    ("exporter", "options", "order"),
    [
        ("auto", {}, DEFAULT),
        ("auto", {"opset_version": 17}, ("torchscript", "dynamo")),
        ("auto", {"opset_version": 18}, DEFAULT),
        ("auto", {"do_constant_folding": True, "training": torch.onnx.TrainingMode.EVAL}, DEFAULT),
        ("auto", {"do_constant_folding": False}, ("torchscript", "dynamo")),
        ("auto", {"export_params": False}, ("torchscript",)),
        ("auto", {"dynamic_shapes": {"x": None}, "opset_version": 14}, ("dynamo",)),
        ("auto", {"dynamo": False}, ("torchscript",)),
        ("dynamo", {"opset_version": 14}, ("dynamo",)),
    ],
)
def test_which_exporter(exporter: Any, options: dict[str, Any], order: tuple[str, ...]) -> None:
    assert read_options(exporter, options).order == order


@pytest.mark.parametrize(
    ("exporter", "options", "message"),
    [
        ("torchscript", {"dynamo": True}, "contradicts"),
        ("torchscript", {"dynamic_shapes": {"x": None}}, "dynamic_axes"),
        ("dynamo", {"export_params": False}, "keep_initializers_as_inputs=True as well"),
        ("auto", {"dynamic_shapes": {"x": None}, "custom_opsets": {"my": 1}}, "custom_opsets"),
        ("auto", {"opset_verison": 17}, "did you mean opset_version"),
        ("auto", {"opset_version": "17"}, "opset"),
        ("auto", {"f": "x.onnx"}, "f is not an argument"),
        ("auto", {"dynamic_axes": {"x": {"zero": "batch"}}}, "whole number"),
        ("auto", {"input_names": "x"}, "list of names"),
    ],
)
def test_arguments_that_cannot_be(exporter: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_options(exporter, options)


def test_of_axes_and_shapes_the_exporter_takes_its_own() -> None:
    both = {"dynamic_shapes": {"x": None}, "dynamic_axes": {"x": [0]}}
    options = read_options("auto", both)
    assert options.order == ("dynamo",) and "dynamic_axes" not in options.torch
    assert options.warnings == ["dynamic_axes has no effect beside dynamic_shapes: leave it out"]


def test_an_axis_below_zero_does_not_end_the_process() -> None:
    with pytest.raises(ConfigError, match="counts axes from 0"):
        read_options("torchscript", {"dynamic_axes": {"x": [-1]}}).for_torchscript()


def test_ignored_arguments_are_named(tmp_path: Path) -> None:
    result = export(tmp_path / "m.onnx", exporter="torchscript", optimize=False)
    assert result["warnings"] == ["optimize has no effect with the torchscript exporter"]


@needs_dynamo_by_default
def test_auto_tries_the_other_exporter(tmp_path: Path) -> None:
    class Undecided(nn.Module):
        """torch.export refuses a branch on a value, tracing takes the one it sees."""

        def forward(self, x: Tensor) -> Tensor:
            return x * 2.0 if x.sum() > 0 else x

    result = export(tmp_path / "m.onnx", Undecided(), torch.ones(2, 3), opset_version=18)
    assert result["exporter"] == "torchscript" and result["opset_version"] == 18
    assert any("dynamo exporter failed" in line and "torchscript" in line for line in result["warnings"])


def test_an_opset_that_no_conversion_reaches(tmp_path: Path) -> None:
    model = nn.LayerNorm(4).eval()
    with pytest.raises(ExportError, match="opset_version=14"):
        export(tmp_path / "m.onnx", model, torch.ones(2, 4), exporter="dynamo", opset_version=14)
    assert os.listdir(tmp_path) == []


def test_not_a_model(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Module"):
        HierarchyExporter().export(lambda x: x, torch.ones(1), tmp_path / "m.onnx")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="known are"):
        HierarchyExporter(exporter="onnx")  # type: ignore[arg-type]


def test_branches_of_dynamo(tmp_path: Path) -> None:
    """Branches of torch.cond record no scopes, and their calls are not watched: weights tell, else the If's owner."""

    class Chooses(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return torch.cond(x.sum() > 0, lambda x: self.left(x) * 2.0, lambda x: self.right(x).tanh(), (x,))

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Chooses()

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x) + 1.0

    result = export(tmp_path / "m.onnx", Outer().eval(), torch.ones(2, 3), exporter="dynamo", opset_version=20)
    assert result["warnings"] == []
    found = {}
    for node in onnx.load(tmp_path / "m.onnx").graph.node:
        for owner in [node, *(each for a in node.attribute if a.HasField("g") for each in a.g.node)]:
            path = {entry.key: entry.value for entry in owner.metadata_props}["htp.path"]
            found.setdefault(owner.op_type, set()).add(path)
    assert found["Gemm"] == {"inner.left", "inner.right"}
    assert found["If"] == found["Tanh"] == found["Mul"] == {"inner"} and found["Add"] == {""}
    assert result["total_operations"] == result["tagged_operations"] == 8


def test_an_opset_above_what_torch_writes(tmp_path: Path) -> None:
    """torch gives 18 without a word."""
    with pytest.raises(ExportError, match="opset_version=99 is more than this torch writes"):
        export(tmp_path / "m.onnx", exporter="dynamo", opset_version=99)
    result = export(tmp_path / "m.onnx", opset_version=99)
    assert result["opset_version"] < 99 and any("opset_version=99" in line for line in result["warnings"])


@pytest.mark.parametrize(
    ("name", "kind", "other"),
    [
        ("context_inheritance.ContextInheritance", errors.ContextInheritanceError, errors.AuxiliaryOperationError),
        ("fallback_tagging.FallbackTagging", errors.AuxiliaryOperationError, errors.ContextInheritanceError),
    ],
)
def test_crashes_of_two_passes_have_classes_of_their_own(
    name: str, kind: Any, other: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*arguments: object) -> None:
        raise RuntimeError("no way")

    monkeypatch.setattr(f"modelexport.passes.{name}.run", crash)
    with pytest.raises(kind, match="no way") as caught:
        export(tmp_path / "m.onnx")
    assert isinstance(caught.value, errors.PassError) and not isinstance(caught.value, other)
    assert isinstance(caught.value.__cause__, RuntimeError) and list(tmp_path.iterdir()) == []
