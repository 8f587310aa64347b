"""The report: what an engineer reads in it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from modelexport.frontend.monitor import HTPExportMonitor, HTPExportStep, ModuleInfo

Make = Callable[..., HTPExportMonitor]


def section(report: str, title: str) -> list[str]:
    """Lines below the title, to the next blank line."""
    lines = report.splitlines()
    start = lines.index(title) + 2
    end = lines.index("", start) if "" in lines[start:] else len(lines)
    return [line.strip() for line in lines[start:end]]


def test_sections(monitored: Make) -> None:
    titles = re.findall(r"^(\S.*)\n-{20,}$", monitored().get_report(), re.M)
    assert titles == [
        "What was exported",
        "How",
        "Steps",
        "Modules",
        "Coverage by source",
        "Lowest confidence",
        "Warnings",
        "Files",
    ]


def test_what_and_how(monitored: Make) -> None:
    report = monitored().get_report()
    assert report.startswith("HTP export report: tiny\n")
    assert "Outcome: success in 2.00 s" in report
    what, how = section(report, "What was exported"), section(report, "How")
    facts = {re.sub(r"\s{2,}", ": ", line, count=1) for line in [*what, *how]}
    assert {"class: Tiny", "parameters: 263,796", "inputs: input_ids: int64 [2, 16]"} <= facts
    assert {"exporter: torchscript", "opset version: 17", "pipeline: htp", "tags inside: yes"} <= facts


def test_module_table_has_a_row_per_module_whatever_the_console_shows(monitored: Make) -> None:
    rows = section(monitored(config={"max_tree_depth": 0, "max_display_nodes": 1}).get_report(), "Modules")[1:]
    assert len(rows) == 34
    assert [row.split() for row in rows[:2]] == [
        ["2", "50", "0", "263,796", "1", "(root)", "Tiny"],
        ["1", "1", "32,000", "32,000", "1", "embed", "Embedding"],
    ]
    assert rows[7].split() == ["2", "2", "16,448", "16,448", "1", "blocks.0.mix.down", "Linear"]


def test_nodes_of_modules_that_are_not_listed_are_counted(new_monitor: Make) -> None:
    monitor = new_monitor()
    nodes = {"a": {"tag": "/M", "path": ""}, "b": {"tag": "/M/X", "path": "x"}}
    monitor.log_step(HTPExportStep.NODE_TAGGING, hierarchy={"": ModuleInfo("", "M")}, nodes=nodes)
    assert section(monitor.get_report(), "Modules")[-1] == "1 nodes belong to modules that are not in this table"


def test_lowest_confidence_comes_first_and_the_rest_is_counted(monitored: Make) -> None:
    lines = section(monitored(config={"max_display_nodes": 2}).get_report(), "Lowest confidence")[2:]
    assert [line.split() for line in lines[:2]] == [
        ["/Cast", "/Tiny", "fallback", "0.31"],
        ["/Identity", "head", "inherited", "0.88"],
    ]
    assert lines[2:] == ["... 2 more below confidence 1.00"]
    assert section(monitored(config={"max_display_nodes": 0}).get_report(), "Lowest confidence")[2:] == [
        "... 4 more below confidence 1.00"
    ]


def test_certainty_is_said_too(monitored: Make, steps: dict[HTPExportStep, dict[str, Any]]) -> None:
    monitor = monitored()
    monitor.log_step(HTPExportStep.NODE_TAGGING, nodes={"a": {"tag": "/T", "source": "scope", "confidence": 1.0}})
    assert section(monitor.get_report(), "Lowest confidence") == ["every tag has confidence 1.00"]


def test_empty_sections_say_none(new_monitor: Make) -> None:
    report = new_monitor().get_report()
    assert section(report, "Warnings") == section(report, "Modules") == ["none"]


def test_steps_that_did_not_run_are_told_from_those_that_did(monitored: Make) -> None:
    monitor = monitored(until=HTPExportStep.TRACE)
    monitor.log_error(HTPExportStep.TRACE, "no")
    lines = section(monitor.get_report(), "Steps")[1:]
    assert [re.split(r"\s{2,}", line)[1:] for line in lines[2:5]] == [
        ["done", "0.25 s", "512 MB"],
        ["failed", "0.25 s", "512 MB"],
        ["not run"],
    ]
