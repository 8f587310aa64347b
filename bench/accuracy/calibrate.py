"""Turn a run of the benchmark into the confidences that the passes give.

    python bench/accuracy/run.py --cache FOLDER --json rows.jsonl
    python bench/accuracy/calibrate.py rows.jsonl [--check]

Each rule gets the share of its tags that were right, every model counting alike, drawn towards the share of all tags
of its source by as much as ten tags weigh: a rule that was hardly seen keeps a cautious number. Inferring rules get a
share for graphs of which much, some and little is known. ``--check`` writes nothing and prints the calibration error
on models that were left out of the measurement, each half of the models once.
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
INFERRED = ("inherited", "fallback")
KINDS = ("rules", "mixed", "sparse")
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
    found: dict[str, dict[str, float]] = {"rules": dict(old["rules"]), "mixed": {}, "sparse": {}}
    for (kind, rule), (right, total) in sorted(tallies.items()):
        good, seen = sources[rule_source[rule]]
        found[kind][rule] = round(min((right + WEIGHT * good / seen) / (total + WEIGHT), 0.9999), 4)
    for rule in rule_source:  # a rule only seen in thin graphs has no business to be trusted more in full ones
        seen_in = [found[kind][rule] for kind in KINDS if (kind, rule) in tallies]
        if ("rules", rule) not in tallies:
            found["rules"][rule] = max(seen_in)
    return found


def error(rows: list[Row], shares: dict[str, dict[str, float]]) -> float:
    """Expected calibration error of ``shares`` over ``rows``, in ten bins."""
    graph = kinds(rows)
    bins: dict[int, float] = collections.defaultdict(float)
    for row in rows:
        kind = graph[row[0], row[1]] if row[3] in INFERRED else "rules"
        given = shares[kind].get(row[2], shares["rules"].get(row[2], 0.5))
        bins[min(9, int(given * 10))] += given - bool(row[5])
    return sum(map(abs, bins.values())) / max(1, len(rows))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=Path)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    rows: list[Row] = [json.loads(line) for line in args.rows.open()]
    old: dict[str, Any] = json.loads(TARGET.read_text())
    models = sorted({row[1].partition(".")[0] for row in rows})
    for half in (0, 1):
        inside = set(models[half::2])
        seen = [row for row in rows if row[1].partition(".")[0] in inside]
        unseen = [row for row in rows if row[1].partition(".")[0] not in inside]
        print(f"error on {len(models) - len(inside)} models left out: {error(unseen, measure(seen, old)):.4f}")
    shares = measure(rows, old)
    print(f"error on all {len(rows)} tags: {error(rows, shares):.4f}")
    if not args.check:
        TARGET.write_text(json.dumps({"made by": "bench/accuracy/calibrate.py", **shares}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
