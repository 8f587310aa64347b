"""Are the tags of fresh exports exact? Every model with both exporters and several opsets, checked by value.

    python bench/accuracy/fresh.py [--models bert,unet] [--settings torchscript-14,dynamo-17] [--strategy usage_based]
        [--json FILE]

More settings, on request: opsets 9 to 13, with plain attention, since the exporter has no other below 14; and three
kinds of export. Two are for models whose records can't be believed: torchscript-scripted exports the
model as torch.jit.script makes it, where that can be done, and dynamo-regions with the forwards of its inner modules
under no_grad or autocast, in turn. torchscript-functions makes functions of the classes of which a model has several;
there only calls of functions and nodes in functions count, as tests/frontend/function_truth.py decides them.

The truth is another run of the model: eager, watched by module calls and both of torch's modes, which gives the module
of every float value; onnxruntime gives the value of every node. A node whose value exactly one module made is decided,
and exact when that is its module. Not decided: shapes, constants, what two modules made alike or passed on,
steps into which ONNX divides an operator. A convolution with a folded batch norm is right where its weight is.
A tag of a module that the run did not call is wrong, whatever its node computes.

What is wrong with a confidence of 0.9 or more is printed, and makes the exit code 1; the last table says how often the
tags of each rule are right, which is what rules with a fixed confidence are worth.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "tests" / "frontend")]

SETTINGS: dict[str, dict[str, Any]] = {
    "torchscript-14": {"dynamo": False, "opset_version": 14},
    "torchscript-17": {"dynamo": False, "opset_version": 17},
    "dynamo": {"dynamo": True},
    "dynamo-18": {"dynamo": True, "opset_version": 18},
    "dynamo-17": {"dynamo": True, "opset_version": 17},
}

ON_REQUEST: dict[str, dict[str, Any]] = {
    "torchscript-scripted": {"dynamo": False, "opset_version": 17},
    "dynamo-regions": {"dynamo": True},
    "torchscript-functions": {"dynamo": False, "opset_version": 17},
    **{f"torchscript-{opset}": {"dynamo": False, "opset_version": opset} for opset in range(9, 14)},
}
SURE = 0.9


@contextmanager
def in_regions(model: Any) -> Iterator[None]:
    """Every module with parts runs under no_grad or under autocast that is off, in turn."""
    import torch

    changed = [
        module
        for name, module in model.named_modules()
        if name and any(True for _ in module.children()) and type(module).forward is not torch.nn.Module.forward
    ]
    for number, module in enumerate(changed):

        def forward(*args: Any, own: Any = module.forward, number: int = number, **kwargs: Any) -> Any:
            with torch.autocast("cpu", enabled=False) if number % 2 else torch.no_grad():
                return own(*args, **kwargs)

        module.forward = forward
    try:
        yield
    finally:
        for module in changed:
            del module.forward


def export(model: Any, example: Any, target: Path, setting: str, strategy: str) -> dict[str, Any]:
    """The result of one export."""
    import torch
    from function_truth import repeated_classes

    from modelexport import HierarchyExporter
    from modelexport.frontend.unified.usage_based import UsageBasedExporter

    options = dict({**SETTINGS, **ON_REQUEST}[setting])
    if setting == "torchscript-functions":
        options["export_modules_as_functions"] = repeated_classes(model)
    exporter = (UsageBasedExporter if strategy == "usage_based" else HierarchyExporter)(sidecar=False)
    if setting == "torchscript-scripted":
        model = torch.jit.script(model)
    with in_regions(model) if setting == "dynamo-regions" else nullcontext():
        return exporter.export(model, example, target, **options)


def plain_attention(model: Any) -> None:
    """Let a transformer compute attention with products and a softmax."""
    for module in model.modules():
        config = getattr(module, "config", None)
        if hasattr(config, "_attn_implementation"):
            config._attn_implementation = "eager"


def check(name: str, setting: str, folder: Path, strategy: str = "htp") -> dict[str, Any]:
    """One export, and how many of its nodes are decided and exact."""
    import architectures
    import function_truth
    import ground_truth
    import models

    from modelexport.ir.errors import ModelExportError

    model, example = (architectures if name in architectures.BUILDERS else models).get(name)
    if setting == "torchscript-scripted" and isinstance(example, Mapping):
        example = tuple(example.values())  # scripts take positions
    if {**SETTINGS, **ON_REQUEST}[setting].get("opset_version", 14) < 14:
        plain_attention(model)
    target = folder / f"{name}-{setting}.onnx"
    row: dict[str, Any] = {"model": name, "setting": setting}
    started = time.perf_counter()
    try:
        result = export(model, example, target, setting, strategy)
    except (ModelExportError, NotImplementedError, RuntimeError) as error:  # what torch.jit.script can't read
        return {**row, "error": str(error)[:200]}
    row |= {
        "seconds": time.perf_counter() - started,
        "opset": result["opset_version"],
        "by_source": result["by_source"],
    }
    truth = function_truth if setting == "torchscript-functions" else ground_truth
    try:
        found = truth.compared(model, example, target)
    except Exception as error:  # noqa: BLE001 - a graph that torch made and onnxruntime does not run
        target.unlink()
        return {**row, "error": f"does not run: {error}"[:200]}
    row |= {"nodes": found.nodes, "decided": found.decided, "exact": found.exact, "wrong": found.wrong}
    row["rules"] = {rule: [counts.right, counts.decided, counts.confidence] for rule, counts in found.rules.items()}
    row["sure"] = [wrong for wrong in found.wrong if wrong.confidence >= SURE]
    target.unlink()
    return row


def table(rows: list[dict[str, Any]]) -> list[str]:
    """One line per setting and one per model, as Markdown."""
    lines = ["| exporter, opset asked for | models | nodes | decided % | exact % of decided | by source |"]
    lines.append("|---|---:|---:|---:|---:|---|")
    good = [row for row in rows if "error" not in row]
    for setting in (*SETTINGS, *ON_REQUEST):
        held = [row for row in good if row["setting"] == setting]
        if held:
            sources: Counter[str] = Counter()
            for row in held:
                sources.update(row["by_source"])
            by = ", ".join(f"{source} {count}" for source, count in sources.most_common())
            lines.append(f"| {setting} | {len(held)} | {_shares(held)} | {by} |")
    lines += ["", "| model | settings | nodes | decided % | exact % of decided |", "|---|---:|---:|---:|---:|"]
    for name in dict.fromkeys(row["model"] for row in good):
        held = [row for row in good if row["model"] == name]
        lines.append(f"| {name} | {len(held)} | {_shares(held)} |")
    lines += ["", "| rule | right | decided | right % | confidence, mean |", "|---|---:|---:|---:|---:|"]
    rules: dict[str, list[float]] = {}
    for row in good:
        for rule, counts in row["rules"].items():
            rules[rule] = [a + b for a, b in zip(rules.get(rule, [0, 0, 0]), counts, strict=True)]
    for rule, (right, decided, confidence) in sorted(rules.items(), key=lambda item: -item[1][1]):
        share, mean = (100 * right / decided, confidence / decided) if decided else (0.0, 0.0)
        lines.append(f"| {rule} | {right:.0f} | {decided:.0f} | {share:.2f} | {mean:.3f} |")
    failed = [row for row in rows if "error" in row]
    lines += ["", *(f"- {row['model']}, {row['setting']}: {row['error']}" for row in failed)]
    return lines


def _shares(rows: list[dict[str, Any]]) -> str:
    nodes, decided, exact = (sum(row[key] for row in rows) for key in ("nodes", "decided", "exact"))
    return f"{nodes} | {100 * decided / max(1, nodes):.1f} | {100 * exact / max(1, decided):.2f}"


def main() -> int:
    named = ", ".join([*SETTINGS, *ON_REQUEST])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="", help="comma-separated; all when left out")
    parser.add_argument(
        "--settings",
        default="",
        help=f"of {named}; the first {len(SETTINGS)} when left out",
    )
    parser.add_argument("--strategy", choices=("htp", "usage_based"), default="htp")
    parser.add_argument("--json", type=Path, help="write one line per export")
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    import architectures
    import models
    import torch

    torch.set_num_threads(1)
    names = args.models.split(",") if args.models else [*architectures.BUILDERS, *models.MODELS]
    settings = args.settings.split(",") if args.settings else list(SETTINGS)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            for setting in settings:
                row = check(name, setting, Path(folder), args.strategy)
                rows.append(row)
                told = row.get("error") or f"{row['exact']} of {row['decided']} decided of {row['nodes']} nodes"
                print(f"{name} {setting}: {told}", file=sys.stderr, flush=True)
                for wrong in row.get("wrong", ()):
                    sure = "  SURE" if wrong in row["sure"] else "      "
                    print(f"{sure} {wrong}", file=sys.stderr)
                if args.json:
                    with args.json.open("a") as out:
                        out.write(json.dumps(row, default=str) + "\n")
    print("\n".join(table(rows)))
    return int(any(row.get("sure") for row in rows))


if __name__ == "__main__":
    sys.exit(main())
