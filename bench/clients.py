"""What tagging adds to exports that somebody else starts: time and peak memory, against plain torch in the same run.

    python bench/clients.py            # time: paired rounds, plain and tagged in turn, one process
    python bench/clients.py --memory   # peak memory: a model of 1.6 GB of weights, a process for each

The share is the sum of what the tagged exports took over the sum of the plain ones.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn


def convolutions() -> tuple[nn.Module, torch.Tensor]:
    """54 MB of weights in 160 nodes."""
    stages: list[nn.Module] = []
    channels = 3
    for index in range(40):
        width = 64 * (1 + index // 8)
        stages += [
            nn.Conv2d(channels, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 1),
        ]
        channels = width
    return nn.Sequential(*stages), torch.zeros(1, 3, 16, 16)


def blocks() -> tuple[nn.Module, torch.Tensor]:
    """101 MB of weights in many small operators."""
    one = nn.TransformerEncoderLayer(512, 8, batch_first=True)
    return nn.TransformerEncoder(one, 8, enable_nested_tensor=False), torch.zeros(1, 32, 512)


def wide() -> tuple[nn.Module, torch.Tensor]:
    """1.6 GB of weights in few nodes."""
    return nn.Sequential(*(nn.Linear(10_240, 10_240, bias=False) for _ in range(4))), torch.zeros(1, 10_240)


MODELS: dict[str, Callable[[], tuple[nn.Module, torch.Tensor]]] = {
    "convolutions": convolutions,
    "blocks": blocks,
    "wide": wide,
}


def export(name: str, kind: str, tagged: bool, folder: Path) -> float:
    """Seconds of one export."""
    from modelexport import tagging

    model, x = MODELS[name]()
    gc.collect()
    with tagging(strict=True) if tagged else contextlib.nullcontext():
        began = time.perf_counter()
        torch.onnx.export(model.eval(), (x,), str(folder / "model.onnx"), dynamo=kind == "dynamo", verbose=False)
        return time.perf_counter() - began


def measure_time(rounds: int, folder: Path) -> None:
    print(f"{'model':14}{'exporter':13}{'plain s':>9}{'tagged s':>10}{'share':>8}  pairs")
    for name in ("convolutions", "blocks"):
        for kind in ("torchscript", "dynamo"):
            for tagged in (False, True):  # imports and caches
                export(name, kind, tagged, folder)
            pairs = []
            for index in range(rounds):
                order = (False, True) if index % 2 else (True, False)
                seconds = {tagged: export(name, kind, tagged, folder) for tagged in order}
                pairs.append((seconds[False], seconds[True]))
            plain, tagged_seconds = (statistics.median(pair[side] for pair in pairs) for side in (0, 1))
            share = sum(pair[1] for pair in pairs) / sum(pair[0] for pair in pairs)
            shown = " ".join(f"{after / before:.2f}" for before, after in pairs)
            print(f"{name:14}{kind:13}{plain:9.2f}{tagged_seconds:10.2f}{share:8.2f}  {shown}")


def measure_memory() -> None:
    print(f"{'model':14}{'exporter':13}{'plain MB':>9}{'tagged MB':>10}{'share':>8}")
    for kind in ("torchscript", "dynamo"):
        peaks = []
        for side in ("plain", "tagged"):
            done = subprocess.run(
                [sys.executable, __file__, "--one", "wide", kind, side], capture_output=True, text=True, check=True
            )
            peaks.append(int(done.stdout.split()[-1]))
        print(f"{'wide':14}{kind:13}{peaks[0]:9}{peaks[1]:10}{peaks[1] / peaks[0]:8.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--one", nargs=3, metavar=("MODEL", "EXPORTER", "SIDE"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as name:
        if given.one:
            export(given.one[0], given.one[1], given.one[2] == "tagged", Path(name))
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
        elif given.memory:
            measure_memory()
        else:
            measure_time(given.rounds, Path(name))


if __name__ == "__main__":
    main()
