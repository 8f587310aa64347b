"""Data as programs really have it: things not known yet, numbers of numpy, records that are not whole."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from modelexport.frontend.monitor import HTPExportData, HTPExportMonitor, HTPExportStep, ModuleInfo
from modelexport.frontend.monitor.screen.text import cells
from modelexport.ir.errors import ConfigError, InputError, OutputError

Make = Callable[..., HTPExportMonitor]
TAGGING = HTPExportStep.NODE_TAGGING


def test_step_and_data_may_be_named(new_monitor: Make) -> None:
    monitor = new_monitor()
    monitor.log_step(step=HTPExportStep.MODEL_PREP, data=HTPExportData(model_class="Named"))
    assert monitor.data.model_class == "Named"
    assert monitor.data.steps == {}


def test_none_is_not_known_yet(new_monitor: Make) -> None:
    monitor = new_monitor(model_name="kept")
    monitor.log_step(HTPExportStep.MODEL_PREP, {"model_name": None, "total_nodes": None, "hierarchy": None})
    assert (monitor.data.model_name, monitor.data.total_nodes, monitor.data.hierarchy) == ("kept", 0, {})


def test_numbers_of_numpy_are_numbers(new_monitor: Make) -> None:
    monitor = new_monitor()
    module = ModuleInfo("", "Net", "/Net", np.int64(0), np.int64(5), np.int64(1))  # type: ignore[arg-type]
    monitor.log_step(HTPExportStep.HIERARCHY, hierarchy={"": module}, total_nodes=np.int64(4), coverage=np.float32(0.5))
    monitor.log_step(TAGGING, tagging_stats={"scope": np.int64(2)})
    metadata = monitor.get_metadata()
    assert metadata["modules"][0]["parameters"] == 5
    assert metadata["statistics"]["by_source"] == {"scope": 2}
    assert (metadata["statistics"]["total_nodes"], metadata["statistics"]["coverage"]) == (4, 0.5)


@pytest.mark.parametrize(
    ("record", "tag"),
    [
        ("/Net", "/Net"),
        (None, None),
        ({"tag": "/Net"}, "/Net"),
        ({"tag": "/Net", "path": "", "source": "scope", "confidence": "high"}, "/Net"),
        ({"tag": "/Net", "path": "", "source": "scope", "confidence": 1}, "/Net"),
    ],
)
def test_node_records_need_not_be_whole(new_monitor: Make, record: object, tag: str | None) -> None:
    monitor = new_monitor()
    monitor.log_step(TAGGING, {"nodes": {"good": {"tag": "/Net", "path": None, "source": None}, 7: record}})
    assert monitor.get_metadata()["nodes"]["7"]["tag"] == tag
    assert monitor.get_metadata()["statistics"]["tagged_nodes"] == (2 if tag else 1)
    assert len(monitor.finalize()) == 3
    assert monitor.errors == []


def test_tags_need_not_be_texts(new_monitor: Make) -> None:
    monitor = new_monitor()
    monitor.log_step(TAGGING, {"tagged_nodes": {"a": ["/Net"], "b": None}})
    assert monitor.get_metadata()["statistics"]["tagged_nodes"] == 1
    assert monitor.errors == []


def test_modules_may_lack_fields(new_monitor: Make) -> None:
    monitor = new_monitor()
    monitor.log_step(
        HTPExportStep.HIERARCHY, {"hierarchy": {"a": {"class_name": "Linear", "parameters": None}, "b": {}}}
    )
    assert [one["class"] for one in monitor.get_metadata()["modules"]] == ["Linear", ""]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"hierarchy": {"a": "Linear"}}, "'a' is 'Linear'"),
        ({"hierarchy": {"a": {"colour": "red"}}}, "'colour'"),
        ({"hierarchy": {"a": {"parameters": "many"}}}, "parameters of 'a' is 'many'"),
        ({"hierarchy": {"a": ModuleInfo("a", parameters=2**70)}}, "parameters of 'a'"),
        ({"hierarchy": {"a": {"class_name": 5}}}, "class_name of 'a' is 5"),
        ({"tagging_stats": {"scope": "3"}}, "'scope' is '3'"),
        ({"tagging_stats": {"scope": None}}, "'scope' is None"),
    ],
)
def test_what_is_wrong_inside_a_field_is_said_and_nothing_is_taken(
    new_monitor: Make, fields: Mapping[str, Any], said: str
) -> None:
    monitor = new_monitor()
    with pytest.raises(InputError, match=said):
        monitor.log_step(HTPExportStep.HIERARCHY, fields, model_name="not taken")
    assert monitor.data == HTPExportData(output_path=monitor.data.output_path)
    assert len(monitor.finalize()) == 3


def test_config_that_is_no_mapping_is_an_error(new_monitor: Make) -> None:
    with pytest.raises(ConfigError, match="mapping of options"):
        new_monitor(config=["batch_console"])


@pytest.mark.parametrize("path", ["", ".", "/"])
def test_a_path_that_names_no_file_is_an_error(path: str) -> None:
    with pytest.raises(OutputError, match="names no file"):
        HTPExportMonitor(path, verbose=False)


@pytest.mark.parametrize("epoch", ["²", "soon", "9" * 30])
def test_a_date_that_is_none_does_not_stop_a_monitor(
    new_monitor: Make, monkeypatch: pytest.MonkeyPatch, epoch: str
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
    assert new_monitor().get_metadata()["export_context"]["generated_at"].endswith("Z")


def test_failed_writers_are_said_on_the_console(
    tmp_path: Path, new_monitor: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    monitor = new_monitor(output_path=tmp_path / "missing" / "tiny.onnx", verbose=True)
    monitor.log_step(HTPExportStep.COMPLETE)
    assert monitor.finalize() == []
    said = " ".join(capsys.readouterr().err.split())
    for name in ("HTPReportWriter", "HTPConsoleWriter", "HTPMetadataWriter"):
        assert f"{name} failed during finalize: MissingFolderError" in said
    assert "tiny_htp_export_report.txt HTP" not in said
    before = monitor.get_console_output()
    monitor.finalize()
    assert monitor.get_console_output() == before


@pytest.mark.parametrize("width", [60, 80, 120])
def test_text_of_wide_characters_and_long_labels_stays_within_the_console(new_monitor: Make, width: int) -> None:
    stream = io.StringIO()
    monitor = new_monitor(verbose=True, console=Console(file=stream, width=width))
    monitor.log_step(HTPExportStep.MODEL_PREP, model_name="m", model_class="类" * 90, **{"label" * 30: "value"})
    monitor.log_step(HTPExportStep.EXPORT, warnings=["警告 " * 60, "mixed 警 and " * 20])
    monitor.log_error(HTPExportStep.SAVE, "错误" * 100)
    lines = stream.getvalue().splitlines()
    assert max(cells(line) for line in lines) <= width
    assert sum(line.count("类") for line in lines) == 90
    assert sum(line.count("警告") for line in lines) == 60
