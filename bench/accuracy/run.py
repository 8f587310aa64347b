"""How often does every situation give the right module? Builds cases, runs pipelines, prints tables.

    python bench/accuracy/run.py --cache FOLDER [--models bert,t5] [--situations trace] [--jobs 2] [--json FILE]

exact: share of nodes whose path is the true one. hsim: (1 + common prefix) / (1 + longer depth), averaged. ECE:
expected calibration error, the mean distance between confidence and share of right tags over ten bins.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

from tables import Row, table

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
sys.path.insert(0, str(Path(__file__).resolve().parent))

INFER = "context-inheritance,fallback-tagging"
ALL = f"scope-attribution,value-attribution,parameter-attribution,{INFER}"
NAMES = f"scope-attribution,parameter-attribution,{INFER}"


def situations(folder: Path) -> Iterator[tuple[str, Path, str, dict[str, Path], bool]]:
    """(situation, graph, pipeline, files, whether names are stripped) of every case in ``folder``."""
    import cases

    trace = {"trace": folder / "model.htptrace"}
    for file in sorted(folder.glob("*.onnx")):
        kind, _, change = file.stem.partition("+")
        own = kind.startswith("own-")
        what = "optimised" if change else "untouched"
        if own and not change:
            yield "own untouched", file, f"scope-attribution,{INFER}", {}, False
        elif kind in cases.OLD:
            yield "old opsets", file, f"scope-attribution,{INFER}", {}, False
            yield "old opsets, stripped", file, NAMES, {}, True
        elif own and change in cases.CONVERSIONS:
            yield f"own {change}", file, f"scope-attribution,{INFER}", {}, False
            yield f"stripped {change}", file, NAMES, {}, True
            if trace["trace"].exists():
                yield f"trace {change}", file, ALL, trace, True
        elif own:
            yield "own optimised", file, f"scope-attribution,{INFER}", {}, False
        else:
            yield f"foreign {what}", file, f"scope-attribution,{INFER}", {}, False
            yield "stripped", file, NAMES, {}, True
            if trace["trace"].exists():
                yield f"trace {what}", file, ALL, trace, False
                yield "trace stripped", file, ALL, trace, True
            if change:
                base = {"reference": folder / f"{kind}.onnx"}
                yield "reference", file, f"reference-attribution,scope-attribution,{INFER}", base, False


def one_model(model: str, cache: Path, wanted: tuple[str, ...]) -> tuple[str, list[Row], dict[str, str], float]:
    """Build and score every case of a model: (model, rows, failures, seconds)."""
    import cases

    start = time.monotonic()
    failed = cases.build(model, cache / model)
    rows: list[Row] = []
    for name, file, pipeline, files, stripped in situations(cache / model):
        if wanted and not any(name.startswith(part) for part in wanted):
            continue
        try:
            rows += score(name, file, pipeline, files, stripped)
        except Exception as error:  # noqa: BLE001 - a crash is a finding of the benchmark, not its end
            failed[f"{name}: {file.stem}"] = f"{type(error).__name__}: {error}"[:200]
    return model, rows, failed, time.monotonic() - start


def score(name: str, file: Path, pipeline: str, files: dict[str, Path], stripped: bool) -> Iterator[Row]:
    """One row for every node whose module is known."""
    import onnx
    import variants

    from modelexport.ir.io.reader import from_proto
    from modelexport.passes import PassManager, Pipeline
    from modelexport.passes.evidence.inference.calibration import CalibrationContext

    truth: dict[str, str] = json.loads(file.with_suffix(".json").read_text())
    proto = onnx.load(file)
    folds = folded_in(file.with_name("do.onnx")) if file.stem.startswith("do") else {}
    for output, (recorded, owner) in folds.items():
        if truth.get(output) == recorded:  # folders made before have the module that torch records
            truth[output] = owner
    before = variants.strip(proto) if stripped else {}
    model = from_proto(proto, path=file)
    context = CalibrationContext(**files)
    PassManager(Pipeline.parse(pipeline), verify_each=False, context=context).run(model)
    rests = context.situations
    case = f"{file.parent.name}.{file.stem}"
    for node in model.nodes():
        output = before.get(node.first_output, node.first_output)
        found = node.attribution
        if output in truth and found is not None:
            right = truth[output]
            yield (
                name,
                case,
                found.rule,
                str(found.source),
                found.confidence,
                found.path == right,
                similarity(found.path, right),
                rests.get(node) if found.by == "context-inheritance" else None,
            )


@cache
def folded_in(export: Path) -> dict[str, tuple[str, str]]:
    import onnx
    from truth import folded

    return folded(onnx.load(export))


def similarity(a: str, b: str) -> float:
    left, right = a.split(".") if a else [], b.split(".") if b else []
    common = 0
    while common < min(len(left), len(right)) and left[common] == right[common]:
        common += 1
    return (1 + common) / (1 + max(len(left), len(right)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True, help="folder for the cases; what is there is used again")
    parser.add_argument("--models", default="", help="comma-separated; all when left out")
    parser.add_argument("--situations", default="", help="comma-separated beginnings of names; all when left out")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write one line per tag, for calibrate.py")
    args = parser.parse_args()
    import models

    names = args.models.split(",") if args.models else models.names()
    wanted = tuple(part for part in args.situations.split(",") if part)
    rows: list[Row] = []
    start = time.monotonic()
    with ProcessPoolExecutor(args.jobs) as pool:
        jobs: list[Any] = [pool.submit(one_model, name, args.cache, wanted) for name in names]
        for job in jobs:
            model, found, failed, seconds = job.result()
            rows += found
            print(f"{model}: {len(found)} tags, {seconds:.0f} s", file=sys.stderr)
            for what, message in failed.items():
                print(f"  {what}: {message}", file=sys.stderr)
    print("\n".join(table(rows)))
    print(f"{len(names)} models, {time.monotonic() - start:.0f} s", file=sys.stderr)
    if args.json:
        with args.json.open("w") as out:
            out.writelines(json.dumps(row) + "\n" for row in rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
