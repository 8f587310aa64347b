"""What HierarchyExporter costs on top of plain torch.onnx.export: wall time of the call and peak memory of the process.

    python bench/frontend_overhead.py [--rounds 3] [--layers 12] [--exporters torchscript,dynamo]

A BERT-base with random weights (transformers; else a torch encoder of the same size) is exported by plain torch and by
HierarchyExporter with the same arguments, alternately, each in a process of its own. Prints the median of each and the
ratio ours / plain with its target. On a busy machine the CPU time tells more than the wall time.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

TARGETS = {"torchscript": (0.82, 0.56), "dynamo": (0.97, 1.02)}  # wall time and peak memory, ours / plain
WIDTH, HEADS, INNER, LENGTH, VOCABULARY = 768, 12, 3072, 128, 30522


def build(layers: int) -> tuple[Any, dict[str, Any]]:
    """The model in evaluation mode and its example inputs."""
    import torch

    torch.manual_seed(0)
    ids = torch.randint(0, VOCABULARY, (1, LENGTH))
    try:
        from transformers import BertConfig, BertModel
    except ImportError:
        layer = torch.nn.TransformerEncoderLayer(WIDTH, HEADS, INNER, batch_first=True)
        encoder = torch.nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        return torch.nn.Sequential(torch.nn.Embedding(VOCABULARY, WIDTH), encoder).eval(), {"input": ids}
    config = BertConfig(num_hidden_layers=layers, attn_implementation="eager")
    return BertModel(config).eval(), {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def positional(model: Any, names: list[str]) -> None:
    """Plain TorchScript export takes no keyword arguments: give the instance a forward that takes them in order."""
    original = model.forward
    model.forward = lambda *args: original(**dict(zip(names, args, strict=True)))


def one(exporter: str, ours: bool, layers: int, target: str) -> dict[str, float]:
    """One export in this process."""
    import time
    import warnings

    import torch

    from modelexport.ir.limits import memory_mb

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    model, example = build(layers)
    with torch.no_grad():
        model(**example)
    dynamo = exporter == "dynamo"
    names = list(example)
    # What both need and what is loaded once per process is not the cost of an export.
    import onnx
    import onnxscript

    del onnx, onnxscript
    if ours:
        from modelexport.frontend.export.exporter import HierarchyExporter

        started, cpu = time.perf_counter(), time.process_time()
        HierarchyExporter(exporter=exporter).export(model, example, target)  # type: ignore[arg-type]
    elif dynamo:
        started, cpu = time.perf_counter(), time.process_time()
        torch.onnx.export(model, (), target, kwargs=example, dynamo=True, verbose=False)
    else:
        positional(model, names)
        started, cpu = time.perf_counter(), time.process_time()
        torch.onnx.export(model, tuple(example.values()), target, input_names=names, dynamo=False)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    return {"seconds": seconds, "cpu": cpu, "peak_mb": memory_mb()[1]}


def measured(exporter: str, ours: bool, layers: int) -> dict[str, float]:
    """One export in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(Path(__file__).resolve()), "--one", exporter, "--layers", str(layers)]
        command += ["--target", str(Path(folder) / "model.onnx"), *(["--ours"] if ours else [])]
        # Not from the root of a checkout: its folders would shadow the installed packages.
        run = subprocess.run(
            command, capture_output=True, text=True, cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        if run.returncode:
            raise SystemExit(run.stderr[-2000:])
        found: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
        return found


def main() -> int:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--exporters", default="torchscript,dynamo")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--ours", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--target", default="", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        sys.stdout.write(json.dumps(one(args.one, args.ours, args.layers, args.target)) + "\n")
        return 0
    for exporter in args.exporters.split(","):
        rows: dict[bool, list[dict[str, float]]] = {False: [], True: []}
        for _ in range(args.rounds):
            for ours in (False, True):
                rows[ours].append(measured(exporter, ours, args.layers))
        wall, memory = TARGETS[exporter]
        for key, limit in (("seconds", wall), ("cpu", None), ("peak_mb", memory)):
            plain, tagged = (statistics.median(row[key] for row in rows[ours]) for ours in (False, True))
            ratio = tagged / plain
            verdict = ""
            if limit is not None:
                verdict = f"target {limit:.2f}  {'ok' if ratio <= limit else 'MISSED'}"
            sys.stdout.write(
                f"{exporter:12s} {key:8s} plain {plain:9.2f}  ours {tagged:9.2f}  ratio {ratio:5.3f}  {verdict}\n"
            )
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
