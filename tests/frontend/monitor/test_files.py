"""finalize and the getters: what is left behind after an export that went well, failed, or stopped."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelexport.frontend.monitor import HTPExportMonitor, HTPExportStep

Make = Callable[..., HTPExportMonitor]
NAMES = ["tiny_htp_metadata.json", "tiny_htp_export_report.txt", "tiny_htp_console.log"]


def test_finalize_writes_three_files_beside_the_model_and_nothing_else(monitored: Make, tmp_path: Path) -> None:
    paths = monitored().finalize()
    assert [path.name for path in paths] == NAMES
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(NAMES)


def test_nothing_is_written_before_finalize(monitored: Make, tmp_path: Path) -> None:
    monitored()
    assert list(tmp_path.iterdir()) == []


def test_finalize_again_is_harmless(monitored: Make) -> None:
    monitor = monitored()
    paths = monitor.finalize()
    before = [(path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino) for path in paths]
    assert monitor.finalize() == paths
    assert [(path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino) for path in paths] == before


def test_news_after_finalize_reach_the_files(monitored: Make) -> None:
    monitor = monitored()
    monitor.finalize()
    monitor.log_error(HTPExportStep.COMPLETE, "checksum differs")
    metadata, report, log = (path.read_text() for path in monitor.finalize())
    assert "checksum differs" in metadata and "checksum differs" in report and "checksum differs" in log


def test_getters_work_before_and_after_finalize_and_say_what_the_files_say(monitored: Make) -> None:
    monitor = monitored()
    before = (monitor.get_console_output(), monitor.get_metadata(), monitor.get_report())
    metadata, report, log = (path.read_text() for path in monitor.finalize())
    assert all(before)
    assert monitor.get_metadata() == monitor.metadata_writer.get_metadata() == json.loads(metadata)
    assert monitor.get_report() == monitor.report_writer.get_report() == report == before[2]
    assert monitor.get_console_output() == monitor.console_writer.get_output() == log
    assert log.startswith(before[0])
    assert {**monitor.get_metadata(), "files": []} == {**before[1], "files": []}


def test_getters_of_a_monitor_that_was_told_nothing(new_monitor: Make) -> None:
    monitor = new_monitor()
    assert monitor.get_console_output() == ""
    assert monitor.get_metadata()["outcome"] == {"status": "incomplete", "step": None, "error": None}
    assert "Outcome: incomplete" in monitor.get_report()
    monitor.finalize()
    assert "Incomplete: no step ran" in monitor.get_console_output()


@pytest.mark.parametrize("failing", list(HTPExportStep))
def test_a_failed_export_is_told_in_all_three_files(monitored: Make, failing: HTPExportStep) -> None:
    monitor = monitored(until=failing)
    monitor.log_error(failing, ValueError("shapes do not match\nsecond line"))
    metadata, report, log = (path.read_text() for path in monitor.finalize())
    why = "ValueError: shapes do not match"
    outcome = json.loads(metadata)["outcome"]
    assert outcome == {"status": "failed", "step": failing.value, "error": why + "\nsecond line"}
    counter = f"[{failing.number}/8] {failing.value}"
    assert f"Outcome: failed at {counter}" in report and why in report and "second line" in report
    assert f"Failed at {counter}: {why}" in log and "second line" in log
    assert json.loads(metadata)["steps"][failing.value]["status"] == "failed"


def test_a_failed_export_lists_no_model(monitored: Make, tmp_path: Path) -> None:
    (tmp_path / "tiny.onnx").write_bytes(b"left by an earlier run")
    monitor = monitored(until=HTPExportStep.SAVE)
    monitor.log_error(HTPExportStep.SAVE, "disk full")
    monitor.finalize()
    assert [entry["role"] for entry in monitor.get_metadata()["files"]] == ["report", "console", "metadata"]
    assert "tiny.onnx (" not in monitor.get_report()


def test_files_are_listed_with_their_sizes(monitored: Make, tmp_path: Path) -> None:
    (tmp_path / "tiny.onnx").write_bytes(b"12345")
    (tmp_path / "tiny_hierarchy.json").write_bytes(b"{}")
    monitor = monitored()
    monitor.log_step(HTPExportStep.SAVE, files={"sidecar": tmp_path / "tiny_hierarchy.json"})
    listed = {entry["role"]: (entry["path"], entry["bytes"]) for entry in _finished(monitor)["files"]}
    assert listed["model"] == ("tiny.onnx", 5)
    assert listed["sidecar"] == ("tiny_hierarchy.json", 2)
    assert listed["report"] == (NAMES[1], (tmp_path / NAMES[1]).stat().st_size)
    assert listed["metadata"] == (NAMES[0], None)


def _finished(monitor: HTPExportMonitor) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(monitor.finalize()[0].read_text())
    return loaded


def test_a_folder_that_is_gone_fails_the_writers_and_not_the_export(tmp_path: Path) -> None:
    monitor = HTPExportMonitor(tmp_path / "gone" / "m.onnx", verbose=False)
    assert monitor.finalize() == []
    assert len(monitor.errors) == 3
    assert all("does not exist" in str(error) for error in monitor.errors)


def test_a_value_without_text_costs_no_file(monitored: Make, tmp_path: Path) -> None:
    class Undecided:
        def __str__(self) -> str:
            raise RuntimeError("undecided")

    monitor = monitored()
    monitor.log_step(HTPExportStep.COMPLETE, odd=Undecided())
    paths = monitor.finalize()
    assert [path.name for path in paths] == NAMES
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(NAMES)
    assert monitor.errors == []


def test_output_is_reproducible(monitored: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    first = [path.read_bytes() for path in monitored().finalize()]
    assert [path.read_bytes() for path in monitored().finalize()] == first
    assert json.loads(first[0])["export_context"]["generated_at"] == "2023-11-14T22:13:20Z"


def test_names_keep_their_dots(tmp_path: Path) -> None:
    paths = HTPExportMonitor(tmp_path / "m.v1.onnx", verbose=False).finalize()
    assert paths[0].name == "m.v1_htp_metadata.json"
