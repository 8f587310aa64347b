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
from pathlib import Path

sys.path.insert(0, str(Path(__file__).with_name("inputs")))
sys.path.insert(0, str(Path(__file__).with_name("accuracy")))
import cases
import models
import numpy as np
import onnx
import tool_networks
import truth
import variants
from tool_truth import FORMS, Before, never_called, right

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
FEW = 20  # fewer judged nodes measure nothing
WRITTEN = Path(__file__).parents[1] / "passes" / "tools" / "confidence.json"


class Score(Counter[str]):
    """Counts of one tool."""


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=[*ARCHITECTURES, *(name + models.INIT for name in ARCHITECTURES)])
    parser.add_argument("--folder", type=Path, help="keep exports there")
    parser.add_argument("--tools", nargs="*", help="only these, by how they begin")
    parser.add_argument("--deep", action="store_true", help="plain networks of many equal blocks too")
    parser.add_argument("--scores", type=Path, help="keep counts there after each model, and go on from those there")
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
        done = recall(options.scores, scores)
        for name in (*options.models, *(tool_networks.MODELS if options.deep else ())):
            if name in done:
                continue
            folder = (options.folder or Path(temporary)) / name
            folder.mkdir(parents=True, exist_ok=True)
            for exporter in kinds:
                one(name, exporter, folder, scores)
            done.append(name)
            if options.scores is not None:
                options.scores.write_text(json.dumps({"models": done, "scores": scores}, indent=1))
    show(scores)
    rules(scores, write=options.write)


def recall(file: Path | None, scores: dict[str, Score]) -> list[str]:
    """Add the counts of earlier runs. Returns the models they are of."""
    if file is None or not file.exists():
        return []
    kept = json.loads(file.read_text())
    for tool, found in scores.items():
        found.update(kept["scores"].get(tool, {}))
    return list(kept["models"])


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
    shares = {}
    print("\n| rule | judged | right | share |")
    print("|---|---:|---:|---:|")
    for rule, number in sorted(judged.items()):
        right = total[f"right {rule}"]
        print(f"| `{rule}` | {number} | {right} | {right / number:.4f} |")
        if number >= FEW and rule in CHOSEN:
            shares[rule] = round((right + 1) / (number + 2), 4)  # Laplace: few nodes make no certainty
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
