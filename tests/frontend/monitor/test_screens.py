"""What a reader will see, kept in docs/screens as SVG.

The files are made by these tests: set UPDATE_SCREENS=1 to write them anew after a change of the output.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.terminal_theme import SVG_EXPORT_THEME

from modelexport.frontend.monitor import HTPExportMonitor, HTPExportStep

Make = Callable[..., HTPExportMonitor]
FOLDER = Path(__file__).resolve().parents[3] / "docs" / "screens"

# Rich's own template fetches its font from the network; this one takes the reader's. It also keeps the blanks that some
# viewers take away at the ends of a text, and the lower half of the last line's underscores.
TEMPLATE = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{
    font-family: "DejaVu Sans Mono", Menlo, Consolas, monospace;
    font-size: {char_height}px;
    line-height: {line_height}px;
}}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: arial, sans-serif; }}
{styles}
</style>
<defs>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})">
{backgrounds}
<g class="{unique_id}-matrix" xml:space="preserve">
{matrix}
</g>
</g>
</svg>
"""


def screen(monitor_of: Callable[[Console], HTPExportMonitor], width: int, name: str) -> tuple[str, str]:
    """The SVG and the text of what a monitor prints on a terminal of this width."""
    console = Console(file=io.StringIO(), record=True, width=width, force_terminal=True, color_system="truecolor")
    monitor = monitor_of(console)
    monitor.finalize()
    svg = console.export_svg(
        title="modelexport export --verbose --report",
        theme=SVG_EXPORT_THEME,
        code_format=TEMPLATE,
        unique_id=name,
        clear=False,
    )
    return "".join(f"{line.rstrip()}\n" for line in svg.splitlines()), console.export_text()


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("ending", ["success", "failure"])
def test_screen_is_the_one_in_the_documents(
    monitored: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int, ending: str
) -> None:
    monkeypatch.chdir(tmp_path)

    def monitor_of(console: Console) -> HTPExportMonitor:
        options: dict[str, Any] = {"output_path": "tiny.onnx", "verbose": True, "console": console}
        options["config"] = {"batch_console": True, "max_tree_depth": 3, "max_display_nodes": 12}
        if ending == "success":
            return monitored(**options)
        monitor = monitored(until=HTPExportStep.EXPORT, **options)
        monitor.log_error(HTPExportStep.EXPORT, "ExportError: Tiny: torch.fft.rfft has no ONNX operator at opset 17")
        return monitor

    name = f"monitor-{ending}-{width}"
    svg, text = screen(monitor_of, width, name)
    assert max(len(line) for line in text.splitlines()) == width
    assert "http" not in svg.replace("http://www.w3.org/2000/svg", "")
    file = FOLDER / f"{name}.svg"
    if os.environ.get("UPDATE_SCREENS"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(svg, encoding="utf-8")
    assert file.read_text(encoding="utf-8") == svg, "the output has changed: UPDATE_SCREENS=1 writes the screens anew"


def test_screens_show_colours_counters_and_cuts() -> None:
    svg = (FOLDER / "monitor-success-80.svg").read_text(encoding="utf-8").replace("&#160;", " ")
    assert {f"[{number}/8]" for number in range(1, 9)} <= set(re.findall(r">(\[\d/8\])<", svg))
    assert "... 12 more below depth 3" in svg and "... 10 more modules" in svg
    assert "Failed at [5/8] EXPORT" in (FOLDER / "monitor-failure-120.svg").read_text(encoding="utf-8").replace(
        "&#160;", " "
    )
