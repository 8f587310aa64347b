"""The console: one text, in colour on a terminal and plain elsewhere, and each option of it."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.live import Live

from modelexport.frontend.monitor import HTPExportMonitor, HTPExportStep, ModuleInfo
from modelexport.frontend.monitor.screen.text import cells, numbered

Make = Callable[..., HTPExportMonitor]
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Stream(io.StringIO):
    """Keeps each write apart."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []

    def write(self, text: str) -> int:
        self.writes.append(text)
        return super().write(text)


def terminal(**options: Any) -> tuple[Stream, Console]:
    stream = Stream()
    options = {"force_terminal": True, "color_system": "standard", "width": 80, **options}
    return stream, Console(file=stream, **options)


def test_stderr_shows_the_text_of_the_log(monitored: Make, capsys: pytest.CaptureFixture[str]) -> None:
    monitor = monitored(verbose=True)
    monitor.finalize()
    out, err = capsys.readouterr()
    assert out == ""
    assert err == monitor.get_console_output()
    assert "\x1b" not in err and "⠋" not in err


def test_not_verbose_prints_nothing_and_keeps_the_log(monitored: Make, capfd: pytest.CaptureFixture[str]) -> None:
    monitor = monitored(verbose=False)
    monitor.log_error(HTPExportStep.COMPLETE, "late")
    monitor.finalize()
    assert capfd.readouterr() == ("", "")
    assert "[8/8]" in monitor.get_console_output()


def test_a_failing_writer_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    HTPExportMonitor(tmp_path / "gone" / "m.onnx", verbose=False).finalize()
    assert capfd.readouterr() == ("", "")


def test_rich_is_imported_only_for_a_terminal() -> None:
    code = """if True:
        import sys
        from modelexport.strategies.htp.export_monitor import HTPExportMonitor, HTPExportStep
        for verbose in (False, True):
            monitor = HTPExportMonitor("m.onnx", verbose=verbose)
            for step in HTPExportStep:
                monitor.log_step(step)
            monitor.get_report(), monitor.get_metadata(), monitor.get_console_output()
        assert not {"rich", "torch"} & set(sys.modules), "imported for nothing"
    """
    subprocess.run([sys.executable, "-c", code], check=True, stderr=subprocess.PIPE)


