"""Draws the pictures of the pages about numbers by module: ``python docs/generate_compute_pictures.py``.

The demo transformer is exported, counted, profiled, quantised and split; ``docs/pictures`` gets the tables of
``modelexport cost`` and ``compare-values``, a flame graph of ``profile``, and the stages of ``split``. The times in the
flame graph are those of the machine that draws it.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import tempfile
from html import escape
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent / "pictures"
_STYLE = (
    "text{font:13px ui-monospace,Menlo,Consolas,monospace;fill:#1f2328;white-space:pre}rect.page{fill:#ffffff}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}rect.page{fill:#0d1117}g text{fill:#1f2328}}"
)
_COLOURS = ("#f2c14e", "#f78154", "#b4d6a8", "#8ecae6", "#e0bbe4", "#ffd6a5", "#a8dadc", "#cdb4db")
WIDTH, ROW = 1000, 22


def text_picture(lines: list[str]) -> str:
    """Lines of a terminal as an SVG."""
    width = max(map(len, lines)) * 7.85 + 24
    height = len(lines) * 18 + 20
    texts = "".join(f'<text x="12" y="{24 + 18 * i}">{escape(line)}</text>' for i, line in enumerate(lines))
    return _svg(width, height, texts)


def flame_picture(samples: list[tuple[list[str], float]]) -> str:
    """Stacks with their weights as an SVG of nested boxes, the root above; equal neighbours are one box."""
    total = sum(weight for _, weight in samples) or 1.0
    depth = max(len(stack) for stack, _ in samples)
    boxes: list[str] = []
    for level in range(depth):
        at, held = 0.0, None
        runs: list[tuple[list[str], float, float]] = []
        for stack, weight in samples:
            head = stack[: level + 1] if len(stack) > level else None
            if head is not None and head == held:
                runs[-1] = (head, runs[-1][1], runs[-1][2] + weight)
            elif head is not None:
                runs.append((head, at, weight))
            held, at = head, at + weight
        boxes += [_box(head, start / total, length / total, level, length) for head, start, length in runs if length]
    return _svg(WIDTH, depth * ROW + 16, f"<g>{''.join(boxes)}</g>")


def _box(head: list[str], start: float, share: float, level: int, us: float) -> str:
    label = head[-1]
    x, width = 8 + start * (WIDTH - 16), share * (WIDTH - 16)
    colour = _COLOURS[sum(map(ord, label)) % len(_COLOURS)]
    short = label if len(label) * 7.9 < width - 8 else label[: max(0, int((width - 16) / 7.9))] + "…"
    text = f'<text x="{x + 4:.1f}" y="{23 + level * ROW}">{escape(short)}</text>' if width > 34 else ""
    title = f"<title>{escape(label)}: {us:g} us, {share:.1%}</title>"
    shape = f'x="{x:.2f}" y="{8 + level * ROW}" width="{max(0.5, width - 1):.2f}" height="{ROW - 2}" rx="2"'
    return f'<g>{title}<rect {shape} fill="{colour}"/>{text}</g>'


def chain_picture(pipeline: dict[str, Any]) -> str:
    """The stages of a ``pipeline.json`` as boxes, one below the other, with the values that each is given."""
    lines: list[str] = []
    for number, stage in enumerate(pipeline["stages"]):
        top = 16 + 76 * number
        for place, value in enumerate(stage["inputs"]):
            source = "" if value["source"] == "input" else f" of {pipeline['stages'][value['source']]['file']}"
            label = f"{value['name']} {value['dtype']}{value['shape']}{source}"
            lines.append(f'<text x="200" y="{top + 14 + 16 * place}">{escape(label)}</text>')
        lines.append(f'<path d="M150 {top}v30m-5 -8l5 8l5 -8" fill="none" stroke="#888888" stroke-width="1.5"/>')
        box = f'x="40" y="{top + 30}" width="220" height="44" rx="4" fill="{_COLOURS[number % len(_COLOURS)]}"'
        lines.append(f'<g><rect {box}/><text x="64" y="{top + 57}">{escape(stage["file"])}</text></g>')
    bottom = 16 + 76 * len(pipeline["stages"])
    lines.append(f'<path d="M150 {bottom}v30m-5 -8l5 8l5 -8" fill="none" stroke="#888888" stroke-width="1.5"/>')
    outputs = ", ".join(output["name"] for output in pipeline["outputs"])
    lines.append(f'<text x="200" y="{bottom + 18}">{escape(outputs)}</text>')
    return _svg(620, bottom + 40, "".join(lines))


def _svg(width: float, height: float, body: str) -> str:
    size = f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">'
        f"<style>{_STYLE}</style>"
        f'<rect class="page" width="100%" height="100%" rx="6"/>{body}</svg>\n'
    )


def main(folder: Path = FOLDER) -> int:
    """Write the pictures."""
    from modelexport.analysis import profile
    from modelexport.cli.htp_opt import main as passes
    from modelexport.cli.modelexport import main as command

    def output(*words: str) -> list[str]:
        stream = io.StringIO()
        with contextlib.redirect_stdout(stream):
            if command(words):
                raise SystemExit(f"modelexport {' '.join(words)} failed")
        return stream.getvalue().rstrip().splitlines()

    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as made, contextlib.chdir(made):
        output("export", "demo:transformer", "demo.onnx")
        table = output("cost", "demo.onnx", "--depth", "3")
        (folder / "cost.svg").write_text(text_picture(["$ modelexport cost demo.onnx --depth 3", *table]))
        document = profile("demo.onnx").speedscope()
        frames = [frame["name"] for frame in document["shared"]["frames"]]
        (drawn,) = document["profiles"]
        stacks = [[frames[index] for index in sample] for sample in drawn["samples"]]
        (folder / "flame.svg").write_text(flame_picture(list(zip(stacks, drawn["weights"], strict=True))))
        if passes(["demo.onnx", "-o", "int8.onnx", "--passes", "htp,quantize-dynamic", "-q"]):
            raise SystemExit("htp-opt failed")
        words = ["compare-values", "demo.onnx", "int8.onnx", "--top", "5"]
        picture = text_picture([f"$ modelexport {' '.join(words)}", *output(*words)])
        (folder / "errors.svg").write_text(picture)
        output("split", "demo.onnx", "--at", "blocks.0", "--at", "blocks.1", "--at", "head", "-o", "chain")
        (folder / "stages.svg").write_text(chain_picture(json.loads(Path("chain/pipeline.json").read_text("utf-8"))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
