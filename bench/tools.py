"""How many nodes keep the right module through each tool pass: ``python bench/tools.py [MODEL ...]``.

Every model of ``bench/accuracy/models.py`` that is named (by default twelve architectures, as shifted and as
initialised) is exported with both exporters and tagged; then every tool pass runs on the file. What is right is known
apart from the code under test:

- a kept node (its name or first output is of a node from before) must have the tag it had, and *true* counts those
  whose tag is the module that ``bench/accuracy/truth.py`` saw running;
- a new quantiser, dequantiser or cast of an initializer or constant is its reader's (the common module of several), one
  of an activation is from the module that made that value (of an input: the common module of its readers), by the truth
  of the export; names of values are cut back to those of the export by the suffixes that onnxruntime adds;
- any other new node has a truth where all values it makes are read by, and all it reads are made by, one module.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import takewhile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "accuracy"))
import cases
import models
import numpy as np
import onnx
import torch
import truth
import variants

from modelexport.ir import load_model
from modelexport.ir.errors import ModelExportError
from modelexport.ir.io.writer import to_bytes
from modelexport.passes import PassManager

ARCHITECTURES = (
    "bert", "distilbert", "gpt2", "llama", "t5", "vit", "convnext", "resnet", "mobilenetv2", "unet", "segformer",
    "recurrent",
)  # fmt: skip
TOOLS = (
    "ort-optimize{level=basic}",
    "ort-optimize{level=extended}",
    "ort-optimize{level=all}",
    "ort-transformers",
    "onnxslim",
    "onnxsim",
    "onnxscript-optimize",
    "convert-version{opset=21}",
    "convert-version{opset=21 engine=onnxscript}",
    "float16",
    "drop-value-info,quantize-dynamic",
    "quantize-static{calibration=FILE}",
    "quantize-weights{block-size=16}",
)
FORMS = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "Cast")
_SUFFIXES = ("_DequantizeLinear_Output", "_QuantizeLinear_Output", "_QuantizeLinear_Input", "_quantized")


class Score(Counter[str]):
    """Counts of one tool."""


def common(paths: Iterable[str], containers: frozenset[str]) -> str:
    """The innermost module around all of them that is called."""
    first, *others = [path.split(".") if path else [] for path in paths]
    same = (len({*column}) == 1 for column in zip(first, *others, strict=False))
    atoms = first[: sum(1 for _ in takewhile(bool, same))]
    while ".".join(atoms) in containers:
        atoms = atoms[:-1]
    return ".".join(atoms)


class Before:
    """The export and its truth, by output name."""

    def __init__(self, path: Path, known: dict[str, str], containers: frozenset[str]) -> None:
        proto = onnx.load(path)
        self.known = known
        self.containers = containers  # modules that are never called
        self.names: dict[str, onnx.NodeProto] = {}
        self.outputs: dict[str, onnx.NodeProto] = {}
        self.makers: dict[str, str] = {}
        self.readers: dict[str, list[str]] = {}
        self.inputs = {value.name for value in proto.graph.input} - {tensor.name for tensor in proto.graph.initializer}
        for node in truth.nodes_of(proto.graph):
            if node.name:
                self.names.setdefault(node.name, node)
            if node.output:
                self.outputs[node.output[0]] = node
            path_of = known.get(node.output[0]) if node.output else None
            if path_of is not None:
                self.makers.update(dict.fromkeys(node.output, path_of))
                for value in node.input:
                    self.readers.setdefault(value, []).append(path_of)

    def value(self, name: str) -> str:
        """The value of the export that ``name`` is made from; "" for none."""
        while name not in self.makers and name not in self.inputs:
            cut = next((name.removesuffix(suffix) for suffix in _SUFFIXES if name.endswith(suffix)), "")
            if not cut:
                return ""
            name = cut
        return name


def score(before: Before, tagged: onnx.ModelProto, found: Score) -> None:
    """Count what is right in a file that a tool pass made; ``tagged`` has its tags."""
    nodes = list(truth.nodes_of(tagged.graph))
    weights = {tensor.name for tensor in tagged.graph.initializer}
    weights.update(value for node in nodes if node.op_type == "Constant" for value in node.output)
    for node in nodes:
        if node.op_type in FORMS and all(value in weights for value in node.input if value):
            weights.update(node.output)
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in nodes:
        for value in node.input:
            readers.setdefault(value, []).append(node)
    for node in nodes:
        tags = {entry.key: entry.value for entry in node.metadata_props}
        path, source = tags.get("htp.path"), tags.get("htp.source", "")
        found["nodes"] += 1
        found["untagged"] += path is None
        found["fallback"] += source == "fallback"
        old = before.names.get(node.name) if node.name else None
        old = old if old is not None else before.outputs.get(node.output[0]) if node.output else None
        if old is not None:
            was = {entry.key: entry.value for entry in old.metadata_props}
            found["kept"] += 1
            found["kept same"] += was.get("htp.path") == path and was.get("htp.source") == source
            known = before.known.get(old.output[0])
            found["kept known"] += known is not None
            found["kept true"] += known is not None and known == path
            continue
        found["new"] += 1
        found["new scope"] += source == "scope"
        kind, expected = right(before, node, weights, readers)
        if expected is not None:
            found[f"{kind} known"] += 1
            found[f"{kind} right"] += expected == path
            if expected != path:
                print(
                    f"# {node.op_type} {node.name}: {path!r} ({tags.get('htp.rule')}), not {expected!r}",
                    file=sys.stderr,
                )


def read_by(before: Before, value: str, readers: dict[str, list[onnx.NodeProto]]) -> Iterator[str | None]:
    """The modules that read a value, through quantisers and dequantisers that are new."""
    for reader in readers.get(value, ()):
        old = before.names.get(reader.name) or before.outputs.get(reader.output[0])
        if old is not None:
            yield before.known.get(old.output[0])
        elif reader.op_type in FORMS:
            yield from read_by(before, reader.output[0], readers)
        else:
            yield None


def right(
    before: Before, node: onnx.NodeProto, weights: set[str], readers: dict[str, list[onnx.NodeProto]]
) -> tuple[str, str | None]:
    """Kind of a new node, and the module it is from where that is known."""
    if node.op_type in FORMS and node.input[0] in weights:
        paths = [path for value in node.output for path in read_by(before, value, readers)]
        known = [path for path in paths if path is not None]
        return "weight", common(known, before.containers) if known and len(known) == len(paths) else None
    if node.op_type in FORMS:
        value = before.value(node.input[0])
        if value in before.inputs:
            return "value", common(before.readers[value], before.containers) if before.readers.get(value) else None
        return "value", before.makers.get(value)
    around = {before.makers.get(before.value(value)) for value in node.input if value and value not in weights}
    after = set()
    for value in node.output:
        for reader in readers.get(value, ()):
            old = before.names.get(reader.name) or before.outputs.get(reader.output[0])
            after.add(before.known.get(old.output[0]) if old is not None else None)
    paths_around = around | after
    return "other", paths_around.pop() if len(paths_around) == 1 else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=[*ARCHITECTURES, *(name + models.INIT for name in ARCHITECTURES)])
    parser.add_argument("--folder", type=Path, help="keep exports there")
    options = parser.parse_args()
    scores = {tool: Score() for tool in TOOLS}
    with tempfile.TemporaryDirectory() as temporary:
        for name in options.models:
            folder = (options.folder or Path(temporary)) / name
            folder.mkdir(parents=True, exist_ok=True)
            for exporter in ("torchscript", "dynamo"):
                one(name, exporter, folder, scores)
    show(scores)


def one(name: str, exporter: str, folder: Path, scores: dict[str, Score]) -> None:
    """Export one model with one exporter, and run every tool on it."""
    short = "ts" if exporter == "torchscript" else "dr"
    target = folder / f"own-{short}.onnx"
    try:
        with cases.hushed():
            if not target.exists():
                (cases._script if short == "ts" else cases._export)(name, folder)
                cases._own(name, target, exporter)
            known = cases.json.loads(target.with_suffix(".json").read_text())
            network, inputs = models.get(name)
            example = variants.as_arrays(inputs)
            forward = torch.nn.Module.forward
            containers = frozenset(path for path, each in network.named_modules() if type(each).forward is forward)
            file = folder / "c.npz"
            np.savez(file, **example)
    except Exception as error:  # noqa: BLE001 - foreign exporters
        print(f"# {name} {exporter}: not exported: {type(error).__name__}", file=sys.stderr)
        return
    before = Before(target, known, containers)
    for tool, found in scores.items():
        model = load_model(target)
        try:
            PassManager(tool.replace("FILE", f'"{file}"')).run(model)
        except ModelExportError as error:
            found["failed"] += 1
            print(f"# {name} {exporter} {tool}: {str(error)[:160]}", file=sys.stderr)
            continue
        found["files"] += 1
        score(before, onnx.ModelProto.FromString(to_bytes(model)), found)


_SHARES = (
    ("kept same", "kept"),
    ("kept true", "kept known"),
    ("weight right", "weight known"),
    ("value right", "value known"),
    ("other right", "other known"),
)


def show(scores: dict[str, Score]) -> None:
    """The table."""
    print("| tool | files | failed | nodes | kept, same tag | kept, true | new | weights | activations | others |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for tool, found in scores.items():
        cells = [f"`{tool}`", found["files"], found["failed"], found["nodes"]]
        cells += [f"{found[one]} of {found[all_]}" for one, all_ in _SHARES[:2]]
        cells += [found["new"], *(f"{found[one]} of {found[all_]}" for one, all_ in _SHARES[2:])]
        print(f"| {' | '.join(map(str, cells))} |")
        if wrong := {what: found[what] for what in ("untagged", "fallback", "new scope") if found[what]}:
            print(f"# {tool}: {wrong}")


if __name__ == "__main__":
    main()