def test_stderr_that_is_a_terminal_gets_colours(monitored: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Stream()
    stream.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", stream)
    monitored(verbose=True).finalize()
    assert "\x1b[1;36m263,796\x1b[0m" in stream.getvalue()


def test_columns_set_the_width_of_plain_output(monitored: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert max(map(len, monitored(verbose=True).get_console_output().splitlines())) == 100


def test_a_program_without_stderr_goes_on(monitored: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    assert monitored(verbose=True).errors == []


def test_a_terminal_shows_the_same_text_in_colour(monitored: Make) -> None:
    stream, console = terminal()
    monitor = monitored(verbose=True, console=console, config={"batch_console": True})
    monitor.finalize()
    assert ESCAPES.sub("", stream.getvalue()) == monitor.get_console_output()
    assert "\x1b[1;32m[3/8]\x1b[0m \x1b[1mModule hierarchy extraction\x1b[0m \x1b[2m───" in stream.getvalue()
    assert "\x1b[1;36m263,796\x1b[0m" in stream.getvalue()


def test_a_failed_step_has_a_red_counter(monitored: Make) -> None:
    stream, console = terminal()
    monitor = monitored(until=HTPExportStep.TRACE, verbose=True, console=console)
    monitor.log_error(HTPExportStep.TRACE, "boom")
    assert "\x1b[1;31m[4/8]\x1b[0m" in stream.getvalue()


def test_no_color_is_respected(monitored: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    stream, console = terminal()
    monitored(verbose=True, console=console, config={"batch_console": True})
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]", stream.getvalue())
    assert "263,796" in stream.getvalue()


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_no_line_is_wider_than_the_console(monitored: Make, width: int) -> None:
    _, console = terminal(width=width)
    monitor = monitored(verbose=True, console=console, config={"batch_console": True})
    deep = {".".join("abcdefghijkl"[:n]): ModuleInfo(".".join("abcdefghijkl"[:n]), "漢字" * 9) for n in range(13)}
    monitor.log_step(HTPExportStep.HIERARCHY, hierarchy=deep)
    monitor.log_error(HTPExportStep.COMPLETE, "w" * 300 + " " + "words " * 60)
    monitor.finalize()
    widest = max(cells(line) for line in monitor.get_console_output().splitlines())
    assert min(width, 120) - 2 <= widest <= width


def test_names_cannot_move_the_cursor(new_monitor: Make) -> None:
    stream, console = terminal()
    monitor = new_monitor(verbose=True, console=console, model_name="a\x1b[2Jb\nc\udc80")
    hierarchy = {"": ModuleInfo("", "Evil\r[bold red]x[/]")}
    monitor.log_step(HTPExportStep.HIERARCHY, hierarchy=hierarchy, warnings=["\x1b]0;title\x07"])
    assert not {"\x1b[2J", "\x1b]0;", "\x07", "\r["} & set(
        re.findall(r"\x1b\[2J|\x1b\]0;|\x07|\r\[", stream.getvalue())
    )
    assert r"a\x1b[2Jb\nc\x80" in stream.getvalue()
    assert r"Evil\r[bold red]x[/]" in stream.getvalue()


@pytest.mark.parametrize("given", [True, False], ids=["console", "stderr"])
def test_a_terminal_without_unicode_gets_ascii(monitored: Make, monkeypatch: pytest.MonkeyPatch, given: bool) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    monkeypatch.setattr(sys, "stderr", stream)
    monitor = monitored(verbose=True, console=Console(file=stream, width=80) if given else None)
    monitor.log_step(HTPExportStep.COMPLETE, note="naïve")
    stream.flush()
    assert monitor.errors == []
    text = raw.getvalue().decode("ascii")
    assert "[3/8] Module hierarchy extraction ---" in text and r"na\xefve" in text and "|- " in text


def wait_for(text: str, stream: io.StringIO) -> None:
    """Wait until a spinner wrote ``text``; fail when it does not."""
    deadline = time.monotonic() + 10
    while text not in (ESCAPES.sub("", stream.getvalue()) if text.isprintable() else stream.getvalue()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_spinner_turns_in_the_next_step_and_leaves_no_trace(new_monitor: Make) -> None:
    stream, console = terminal()
    monitor = new_monitor(verbose=True, console=console)
    monitor.log_step(HTPExportStep.HIERARCHY)
    wait_for("⠋ [4/8] PyTorch tracing", stream)
    monitor.finalize()
    assert stream.getvalue().count("\x1b[?25l") == stream.getvalue().count("\x1b[?25h") == 1  # cursor hidden, shown
    assert "⠋" not in monitor.get_console_output()


def test_a_dropped_monitor_gives_the_cursor_back(new_monitor: Make) -> None:
    stream, console = terminal()
    monitor = new_monitor(verbose=True, console=console)
    monitor.log_step(HTPExportStep.HIERARCHY)
    wait_for("PyTorch tracing", stream)
    assert stream.getvalue().count("\x1b[?25h") == 0
    del monitor
    wait_for("\x1b[?25h", stream)
    assert stream.getvalue().count("\x1b[?25h") == 1


def test_short_steps_have_no_spinner(monitored: Make) -> None:
    stream, console = terminal()
    monitored(verbose=True, console=console).finalize()
    assert "\x1b[?25l" not in stream.getvalue()


def test_a_spinner_that_cannot_be_written_disturbs_nobody(new_monitor: Make) -> None:
    raised: list[object] = []
    stream, console = terminal()
    monitor = new_monitor(verbose=True, console=console)
    before = threading.excepthook
    threading.excepthook = raised.append
    try:
        monitor.log_step(HTPExportStep.HIERARCHY)
        waiting = [one for one in threading.enumerate() if isinstance(one, threading.Timer)]
        stream.close()
        for one in waiting:
            one.join(10)
    finally:
        threading.excepthook = before
    assert waiting and raised == []


def test_a_console_with_a_display_of_its_own_gets_the_text_and_no_spinner(monitored: Make) -> None:
    stream, console = terminal()
    with Live("busy", console=console, auto_refresh=False):
        monitor = monitored(verbose=True, console=console)
    assert monitor.errors == []
    assert "[8/8]" in stream.getvalue()


def test_batch_console_writes_a_step_in_one_piece_and_has_no_spinner(monitored: Make) -> None:
    writes = {}
    for batch in (False, True):
        stream = Stream()
        monitor = monitored(verbose=True, console=Console(file=stream, width=80), config={"batch_console": batch})
        writes[batch] = len(stream.writes)
        assert stream.getvalue() == monitor.get_console_output()
    assert writes[True] == 9  # the title and eight steps
    assert writes[False] == 22  # the title, eight headers, and the parts below them
    stream, console = terminal()
    monitored(verbose=True, console=console, config={"batch_console": True})
    assert "\x1b[?25l" not in stream.getvalue()


def test_style_numbers_off_leaves_numbers_as_they_are(monitored: Make) -> None:
    stream, console = terminal()
    monitor = monitored(verbose=True, console=console, config={"style_numbers": False, "batch_console": True})
    assert "\x1b[1;36m" not in stream.getvalue()
    assert "\x1b[1;32m[3/8]\x1b[0m" in stream.getvalue()
    assert ESCAPES.sub("", stream.getvalue()) == monitor.get_console_output()


def tree(monitor: HTPExportMonitor) -> list[str]:
    """The last module tree on the console: names, and what was cut."""
    text = monitor.get_console_output().split("parameters\n")[-1]
    lines = [line.strip(" │├└─") for line in text.splitlines()[1:]]
    end = next(position for position, line in enumerate(lines) if not line or line.startswith("["))
    return [re.sub(r"\s{2,}.*", "", line) for line in lines[:end]]


def test_the_tree_is_indented_and_counts_nodes_and_parameters(monitored: Make) -> None:
    text = monitored().get_console_output()
    assert re.search(r"^ {6}Tiny +50 +263,796$", text, re.M)
    assert re.search(r"^ {6}├─ blocks: ModuleList +42 +199,296$", text, re.M)
    assert re.search(r"^ {6}│  ├─ 0: Block +7 +33,216$", text, re.M)
    assert re.search(r"^ {6}│  │  └─ mix: Mixer +5 +33,088$", text, re.M)
    assert re.search(r"^ {6}│  │     └─ down: Linear +2 +16,448$", text, re.M)


def test_max_tree_depth_shows_depths_up_to_it_and_says_what_was_cut(monitored: Make) -> None:
    assert len(tree(monitored())) == 34
    assert tree(monitored(config={"max_tree_depth": 0})) == ["Tiny", "... 33 more below depth 0"]
    assert tree(monitored(config={"max_tree_depth": 1})) == [
        "Tiny",
        "embed: Embedding",
        "blocks: ModuleList",
        "head: Linear",
        "... 30 more below depth 1",
    ]


def test_max_display_nodes_shows_the_upper_levels_first_and_says_what_was_cut(monitored: Make) -> None:
    assert tree(monitored(config={"max_display_nodes": 6})) == [
        "Tiny",
        "embed: Embedding",
        "blocks: ModuleList",
        "0: Block",
        "1: Block",
        "head: Linear",
        "... 28 more modules",
    ]


def test_max_display_nodes_limits_lists_of_nodes(monitored: Make) -> None:
    text = monitored(config={"max_display_nodes": 1}).get_console_output()
    assert re.search(r"^ +/Cast +/Tiny +fallback +0.31\n +... 3 more below confidence 1.00$", text, re.M)
    assert "... 3 more" not in monitored().get_console_output()


class Watched(dict[str, Any]):
    """Counts how often it is read from one end to the other."""

    readings = 0

    def items(self) -> Any:
        self.readings += 1
        return super().items()


def test_enable_cache_counts_nodes_once_per_step(monitored: Make, steps: dict[HTPExportStep, dict[str, Any]]) -> None:
    readings = {}
    for cached in (True, False):
        watched = Watched(steps[HTPExportStep.NODE_TAGGING]["nodes"])
        monitor = monitored(config={"enable_cache": cached})
        monitor.log_step(HTPExportStep.COMPLETE, nodes=watched)
        before = watched.readings
        for _ in range(5):
            monitor.console_writer.on_complete(monitor.data)
        readings[cached] = watched.readings - before
    assert readings == {True: 0, False: 5}


def test_the_cache_is_dropped_by_every_step(monitored: Make) -> None:
    monitor = monitored()
    monitor.log_step(HTPExportStep.COMPLETE, nodes={"a": {"tag": "/T", "source": "value"}}, total_nodes=4)
    assert monitor.get_metadata()["statistics"]["by_source"] == {"value": 1}
    assert monitor.get_metadata()["statistics"]["coverage"] == 0.25


def test_coverage_by_source_comes_at_the_end(monitored: Make) -> None:
    last = monitored().get_console_output().split("[8/8]")[1]
    assert re.search(r"scope +46 +92.0%", last)
    assert re.search(r"inherited +3 +6.0%", last)
    assert re.search(r"fallback +1 +2.0%", last)
    assert "50 of 50 nodes have their module" in last


def test_coverage_never_rounds_to_all_or_none(new_monitor: Make) -> None:
    monitor = new_monitor()
    monitor.log_step(HTPExportStep.COMPLETE, total_nodes=10_000, coverage=0.9999, tagging_stats={"scope": 9_999})
    text = monitor.get_console_output()
    assert re.search(r"scope +9,999 +99.9%", text) and re.search(r"untagged +1 +0.1%", text)


def test_long_lists_and_long_errors_are_cut_and_say_so(new_monitor: Make) -> None:
    monitor = new_monitor(config={"max_display_nodes": 3})
    monitor.log_step(HTPExportStep.EXPORT, warnings=[f"warning {n}" for n in range(115)])
    monitor.log_error(HTPExportStep.SAVE, "\n".join(f"line {n}" for n in range(30)))
    text = monitor.get_console_output()
    assert "warning 2\n" in text and "warning 3" not in text and "... 112 more\n" in text
    assert "line 19\n" in text and "line 20" not in text and "... 10 more lines in the report" in text
    assert "line 29" in monitor.get_report() and "warning 114" in monitor.get_report()


def test_a_warning_is_shown_once(monitored: Make) -> None:
    monitor = monitored()
    monitor.log_step(
        HTPExportStep.COMPLETE, warnings=["dynamo could not export this model; TorchScript was used", "new"]
    )
    assert monitor.get_console_output().count("dynamo could not export") == 1
    assert monitor.get_report().count("dynamo could not export") == 1


def test_numbers_stand_out_only_where_they_stand_alone() -> None:
    def numbers(text: str) -> list[str]:
        return [part for part, style in numbered(text) if style == "number"]

    text = "50 (100.0%) of 1,234: int64 [2, 16], blocks.0 v1.2 3x 1,2 17."
    assert numbers(text) == ["50", "100.0%", "1,234", "2", "16", "17"]
    assert "".join(part for part, _ in numbered("a 1, b")) == "a 1, b"
