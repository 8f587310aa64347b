"""How many nodes keep the right module through each tool pass: ``python bench/tools.py [MODEL ...]``.

Every model of ``bench/accuracy/models.py`` that is named (by default twelve architectures, as shifted and as
initialised) is exported with both exporters and tagged; then every tool pass runs on the file. What is right is known
apart from the code under test:

- a kept node (its name or first output is of a node from before) must have the tag it had, and *true* counts those
  whose tag is the module that ``bench/accuracy/truth.py`` saw running;
- a new quantiser, dequantiser or cast of an initializer or constant is its reader's (the common module of several), one
  of an activation is from the module that made that value (of an input: the common module of its readers), by the truth
  of the export; names of values are cut back to those of the export by the suffixes that onnxruntime adds;
- one with its activation in it is from the module that made the value which its result is named after;
- any other new node is from the module (the common one of several) whose weights it reads, where each of these had
  readers of one module only. Where it reads none, it is from the module of the same place among the operators of its
  type (or of those of which its type is made), if these depend on each other in one order, before and after; else from
  that which made what its readers had in its place; else from the one module that makes all it reads and reads all it
  makes.

``--deep`` adds plain networks of many equal blocks, for the kinds of new nodes that few architectures show, and
TorchScript's old opset for the adapters of a converter. ``--write`` puts the share of right tags of every rule into
``passes/tools/confidence.json``: the confidence of such tags from then on.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "accuracy"))
import cases
import models
import numpy as np
import onnx
import tool_networks
import torch
import truth
import variants

from modelexport.ir import load_model, save_model
from modelexport.ir.errors import ModelExportError
from modelexport.ir.io.writer import to_bytes
from modelexport.passes import PassManager
from modelexport.passes.tools.carry import CHOSEN

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
    'float16{keep-io=true block="op:Add or op:Mul or op:Conv"}',
    "drop-value-info,quantize-dynamic",
    "quantize-static{calibration=FILE}",
    "quantize-weights{block-size=16}",
)
DEEP_TOOLS = ("ort-", "onnxs", "convert", "drop")  # how those begin that architectures alone show too little of
OLD_TOOLS = ("convert-version{opset=13}", "convert-version{opset=18}")  # of TorchScript at opset 11
FEW, PRIOR = 20, 4.0  # fewer judged nodes measure nothing; so many at the mean share are added to each rule's
WRITTEN = Path(__file__).parents[1] / "passes" / "tools" / "confidence.json"
FORMS = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "Cast")
MADE_OF = {
    "HardSigmoid": ("HardSwish",),
    "QuickGelu": ("Sigmoid",),
    "Gelu": ("Erf",),
}  # what merged or divided nodes are of
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


def chain(nodes: Iterable[onnx.NodeProto], op_type: str) -> list[onnx.NodeProto]:
    """The nodes of a type in the one order in which each depends on the one before; [] where there is no such order."""
    rank: dict[str, int] = {}
    found: list[onnx.NodeProto] = []
    for node in nodes:
        above = max((rank.get(value, 0) for value in node.input), default=0)
        if node.op_type == op_type:
            if above != len(found):
                return []
            found.append(node)
            above += 1
        rank.update(dict.fromkeys(node.output, above))
    return found


class Before:
    """The export and its truth, by output name."""

    def __init__(self, path: Path, known: dict[str, str], containers: frozenset[str]) -> None:
        proto = onnx.load(path)
        self.nodes = list(proto.graph.node)
        self.known = known
        self.containers = containers  # modules that are never called
        self.names: dict[str, onnx.NodeProto] = {}
        self.outputs: dict[str, onnx.NodeProto] = {}
        self.makers: dict[str, str] = {}
        self.readers: dict[str, list[str | None]] = {}  # None for one that truth does not know
        self.weights = {tensor.name for tensor in proto.graph.initializer}
        self.inputs = {value.name for value in proto.graph.input} - self.weights
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
        kind, expected = right(before, node, weights, readers, list(tagged.graph.node))
        if expected is not None:
            found[f"{kind} known"] += 1
            found[f"{kind} right"] += expected == path
            found[f"rule {tags.get('htp.rule')}"] += 1
            found[f"right {tags.get('htp.rule')}"] += expected == path
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
    before: Before,
    node: onnx.NodeProto,
    weights: set[str],
    readers: dict[str, list[onnx.NodeProto]],
    nodes: list[onnx.NodeProto],
) -> tuple[str, str | None]:
    """Kind of a new node, and the module it is from where that is known."""
    if node.op_type in FORMS and node.input[0] in weights:
        return "weight", around(before, [path for value in node.output for path in read_by(before, value, readers)])
    if node.op_type in FORMS:
        value = before.value(node.input[0])
        if value in before.inputs:
            return "value", around(before, before.readers.get(value, ()))
        return "value", before.makers.get(value)
    named = before.outputs.get(node.name.removesuffix("_nchwc"))
    if named is not None and any(entry.s.decode() == named.op_type for entry in node.attribute if entry.s):
        return "other", before.known.get(named.output[0])  # the value it makes is the activation's
    owners = [
        set(before.readers.get(value, ()))
        for value in node.input
        if value in before.weights and len(readers[value]) <= len(before.readers.get(value, ()))  # not merged since
    ]
    if owners and all(len(paths) == 1 and None not in paths for paths in owners):
        return "other", around(before, [path for paths in owners for path in paths])
    new_chain = chain(nodes, node.op_type)
    for op_type in (node.op_type, *MADE_OF.get(node.op_type, ())):
        old_chain = chain(before.nodes, op_type)
        if old_chain and len(old_chain) == len(new_chain) and node in new_chain:
            return "other", before.known.get(old_chain[new_chain.index(node)].output[0])
    if not any(value in weights for value in node.input):
        places = {
            before.makers.get(was)
            for value in node.output
            for reader in readers.get(value, ())
            if (old := before.names.get(reader.name) or before.outputs.get(reader.output[0])) is not None
            for was, now in zip(old.input, reader.input, strict=False)
            if now == value and len(old.input) == len(reader.input)
        }
        if len(places) == 1 and None not in places:
            return "other", places.pop()
    made = {before.makers.get(before.value(value)) for value in node.input if value and value not in weights}
    after = set()
    for value in node.output:
        for reader in readers.get(value, ()):
            old = before.names.get(reader.name) or before.outputs.get(reader.output[0])
            after.add(before.known.get(old.output[0]) if old is not None else None)
    paths_around = made | after
    return "other", paths_around.pop() if len(paths_around) == 1 else None


def around(before: Before, paths: Iterable[str | None]) -> str | None:
    """The module around all of them; None where there are none or one is not known."""
    known = list(paths)
    return common([str(path) for path in known], before.containers) if known and None not in known else None


def never_called(network: torch.nn.Module, inputs: dict[str, Any]) -> frozenset[str]:
    """Modules that hold others and do not run themselves when the network does."""
    called: set[torch.nn.Module] = set()
    handles = [each.register_forward_pre_hook(lambda module, _: called.add(module)) for each in network.modules()]
    with torch.no_grad():
        network(**inputs)
    for handle in handles:
        handle.remove()
    return frozenset(path for path, each in network.named_modules() if each not in called)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=[*ARCHITECTURES, *(name + models.INIT for name in ARCHITECTURES)])
    parser.add_argument("--folder", type=Path, help="keep exports there")
    parser.add_argument("--tools", nargs="*", help="only these, by how they begin")
    parser.add_argument("--deep", action="store_true", help="plain networks of many equal blocks too")
    parser.add_argument("--write", action="store_true", help=f"write {WRITTEN.name}")
    options = parser.parse_args()
    tools = (*TOOLS, *(f"{tool} of opset 11" for tool in OLD_TOOLS))
    asked = tuple(options.tools or ("",))
    scores = {tool: Score() for tool in tools if tool.startswith(asked)}
    if options.deep:
        models.MODELS.update(tool_networks.MODELS)
    with tempfile.TemporaryDirectory() as temporary:
        kinds = [
            kind
            for kind, old in (("torchscript", 0), ("dynamo", 0), ("old", 1))
            if any(old == tool.endswith("opset 11") for tool in scores)
        ]
        for name in (*options.models, *(tool_networks.MODELS if options.deep else ())):
            folder = (options.folder or Path(temporary)) / name
            folder.mkdir(parents=True, exist_ok=True)
            for exporter in kinds:
                one(name, exporter, folder, scores)
    show(scores)
    rules(scores, write=options.write)


def exported(name: str, short: str, folder: Path) -> Path:
    """The tagged export of a model; its truth is beside it."""
    target = folder / f"own-{short}.onnx"
    if not target.exists():
        if short == "ts11":
            cases._script(name, folder, short, cases.OLD[short])
            model = load_model(folder / "ts11.onnx")
            PassManager("htp").run(model)
            save_model(model, target)
            target.with_suffix(".json").write_bytes((folder / "ts11.json").read_bytes())
        else:
            (cases._script if short == "ts" else cases._export)(name, folder)
            cases._own(name, target, "torchscript" if short == "ts" else "dynamo")
    return target


def one(name: str, exporter: str, folder: Path, scores: dict[str, Score]) -> None:
    """Export one model with one exporter, and run every tool on it."""
    short = {"torchscript": "ts", "dynamo": "dr", "old": "ts11"}[exporter]
    try:
        with cases.hushed():
            target = exported(name, short, folder)
            known = cases.json.loads(target.with_suffix(".json").read_text())
            network, inputs = models.get(name)
            example = variants.as_arrays(inputs)
            containers = never_called(network, inputs)
            file = folder / "c.npz"
            np.savez(file, **example)
    except Exception as error:  # noqa: BLE001 - foreign exporters
        print(f"# {name} {exporter}: not exported: {type(error).__name__}", file=sys.stderr)
        return
    before = Before(target, known, containers)
    for label, found in scores.items():
        tool = label.removesuffix(" of opset 11")
        if (tool != label) != (exporter == "old") or (name in tool_networks.MODELS and not tool.startswith(DEEP_TOOLS)):
            continue
        model = load_model(target)
        try:
            PassManager(tool.replace("FILE", f'"{file}"')).run(model)
        except ModelExportError as error:
            found["failed"] += 1
            print(f"# {name} {exporter} {tool}: {str(error)[:160]}", file=sys.stderr)
            continue
        found["files"] += 1
        score(before, onnx.ModelProto.FromString(to_bytes(model)), found)


def rules(scores: dict[str, Score], *, write: bool) -> None:
    """The share of right tags of each rule that decides new nodes."""
    total = sum(scores.values(), Score())
    judged = {key.removeprefix("rule "): number for key, number in total.items() if key.startswith("rule ")}
    mean = sum(total[f"right {rule}"] for rule in judged) / max(sum(judged.values()), 1)
    shares = {}
    print("\n| rule | judged | right | share |")
    print("|---|---:|---:|---:|")
    for rule, number in sorted(judged.items()):
        right = total[f"right {rule}"]
        print(f"| `{rule}` | {number} | {right} | {right / number:.4f} |")
        if number >= FEW and rule in CHOSEN:
            shares[rule] = round(min((right + PRIOR * mean) / (number + PRIOR), 0.9999), 4)
    if write:
        held = json.loads(WRITTEN.read_text())["rules"] if WRITTEN.exists() else {}
        text = json.dumps({"made by": "bench/tools.py", "rules": dict(sorted({**held, **shares}.items()))}, indent=1)
        WRITTEN.write_text(text + "\n")


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
