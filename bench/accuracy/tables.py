"""The benchmark's result as Markdown: by situation, and by exporter and what happened to the graph.

python bench/accuracy/tables.py rows.jsonl
"""

from __future__ import annotations

import collections
import json
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import version

# situation, case, rule, source, confidence, exact, hsim, what a guess rests on
Row = tuple[str, str, str, str, float, bool, float, tuple[object, ...] | None]
EXPORTERS = {"ts": "TorchScript", "dr": "torch.export", "do": "torch.export optimised"}
CHANGES = {
    "": "none",
    "ortb": "ORT basic",
    "orte": "ORT extended",
    "orta": "ORT all",
    "slim": "onnxslim",
    "oso": "onnxscript",
    "vc": "converter",
}
CONVERSIONS = {"half": "fp16", "qdq": "int8 QDQ", "int8": "int8 dynamic"}
GRAPHS = {
    "no model": ("foreign untouched", "foreign optimised"),
    "own table": ("own untouched", "own optimised"),
    "reference": ("reference",),
    "trace": ("trace untouched", "trace optimised"),
    "stripped, no model": ("stripped",),
    "stripped, trace": ("trace stripped",),
}
TOOLS = ("torch", "transformers", "onnx", "onnxruntime", "onnxslim", "onnxscript")
INITIAL, PRUNED = ", as initialised", ", pruned"


def weights(case: str) -> str:
    """What a situation's name says of the weights of a case: nothing where they are shifted."""
    return PRUNED if "@pruned" in case else INITIAL if "@" in case else ""


def table(rows: Iterable[Row]) -> Iterator[str]:
    """What was run, and three tables: situations, changes, conversions."""
    held = list(rows)
    models = sorted({row[1].partition(".")[0].partition("@")[0] for row in held})
    versions = ", ".join(f"{name} {version(name)}" for name in TOOLS)
    yield f"{len(held):,} tags over {len(models)} architectures ({', '.join(models)})."
    yield f"Calibration error of all: {calibration_error(held):.4f}. {versions}.\n"
    yield from situations(held)
    yield ""
    yield from changes(held)
    conversions = [row for row in held if row[1].partition("+")[2] in CONVERSIONS]
    if conversions:
        yield ""
        yield from converted(conversions)


def situations(rows: Iterable[Row]) -> Iterator[str]:
    """Exact, hsim, calibration error and sources of every situation."""
    yield "| situation | nodes | exact % | hsim % | ECE | by source (right / all) |"
    yield "|---|---:|---:|---:|---:|---|"
    groups: dict[str, list[Row]] = collections.defaultdict(list)
    for row in rows:
        groups[row[0] + weights(row[1])].append(row)
    for name, held in sorted(groups.items()):
        sources: dict[str, list[bool]] = collections.defaultdict(list)
        for row in held:
            sources[row[3]].append(row[5])
        by = ", ".join(f"{source} {sum(good)}/{len(good)}" for source, good in sorted(sources.items()))
        near = 100 * sum(row[6] for row in held) / len(held)
        yield f"| {name} | {len(held)} | {exact(held)} | {near:.2f} | {calibration_error(held):.3f} | {by} |"


def changes(rows: Iterable[Row]) -> Iterator[str]:
    """Exact share by exporter and optimiser."""
    groups = _by_change(rows)
    yield f"| exact % | exporter | {' | '.join(CHANGES.values())} |"
    yield "|---|---|" + "---:|" * len(CHANGES)
    for initial in ("", INITIAL):
        for name, parts in GRAPHS.items():
            for key, exporter in EXPORTERS.items():
                held = [[row for part in parts for row in groups[part + initial, key, change]] for change in CHANGES]
                if any(held):
                    yield f"| {name}{initial} | {exporter} | {' | '.join(map(exact, held))} |"


def converted(rows: Iterable[Row]) -> Iterator[str]:
    """Exact share by exporter and conversion, of our own exports."""
    groups = _by_change(rows)
    yield f"| exact % | exporter | {' | '.join(CONVERSIONS.values())} |"
    yield "|---|---|" + "---:|" * len(CONVERSIONS)
    for name, part in (("own table", "own"), ("stripped, no model", "stripped"), ("stripped, trace", "trace")):
        for key, exporter in EXPORTERS.items():
            held = [groups[f"{part} {change}", key, change] for change in CONVERSIONS]
            if any(held):
                yield f"| {name} | {exporter} | {' | '.join(map(exact, held))} |"


def _by_change(rows: Iterable[Row]) -> dict[tuple[str, str, str], list[Row]]:
    """Rows by situation, exporter and change."""
    groups: dict[tuple[str, str, str], list[Row]] = collections.defaultdict(list)
    for row in rows:
        model, _, graph = row[1].partition(".")
        export, _, change = graph.removeprefix("own-").partition("+")
        groups[row[0] + weights(model), export, change].append(row)
    return groups


def exact(rows: list[Row]) -> str:
    """The share of right tags in percent; nothing of nothing."""
    return f"{100 * sum(row[5] for row in rows) / len(rows):.2f}" if rows else ""


def calibration_error(rows: Iterable[Row]) -> float:
    """:func:`error` of the rows' own confidences."""
    return error((row[4], row[5]) for row in rows)


def error(given: Iterable[tuple[float, bool]]) -> float:
    """Mean distance between confidence and share of right tags, over ten bins of confidence."""
    bins: dict[int, float] = collections.defaultdict(float)
    count = 0
    for share, right in given:
        bins[min(9, int(share * 10))] += share - right
        count += 1
    return sum(map(abs, bins.values())) / max(1, count)


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as lines:
        print("\n".join(table(tuple(json.loads(line)) for line in lines)))
