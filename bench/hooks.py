"""Are plain TorchScript exports of models with hooks tagged right with a trace? Random models, untouched and optimised.

    python bench/hooks.py [--seeds 24]

Half of the modules of each model have forward hooks or pre-hooks that compute something; torch names it after whoever
called last. The truth is the export by HierarchyExporter, node by node; of optimised graphs the nodes count whose first
output has the name of one from before, and no other node's name. Prints for each kind of graph the nodes, how many are
right, and how many are wrong with a confidence of 0.9 or more, which makes the exit code 1.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "frontend"))
OPSET, SURE = 17, 0.9


def graphs(model: Any, example: Any, folder: Path) -> dict[str, Path]:
    """The plain export, and what onnxruntime and onnxslim make of it."""
    import onnx
    import onnxruntime
    import onnxslim
    import torch

    found = {kind: folder / f"{kind}.onnx" for kind in ("untouched", "ORT basic", "ORT extended", "onnxslim")}
    plain = str(found["untouched"])
    torch.onnx.export(model, example, plain, dynamo=False, opset_version=OPSET)
    levels = onnxruntime.GraphOptimizationLevel
    for kind, level in (("ORT basic", levels.ORT_ENABLE_BASIC), ("ORT extended", levels.ORT_ENABLE_EXTENDED)):
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath, options.graph_optimization_level = str(found[kind]), level
        options.log_severity_level = 3
        onnxruntime.InferenceSession(plain, options)
    onnx.save(onnxslim.slim(plain), found["onnxslim"])
    return found


def paths(model: Any, example: Any, folder: Path) -> list[str]:
    """The module of every node, in file order."""
    import onnx

    from modelexport import HierarchyExporter

    HierarchyExporter(exporter="torchscript").export(model, example, folder / "own.onnx", opset_version=OPSET)
    nodes = onnx.load(folder / "own.onnx").graph.node
    return [next(entry.value for entry in node.metadata_props if entry.key == "htp.path") for node in nodes]


def measure(seed: int, totals: dict[str, Counter[str]]) -> None:
    """Add the counts of one model."""
    import onnx
    import torch
    from test_variants_of_hooks import WIDTH, hooked

    from modelexport.frontend.trace.value_trace import write_trace
    from modelexport.ir import load_model
    from modelexport.passes import PassManager
    from modelexport.passes.pipeline.base import PassContext

    model, example = hooked(seed), (torch.randn(4, WIDTH),)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = graphs(model, example, folder)
        pairs = list(zip(onnx.load(files["untouched"]).graph.node, paths(model, example, folder), strict=True))
        by_output, by_name = (
            {key(node): path for node, path in pairs} for key in (lambda n: n.output[0], lambda n: n.name)
        )
        trace = write_trace(model, example, folder / "m.htptrace")
        for kind, file in files.items():
            graph = load_model(file)
            PassManager("htp-trace", context=PassContext(trace=trace)).run(graph)
            for node in graph.nodes():
                wanted, held = by_output.get(node.first_output), node.attribution
                if wanted is None or by_name.get(node.name, wanted) != wanted or held is None:
                    continue
                right = held.path == wanted
                totals.setdefault(kind, Counter()).update(
                    nodes=1, right=int(right), sure=int(not right and held.confidence >= SURE)
                )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=24, help="how many models")
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    totals: dict[str, Counter[str]] = {}
    for seed in range(args.seeds):
        measure(seed, totals)
    print("| graph | nodes | right | % | wrong at 0.9 or more |\n|---|---:|---:|---:|---:|")
    for kind, found in totals.items():
        share = 100 * found["right"] / found["nodes"]
        print(f"| {kind} | {found['nodes']} | {found['right']} | {share:.2f} | {found['sure']} |")
    return int(any(found["sure"] for found in totals.values()))


if __name__ == "__main__":
    sys.exit(main())
