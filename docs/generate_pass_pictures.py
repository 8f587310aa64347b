"""Draws docs/pictures/passes, a graph before and after each pass: ``python docs/generate_pass_pictures.py [PASS ...]``.

The pass runs on a small model of ``pass_examples.py``. Boxes are operators, coloured by module; dashed ones have no
attribution. ``drawn`` is the picture of one pass as text, and the same on every machine with the same tools.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from pass_examples import EXAMPLES, Example

from modelexport.ir import Model, save_model
from modelexport.passes import PassManager, Pipeline
from modelexport.passes.pipeline.base import PassContext
from modelexport.passes.testing import make_model, run_pass

FOLDER = Path(__file__).resolve().parent / "pictures" / "passes"
_STYLE = (
    "text{font:12px ui-monospace,Menlo,Consolas,monospace;fill:#1f2328}"
    ".op{font-weight:bold}.title{font-weight:bold;font-size:14px}"
    ".small{fill:#57606a}line{stroke:#57606a;stroke-width:1.2}rect.node{stroke:#57606a}"
)
_HEAD = '<path d="M0,0 L8,4 L0,8 z" fill="#57606a"/>'
_COLOURS = ("#fff3c4", "#cfe8ff", "#d3f2d6", "#f6d5ff", "#ffdcc8", "#d9f0ef")
_WIDTH, _LINE, _GAP, _BETWEEN, _CHARACTERS = 236, 16, 34, 20, 31


@dataclass(frozen=True)
class Box:
    """One operator, or an input or output of the graph; ``reads`` are values."""

    lines: tuple[str, ...]
    colour: str | None
    reads: tuple[str, ...]
    makes: tuple[str, ...]


def ran(example: Example) -> Iterator[Model]:
    """The model before the pass, then after it."""
    model = make_model(example.model)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        context = PassContext()
        if example.reference and example.run.startswith("value"):
            context.trace = _trace(folder, make_model(example.reference))
        elif example.reference:
            reference = make_model(example.reference)
            run_pass("attribute-embedding", reference)
            save_model(reference, folder / "reference.onnx")
            context.reference = folder / "reference.onnx"
        text = example.run
        if example.run.startswith("quantize-static"):
            rows = np.linspace(-1, 1, 32, dtype=np.float32).reshape(4, 2, 4)
            np.savez(folder / "samples.npz", x=rows)
            text = f'quantize-static{{calibration="{folder / "samples.npz"}"}}'
        for pipeline in (example.first, text):
            steps = Pipeline.parse(pipeline)
            PassManager(steps, context=context, assume={fact for step in steps for fact in step.requires}).run(model)
            yield model


def _trace(folder: Path, model: Model) -> Path:
    """A trace of the torch module that the reference model stands for: a product, Relu, a product."""
    import torch

    from modelexport.frontend.trace.value_trace import write_trace

    weights = {one.name: numpy_helper.to_array(one) for one in model.proto.graph.initializer}

    class Product(torch.nn.Module):
        def __init__(self, weight: np.ndarray, relu: bool) -> None:
            super().__init__()
            self.w = torch.nn.Parameter(torch.from_numpy(weight.copy()))
            self.relu = relu

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            product = x @ self.w
            return product.relu() if self.relu else product

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enc, self.head = Product(weights["enc.w"], True), Product(weights["head.w"], False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.head(self.enc(x))
            return result

    write_trace(Net(), {"x": torch.linspace(-1, 2, 8).reshape(2, 4)}, folder / "net.htptrace")
    return folder / "net.htptrace"


def boxes(model: Model, show: Sequence[str], colours: dict[str, str]) -> list[Box]:
    """What is drawn of a model."""
    with tempfile.TemporaryDirectory() as folder:
        save_model(model, Path(folder) / "m.onnx")
        graph = onnx.load(Path(folder) / "m.onnx").graph
    weights = {one.name: one for one in graph.initializer}
    shapes = {one.name: one for one in (*graph.input, *graph.value_info, *graph.output)}
    placed = {output: node.attribution for node in model.nodes() for output in node.outputs}
    found = [Box((f"input {one.name}",), "", (), (one.name,)) for one in graph.input]
    for node in graph.node:
        lines = [node.op_type]
        if "names" in show:
            lines.append(node.name or "(no name)")
        made = placed.get(node.output[0])
        lines.append(f"{made.path or '(root)'} · {made.source.value} {made.confidence:g}" if made else "no attribution")
        if "weights" in show:
            lines += [f"{name} {_type_of(weights[name])}" for name in node.input if name in weights]
        if "shapes" in show:
            lines += [f"{name} {_shape(shapes.get(name))}" for name in node.output]
        if "metadata" in show:
            entries = sorted((one.key, one.value) for one in node.metadata_props)
            lines += [f"{key}={value}" for key, value in entries] or ["(no metadata)"]
        colour = colours.setdefault(made.path, _COLOURS[len(colours) % len(_COLOURS)]) if made else None
        reads = tuple(name for name in node.input if name and name not in weights)
        found.append(Box(tuple(lines), colour, reads, tuple(node.output)))
    found += [Box((f"output {one.name}",), "", (one.name,), ()) for one in graph.output]
    return found


def _type_of(tensor: onnx.TensorProto) -> str:
    kind = onnx.TensorProto.DataType.Name(tensor.data_type).lower()
    return f"{kind}[{','.join(map(str, tensor.dims))}]"


def _shape(info: onnx.ValueInfoProto | None) -> str:
    if info is None:
        return "(no shape)"
    kind = info.type.tensor_type
    dims = ",".join(str(one.dim_value or one.dim_param) for one in kind.shape.dim)
    return f"{onnx.TensorProto.DataType.Name(kind.elem_type).lower()}[{dims}]"


def panel(found: list[Box], left: float, top: float) -> tuple[list[str], float, float]:
    """Boxes in rows by how far they are from the inputs; their shapes, the width and the height."""
    maker = {value: index for index, box in enumerate(found) for value in box.makes}
    rows = [0] * len(found)
    for _ in found:  # the nodes may be in any order
        rows = [1 + max((rows[maker[value]] for value in box.reads if value in maker), default=-1) for box in found]
    last = max(rows)
    rows = [last if box.lines[0].startswith("output ") else row for box, row in zip(found, rows, strict=True)]
    members = [[index for index, row in enumerate(rows) if row == number] for number in range(last + 1)]
    widest = max(map(len, members)) * (_WIDTH + _BETWEEN) - _BETWEEN
    place: dict[int, tuple[float, float, float]] = {}  # centre, top, height
    y = top
    for row in members:
        start = left + (widest - (len(row) * (_WIDTH + _BETWEEN) - _BETWEEN)) / 2
        tallest = max(_height(found[index]) for index in row)
        for position, index in enumerate(row):
            place[index] = (start + position * (_WIDTH + _BETWEEN) + _WIDTH / 2, y, _height(found[index]))
        y += tallest + _GAP
    shapes = []
    for index, box in enumerate(found):
        for value in dict.fromkeys(box.reads):
            if value in maker:
                x1, y1, height = place[maker[value]]
                x2, y2, _ = place[index]
                shapes.append(
                    f'<line x1="{x1:g}" y1="{y1 + height:g}" x2="{x2:g}" y2="{y2 - 2:g}" marker-end="url(#a)"/>'
                )
    for index, box in enumerate(found):
        shapes.append(_drawn_box(box, *place[index]))
    return shapes, widest, y - _GAP - top


def _height(box: Box) -> int:
    return len(box.lines) * _LINE + 12


def _drawn_box(box: Box, centre: float, top: float, height: float) -> str:
    x, size = centre - _WIDTH / 2, f'width="{_WIDTH}" height="{height:g}"'
    if box.colour == "":
        return f'<text class="small" text-anchor="middle" x="{centre:g}" y="{top + 18:g}">{escape(box.lines[0])}</text>'
    fill, dash = (box.colour, "") if box.colour else ("#ffffff", ' stroke-dasharray="5 3"')
    texts = []
    for number, line in enumerate(box.lines):
        short = line if len(line) <= _CHARACTERS else line[: _CHARACTERS - 1] + "…"
        style = ' class="op"' if number == 0 else ""
        texts.append(f'<text{style} x="{x + 8:g}" y="{top + 18 + number * _LINE:g}">{escape(short)}</text>')
    return f'<g><rect class="node" x="{x:g}" y="{top:g}" {size} rx="5" fill="{fill}"{dash}/>{"".join(texts)}</g>'


def drawn(name: str) -> str:
    """The picture of the pass ``name`` as SVG."""
    example, colours = EXAMPLES[name], dict[str, str]()
    body: list[str] = []
    left, tallest = 20.0, 0.0
    for title, model in zip(("before", "after"), ran(example), strict=True):
        shapes, width, height = panel(boxes(model, example.show, colours), left, 48)
        body += [f'<text class="title" x="{left:g}" y="28">{title}</text>', *shapes]
        left, tallest = left + width + 60, max(tallest, height)
    width, height = left - 40, tallest + 64
    marker = f'<marker id="a" markerWidth="8" markerHeight="8" refX="7" refY="4" orient="auto">{_HEAD}</marker>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" role="img">'
        f"<title>{escape(name)}, before and after</title><style>{_STYLE}</style><defs>{marker}</defs>"
        f'<rect width="100%" height="100%" rx="6" fill="#ffffff"/>\n' + "\n".join(body) + "\n</svg>\n"
    )


def main(names: Sequence[str]) -> None:
    """Write the pictures of these passes, or of all."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in names or EXAMPLES:
        (FOLDER / f"{name}.svg").write_text(drawn(name), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
