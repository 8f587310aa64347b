"""Turn a run of the benchmark into the confidences that the passes give.

    python bench/accuracy/run.py --cache FOLDER --json rows.jsonl
    python bench/accuracy/calibrate.py rows.jsonl [--check]

Each rule gets the share of its tags that were right, drawn towards the share of all tags of its source by as much as
ten tags weigh; one that fewer than three architectures have shown keeps the number it had. Inferring rules get a second
share for graphs of which little is known, and a third where next to nothing is. Guesses by what lies around a node get
trees that were fitted to their situations, and log-odds scaled to how often guesses are right on architectures that
were left out of the fit. It prints the calibration error on such architectures, a few at a time, as a whole, by
situation, and by architecture. ``--trees`` fits another number of trees than the file holds; ``--check`` writes
nothing.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import boosting
from tables import error, weights

TARGET = Path(__file__).resolve().parents[2] / "passes" / "evidence" / "inference" / "confidence.json"
WEIGHT = 10.0
FOLDS = 10
FEW = 3  # architectures; what fewer have shown is chance
INFERRED = ("inherited", "fallback")
KINDS = ("rules", "sparse", "bare")
Row = list[Any]  # situation, case, rule, source, confidence, exact, hsim, basis of a guess, as run.py writes them
Given = tuple[list[float], list[bool], list[str]]
Shares = dict[str, Any]  # what confidence.json holds


def kinds(rows: Iterable[Row]) -> dict[tuple[str, str], str]:
    """Which kind of graph each case was in each situation."""
    from modelexport.passes.evidence.inference.confidence import kind_of_graph

    counts: dict[tuple[str, str], list[int]] = collections.defaultdict(lambda: [0, 0])
    for row in rows:
        held = counts[row[0], row[1]]
        held[0] += row[3] not in INFERRED
        held[1] += 1
    return {key: kind_of_graph(known / total) for key, (known, total) in counts.items()}


def architecture(row: Row) -> str:
    """The model of a row, however its weights were made."""
    model: str = row[1].partition(".")[0]
    return model.partition("@")[0]


def measure(rows: list[Row], old: Shares) -> Shares:
    """Shares by kind of graph and rule, and the trees for guesses."""
    from modelexport.passes.evidence.inference.confidence import CHOSEN

    graph = kinds(rows)
    tallies: dict[tuple[str, str], list[float]] = collections.defaultdict(lambda: [0.0, 0.0])
    sources: dict[str, list[float]] = collections.defaultdict(lambda: [0.0, 0.0])
    rule_source: dict[str, str] = {}
    bearers: dict[str, set[str]] = collections.defaultdict(set)
    for row in rows:
        kind = graph[row[0], row[1]] if row[3] in INFERRED else "rules"
        rule_source[row[2]] = row[3]
        bearers[row[2]].add(architecture(row))
        for held in (tallies[kind, row[2]], sources[row[3]]):
            held[0] += bool(row[5])
            held[1] += 1
    found: Shares = {"rules": dict(old["rules"]), "sparse": {}, "bare": {}}
    for (kind, rule), (right, total) in sorted(tallies.items()):
        if len(bearers[rule]) < FEW and (rule in old["rules"] or rule in CHOSEN):
            continue
        good, seen = sources[rule_source[rule]]
        found[kind][rule] = round(min((right + WEIGHT * good / seen) / (total + WEIGHT), 0.9999), 4)
    for rule in rule_source:  # a rule that was only seen in sparse graphs keeps the number it had for the others
        found["rules"].setdefault(rule, max(found[kind].get(rule, 0.0) for kind in KINDS))
    guesses = [(architecture(row), boosting.situation(row[7]), bool(row[5])) for row in rows if row[7]]
    found["situations"] = boosting.fit(guesses) if guesses else old["situations"]
    return found


def odds(rows: list[Row], shares: Shares) -> Given:
    """The log-odds that ``shares`` give each guess, whether it is right, and its architecture."""
    from modelexport.passes.evidence.inference.confidence import log_odds

    known: dict[str, float] = {}
    given: list[float] = []
    for row in rows:
        if row[7]:
            key = repr(row[7])
            if key not in known:
                known[key] = log_odds(boosting.situation(row[7]), shares["situations"])
            given.append(known[key])
    return given, [bool(row[5]) for row in rows if row[7]], [architecture(row) for row in rows if row[7]]


def confidences(rows: list[Row], shares: Shares) -> list[tuple[float, bool]]:
    """The confidence that ``shares`` give each tag, and whether the tag is right."""
    from modelexport.passes.evidence.inference.confidence import estimate

    graph = kinds(rows)
    given = []
    known: dict[str, float] = {}
    for row in rows:
        if row[7]:
            key = repr(row[7])
            if key not in known:
                known[key] = estimate(boosting.situation(row[7]), shares["situations"])
            given.append((known[key], bool(row[5])))
            continue
        kind = graph[row[0], row[1]] if row[3] in INFERRED else "rules"
        given.append((shares[kind].get(row[2], shares["rules"].get(row[2], 0.5)), bool(row[5])))
    return given


def _slope(given: list[Given]) -> tuple[float, float]:
    """Slope and shift that fit the guesses of several folds best; none where there are no guesses."""
    numbers, rights, models = (list(itertools.chain.from_iterable(each)) for each in zip(*given, strict=True))
    return boosting.platt(numbers, rights, models) if numbers else (1.0, 0.0)


def write(shares: Shares) -> None:
    """One line for each rule, kind of names and tree, so that a change can be read."""
    parts = ['{\n "made by": "bench/accuracy/calibrate.py"']
    for kind in KINDS:
        lines = [f"  {json.dumps(rule)}: {share}" for rule, share in sorted(shares[kind].items())]
        parts.append(f' "{kind}": ' + "{\n" + ",\n".join(lines) + "\n }")
    model = shares["situations"]
    levels = [f"   {json.dumps(kind)}: {json.dumps(held)}" for kind, held in model["levels"].items()]
    trees = [f"   {json.dumps(tree)}" for tree in model["trees"]]
    parts.append(' "situations": {\n  "levels": {\n' + ",\n".join(levels) + "\n  },")
    TARGET.write_text(",\n".join(parts) + '\n  "trees": [\n' + ",\n".join(trees) + "\n  ]\n }\n}\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=Path)
    parser.add_argument("--trees", type=int, default=boosting.TREES)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    boosting.TREES = args.trees
    rows: list[Row] = [json.loads(line) for line in args.rows.open()]
    old: dict[str, Any] = json.loads(TARGET.read_text())
    models = sorted({architecture(row) for row in rows})
    tags: dict[str, list[tuple[float, bool]]] = collections.defaultdict(list)
    stripped: dict[str, list[tuple[float, bool]]] = collections.defaultdict(list)
    folds = [set(models[fold::FOLDS]) for fold in range(FOLDS)]
    inside = [measure([row for row in rows if architecture(row) not in outside], old) for outside in folds]
    given = [odds([row for row in rows if architecture(row) in outside], shares)
             for outside, shares in zip(folds, inside, strict=True)]  # fmt: skip
    for number, (outside, shares) in enumerate(zip(folds, inside, strict=True)):
        # what the other folds say of how sure a guess for an architecture may be that was not in the fit
        shares["situations"] = boosting.scaled(shares["situations"], *_slope(given[:number] + given[number + 1 :]))
        left_out = [row for row in rows if architecture(row) in outside]
        for row, tag in zip(left_out, confidences(left_out, shares), strict=True):
            for name in ("all", row[0], row[0] + (weights(row[1]) or ", shifted")):
                tags[name].append(tag)
            if "stripped" in row[0] and not row[0].startswith("trace"):
                tags["all that are stripped"].append(tag)
                stripped[architecture(row)].append(tag)
    print(f"error on architectures that were left out, {FOLDS} folds of {len(models)}:")
    for name, held in sorted(tags.items()):
        print(f"  {name}: {error(held):.4f} of {len(held)}")
    print("the same by architecture, stripped graphs:")
    for name, held in sorted(stripped.items(), key=lambda item: -error(item[1])):
        print(f"  {name}: {error(held):.4f} of {len(held)}")
    shares = measure(rows, old)
    slope, shift = _slope(given)
    shares["situations"] = boosting.scaled(shares["situations"], slope, shift)
    print(f"log-odds of guesses are multiplied by {slope:.2f}, with {shift:+.2f} added")
    print(f"error on all {len(rows)} tags: {error(confidences(rows, shares)):.4f}")
    if not args.check:
        write(shares)
    return 0


if __name__ == "__main__":
    sys.exit(main())
