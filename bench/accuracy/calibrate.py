"""Turn a run of the benchmark into the confidences that the passes give.

    python bench/accuracy/run.py --cache FOLDER --json rows.jsonl
    python bench/accuracy/calibrate.py rows.jsonl [--check]

Each rule gets the share of its tags that were right, drawn towards the share of all tags of its source by as much as
ten tags weigh: a rule that was hardly seen keeps a cautious number. Inferring rules get a second share for graphs of
which little is known, and a third where next to nothing is. It prints the calibration error on models that were left
out of the measurement, a few at a time. ``--check`` writes nothing.
"""

from __future__ import annotations

import argparse
import collections
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

TARGET = Path(__file__).resolve().parents[2] / "passes" / "evidence" / "confidence.json"
WEIGHT = 10.0
FOLDS = 13
INFERRED = ("inherited", "fallback")
KINDS = ("rules", "sparse", "bare")
Row = list[Any]  # situation, case, rule, source, confidence, exact, hsim, as run.py writes them


def kinds(rows: Iterable[Row]) -> dict[tuple[str, str], str]:
    """Which kind of graph each case was in each situation."""
    from modelexport.passes.evidence.confidence import kind_of_graph

    counts: dict[tuple[str, str], list[int]] = collections.defaultdict(lambda: [0, 0])
    for row in rows:
        held = counts[row[0], row[1]]
        held[0] += row[3] not in INFERRED
        held[1] += 1
    return {key: kind_of_graph(known / total) for key, (known, total) in counts.items()}


def measure(rows: list[Row], old: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Shares by kind of graph and rule."""
    graph = kinds(rows)
    tallies: dict[tuple[str, str], list[float]] = collections.defaultdict(lambda: [0.0, 0.0])
    sources: dict[str, list[float]] = collections.defaultdict(lambda: [0.0, 0.0])
    rule_source: dict[str, str] = {}
    for row in rows:
        kind = graph[row[0], row[1]] if row[3] in INFERRED else "rules"
        rule_source[row[2]] = row[3]
        for held in (tallies[kind, row[2]], sources[row[3]]):
            held[0] += bool(row[5])
            held[1] += 1
    found: dict[str, dict[str, float]] = {"rules": dict(old["rules"]), "sparse": {}, "bare": {}}
    for (kind, rule), (right, total) in sorted(tallies.items()):
        good, seen = sources[rule_source[rule]]
        found[kind][rule] = round(min((right + WEIGHT * good / seen) / (total + WEIGHT), 0.9999), 4)
    for rule in rule_source:  # a rule that was only seen in sparse graphs keeps the number it had for the others
        found["rules"].setdefault(rule, max(found[kind].get(rule, 0.0) for kind in KINDS))
    return found


def confidences(rows: list[Row], shares: dict[str, dict[str, float]]) -> list[tuple[float, bool]]:
    """The confidence that ``shares`` give each tag, and whether the tag is right."""
    graph = kinds(rows)
    given = []
    for row in rows:
        kind = graph[row[0], row[1]] if row[3] in INFERRED else "rules"
        given.append((shares[kind].get(row[2], shares["rules"].get(row[2], 0.5)), bool(row[5])))
    return given


def error(given: list[tuple[float, bool]]) -> float:
    """Expected calibration error, in ten bins."""
    bins: dict[int, float] = collections.defaultdict(float)
    for share, right in given:
        bins[min(9, int(share * 10))] += share - right
    return sum(map(abs, bins.values())) / max(1, len(given))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=Path)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    rows: list[Row] = [json.loads(line) for line in args.rows.open()]
    old: dict[str, Any] = json.loads(TARGET.read_text())
    models = sorted({row[1].partition(".")[0] for row in rows})
    given: list[tuple[float, bool]] = []
    for fold in range(FOLDS):
        outside = set(models[fold::FOLDS])
        seen = [row for row in rows if row[1].partition(".")[0] not in outside]
        given += confidences([row for row in rows if row[1].partition(".")[0] in outside], measure(seen, old))
    print(f"error on models that were left out, {FOLDS} folds: {error(given):.4f}")
    shares = measure(rows, old)
    print(f"error on all {len(rows)} tags: {error(confidences(rows, shares)):.4f}")
    if not args.check:
        TARGET.write_text(json.dumps({"made by": "bench/accuracy/calibrate.py", **shares}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
