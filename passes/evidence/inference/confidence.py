"""How often tags are right: the measured shares that become confidences.

``confidence.json`` is written by ``bench/accuracy/calibrate.py`` from a run of the accuracy benchmark. A rule that
reads a record has one number, the share of its tags that were right. Where a module is inferred from what lies around
a node, the share depends on how much of that is on record: there it is the sum of small decision trees over the
:class:`~modelexport.passes.evidence.inference.situation.Situation`, in log-odds (gradient boosting; Friedman 2001).
"""

from __future__ import annotations

import json
import math
from importlib.resources import files
from typing import Any

from modelexport.ir.errors import ConfigError
from modelexport.passes.evidence.inference.situation import Situation

_FILE = files("modelexport.passes.evidence.inference") / "confidence.json"
_DATA: dict[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))
MEASURED: dict[str, float] = _DATA["rules"]
# Not measured but chosen: rules that fewer than three architectures of the benchmark show in graphs of which most is
# attributed (for sparse and bare graphs there may be a share), and records taken at their word. Rules of schemes are
# counted on files of other exporters (docs/accuracy.md). A rule that the benchmark measures leaves this table.
CHOSEN: dict[str, float] = {
    "bodies": 0.9,
    "call-argument": 0.5,
    "call-arguments": 0.9,
    "call-number": 0.6,
    "caller": 0.9,
    "consumers": 0.55,
    # On 18 architectures 233 of 233 where torch's exporter folded the norm, as it does by default, and 0 of 233 where
    # onnxscript's optimiser did so in a file that still had it; the file doesn't say which.
    "folded-norm": 0.9,
    "initializer-several": 0.5,
    "namespace": 0.6,
    "namespace-scopes": 0.98,
    "nearest-ancestor": 0.3,
    "node-name-table": 1.0,
    "norm-order": 0.2,
    "onnxscript-name-scopes": 0.98,
    "owner": 0.95,
    "own-products": 0.95,  # 4032 of 4032, one model
    "recurrent": 0.01,  # what the module is called can't be known: 0 of 1434 in graphs without names
    "recurrent-scope": 0.3,  # right where an exporter names what it moves, 0 of 132 elsewhere
    "reference-prefix": 0.9,
    "scheme-jax": 0.97,
    "scheme-jax-helper": 0.5,
    "scheme-paddle-order": 0.2,
    "scheme-paddle-weight": 0.96,
    "scheme-tensorflow": 0.98,
    "scheme-tensorflow-helper": 0.5,
    "scheme-tflite": 0.93,
    "table-prefix": 0.95,
    "value-readers": 0.99,
    "weight-merged": 0.8,
    "weight-rows": 0.9,
    "weight-value": 0.975,
    "winml-tag": 0.6,
}
# Measured where weights are all the evidence there is, as the strategy usage_based has it (bench/accuracy/fresh.py
# --strategy usage_based). In the table above they decide what stronger evidence left over.
ALONE: dict[str, float] = {"parameter-name": 0.98}
# Of the rules of fresh exports (frontend/export/attributing.py): the share that bench/accuracy/fresh.py finds right,
# drawn towards 0.98 by as much as ten tags weigh. What a record says that something contradicts is at most 0.5.
EXPORTS: dict[str, float] = {
    "contradicted-scope": 0.5,  # chosen
    "folded-norm": 0.999,  # 354 of 354, seven models with folded norms
    "function-callers": 0.999,  # 387 of 387, nineteen models with functions
    "unconfirmed-scope": 0.5,  # chosen; 6 of 6, and 63 of 488 before neighbours were asked
    "watched-call": 0.999,  # 283 of 283, twelve models with regions
    "weight-holder": 0.998,  # 121 of 121, ten scripted models
}
_SLIGHTEST = 0.01
UNMEASURED = 0.5  # what a naming scheme without a number, such as a third party's, gives
SPARSE, BARE = 0.8, 0.05  # a graph is sparse, or bare, of which a smaller share is attributed


def kind_of_graph(support: float) -> str:
    """The key of ``confidence.json`` for a graph with this share of nodes attributed by stronger evidence."""
    if support < BARE:
        return "bare"
    return "sparse" if support < SPARSE else "rules"


def confidence(rule: str, support: float = 1.0, *, default: float | None = None) -> float:
    """The share of right tags of ``rule``, in a graph of which ``support`` was attributed before.

    ``default`` is that of a rule without a number.

    Raises:
        ConfigError: the rule has no number, and no default was given.
    """
    shares: dict[str, float] = _DATA[kind_of_graph(support)]
    for table in (shares, MEASURED, CHOSEN):
        if rule in table:
            return table[rule]
    if default is not None:
        return default
    raise ConfigError(f"no confidence for rule {rule!r}; pass confidence=, or add the rule to CHOSEN")


def estimate(situation: Situation, model: dict[str, Any] | None = None) -> float:
    """The share of right tags among guesses that rest on the like of ``situation``, to two digits and never certain.

    ``model`` is ``confidence.json``'s part on situations, or another of its kind.
    """
    return min(max(round(1 / (1 + math.exp(-log_odds(situation, model))), 2), _SLIGHTEST), 1 - _SLIGHTEST)


def log_odds(situation: Situation, model: dict[str, Any] | None = None) -> float:
    """The same before it is rounded, as the logarithm of right tags by wrong ones."""
    model = _DATA["situations"] if model is None else model
    odds = 0.0
    values = numbers(situation, model["levels"])
    for tree in model["trees"]:  # a leaf, or [feature, threshold, tree for values up to it, tree for the others]
        while isinstance(tree, list):
            feature, threshold, low, high = tree
            tree = low if values[feature] <= threshold else high
        odds += tree
    return odds


def names(situation: Situation) -> dict[str, str]:
    """What of ``situation`` is told apart by name and not by number."""
    place, other = situation.place, situation.by_place
    return {
        "rule": situation.rule,
        "operator": place.operator,
        "by": situation.by_rule,
        "by operator": other.operator,
        "around": f"{situation.rule} {place.unplaced:d} {place.before} {place.after}",
        "around by": f"{situation.by_rule} {other.unplaced:d} {other.before} {other.after}",
    }


def numbers(situation: Situation, levels: dict[str, dict[str, float]]) -> list[float]:
    """``situation`` as the trees' features: names become levels, the measured log-odds of what bears that name."""
    named = (levels[kind].get(name, 0.0) for kind, name in names(situation).items())
    return [*named, *situation.place[1:], *situation.by_place[1:], *situation[4:]]
