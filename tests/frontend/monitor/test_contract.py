"""The three examples of the documented contract, run as printed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelexport.strategies.htp import export_monitor
from modelexport.strategies.htp.export_monitor import HTPExportData, HTPExportMonitor, HTPExportStep, ModuleInfo

BASIC = """\
from modelexport.strategies.htp.export_monitor import HTPExportMonitor

# Create monitor
monitor = HTPExportMonitor(
    output_path="model.onnx",
    model_name="bert-base",
    verbose=True
)

# Use throughout export process
monitor.log_step(HTPExportStep.MODEL_PREP, data)
monitor.log_step(HTPExportStep.HIERARCHY, data)
# ... more steps ...
monitor.finalize()
"""

ADVANCED = """\
# Custom configuration
monitor = HTPExportMonitor(
    output_path="model.onnx",
    model_name="custom-model",
    verbose=True,
    config={
        "max_tree_depth": 15,
        "max_display_nodes": 50,
        "style_numbers": True,
        "batch_console": True
    }
)

# Access individual writers
console_output = monitor.console_writer.get_output()
metadata = monitor.metadata_writer.get_metadata()
report = monitor.report_writer.get_report()
"""

ERRORS = """\
try:
    monitor.log_step(step, data)
except Exception as e:
    monitor.log_error(step, str(e))
    # Monitor continues with partial data
"""

MINIMAL = """\
monitor = HTPExportMonitor("model.onnx", verbose=False)
# ... perform export ...
monitor.finalize()
"""

FULL = """\
monitor = HTPExportMonitor(
    output_path="model.onnx",
    model_name="bert-base-uncased",
    verbose=True,
    config={
        "max_tree_depth": 20,
        "style_numbers": True,
        "batch_console": True,
        "enable_cache": True
    }
)

# Log all steps with rich data
for step in HTPExportStep:
    monitor.log_step(step, export_data)

# Get outputs
console_log = monitor.get_console_output()
metadata = monitor.get_metadata()
report = monitor.get_report()

# Save all outputs
monitor.finalize()
"""

FILES = ["model_htp_console.log", "model_htp_export_report.txt", "model_htp_metadata.json"]


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a reader of the document has at hand, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    data = HTPExportData(
        model_name="bert-base",
        model_class="BertModel",
        total_modules=2,
        total_parameters=12,
        output_path="model.onnx",
        embed_hierarchy_attributes=True,
        hierarchy={"": ModuleInfo("", "BertModel", "/BertModel"), "a": ModuleInfo("a", "Linear", "/BertModel/Linear")},
        execution_steps=2,
        total_nodes=3,
        tagged_nodes={"/a/MatMul": "/BertModel/Linear", "/a/Add": "/BertModel/Linear", "/Add": "/BertModel"},
        tagging_stats={"scope": 3},
        coverage=1.0,
        export_time=1.5,
        steps={"EXPORT": {"exporter": "torchscript"}},
    )
    return {
        "HTPExportMonitor": HTPExportMonitor,
        "HTPExportStep": HTPExportStep,
        "data": data,
        "export_data": data,
        "step": HTPExportStep.MODEL_PREP,
    }


@pytest.mark.parametrize("example", [BASIC, MINIMAL, FULL], ids=["basic", "minimal", "full"])
def test_example_runs_as_printed_and_leaves_its_files(example: str, names: dict[str, Any]) -> None:
    exec(example, names)
    assert names["monitor"].errors == []
    assert sorted(path.name for path in Path().iterdir()) == FILES


def test_full_example_has_everything_in_each_output(names: dict[str, Any]) -> None:
    exec(FULL, names)
    assert names["metadata"]["outcome"]["status"] == "success"
    assert names["metadata"]["statistics"]["by_source"] == {"scope": 3}
    assert names["metadata"]["modules"][0]["children"][0]["nodes"] == 2
    for text in (names["console_log"], names["report"]):
        assert "bert-base" in text and "BertModel" in text and "100.0%" in text
    assert "[8/8] Export completion" in names["console_log"]


def test_advanced_and_error_examples_run_as_printed(names: dict[str, Any]) -> None:
    exec(ADVANCED, names)
    assert (names["console_output"], names["metadata"]["model"]["name"]) == ("", "custom-model")
    exec(ERRORS, names)
    assert names["monitor"].outcome.status == "incomplete"
    names["data"] = 42
    exec(ERRORS, names)
    assert (names["monitor"].outcome.status, names["monitor"].outcome.step) == ("failed", HTPExportStep.MODEL_PREP)


def test_every_documented_name_is_importable() -> None:
    documented = [
        "HTPConsoleWriter",
        "HTPExportData",
        "HTPExportMonitor",
        "HTPExportStep",
        "HTPMetadataWriter",
        "HTPReportWriter",
        "ModuleInfo",
        "StepAwareWriter",
    ]
    assert sorted(name for name in vars(export_monitor) if name[0].isupper()) == documented
