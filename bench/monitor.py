"""What the export monitor costs: its share of an export's wall time, gathering the data and writing the files included.

    python bench/monitor.py [--rounds 3] [--layers 12] [--exporter torchscript]

A transformer encoder with random weights is exported in a process of its own: without a monitor, with a report and no
console, and with a report and a console in colour. The time spent in the monitor is measured by a clock around
everything that an export does for its monitors, which is exact where the difference of two exports is noise; that
difference is printed beside it. The share counts a first use in the process, so imports (Rich, for the console) are in.
Ends with status 0 also where the target is missed: a benchmark is no test.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

TARGET = 0.02
KINDS = {"none": "no monitor", "quiet": "report", "verbose": "report and console"}
WIDTH, HEADS, INNER, LENGTH, VOCABULARY = 768, 12, 3072, 128, 30522
FEEDING = ("__init__", "done", "failed", "finish", "prepared", "generated", "found", "traced", "tagged")


def build(layers: int) -> tuple[Any, dict[str, Any]]:
    """The model in evaluation mode and its example inputs."""
    import torch

    torch.manual_seed(0)
    blocks = [torch.nn.TransformerEncoderLayer(WIDTH, HEADS, INNER, batch_first=True) for _ in range(layers)]
    model = torch.nn.Sequential(torch.nn.Embedding(VOCABULARY, WIDTH), *blocks).eval()
    return model, {"input": torch.randint(0, VOCABULARY, (1, LENGTH))}


class Stopwatch:
    """Time spent in the methods it is put around; a call inside a call counts once."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._inside = False

    def around(self, owner: type, name: str) -> None:
        method = getattr(owner, name)

        @functools.wraps(method)
        def timed(*args: Any, **kwargs: Any) -> Any:
            if self._inside:
                return method(*args, **kwargs)
            self._inside = True
            began = time.perf_counter()
            try:
                return method(*args, **kwargs)
            finally:
                self.seconds += time.perf_counter() - began
                self._inside = False

        setattr(owner, name, timed)


def one(kind: str, layers: int, exporter: Any, folder: str) -> dict[str, float]:
    """One export in this process: its seconds, and those spent on the monitor."""
    import warnings

    import torch

    from modelexport import HierarchyExporter
    from modelexport.frontend.export.steps import Steps

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    # What torch imports and compiles at its first export is no part of this one.
    HierarchyExporter(exporter=exporter).export(torch.nn.Linear(2, 2), torch.ones(1, 2), Path(folder, "first.onnx"))
    watch = Stopwatch()
    for name in FEEDING:
        watch.around(Steps, name)
    model, example = build(layers)
    ours = HierarchyExporter(exporter=exporter, report=kind != "none", verbose=kind == "verbose")
    began = time.perf_counter()
    ours.export(model, tuple(example.values()), Path(folder, "model.onnx"))
    return {"seconds": time.perf_counter() - began, "monitor": watch.seconds}


def measure(kind: str, layers: int, exporter: str) -> dict[str, float]:
    """One export in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--one", kind, "--layers", str(layers), "--exporter", exporter]
        run = subprocess.run(
            [*command, "--folder", folder],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "FORCE_COLOR": "1", "COLUMNS": "120"},
            check=True,
        )
    loaded: dict[str, float] = json.loads(run.stdout)
    return loaded


def main() -> int:
    """Measure, print a table, and compare with the target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--layers", default="12")
    parser.add_argument("--exporter", default="torchscript", choices=("torchscript", "dynamo"))
    parser.add_argument("--one", choices=KINDS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", default=".", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        json.dump(one(options.one, int(options.layers), options.exporter, options.folder), sys.stdout)
        return 0
    missed = False
    print(f"{'layers':>6}  {'':<20}{'export':>10}{'monitor':>11}{'share':>9}{'difference':>13}")
    for layers in map(int, options.layers.split(",")):
        rounds = [{kind: measure(kind, layers, options.exporter) for kind in KINDS} for _ in range(options.rounds)]
        floor = statistics.median(each["none"]["seconds"] for each in rounds)
        for kind, title in KINDS.items():
            total = statistics.median(each[kind]["seconds"] for each in rounds)
            spent = statistics.median(each[kind]["monitor"] for each in rounds)
            share = spent / (total - spent)
            missed |= share > TARGET
            times = f"{total:>8.2f} s{spent * 1000:>8.1f} ms"
            print(f"{layers:>6}  {title:<20}{times}{share:>9.2%}{total / floor - 1:>+13.1%}")
    print(f"target: a share of at most {TARGET:.0%}: {'missed' if missed else 'met'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
