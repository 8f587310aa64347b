"""Fitting the confidence of guesses to the situations they were made in: boosted trees of a few leaves each."""

from __future__ import annotations

import collections
import math
from collections.abc import Sequence
from typing import Any

import lightgbm
import numpy as np

from modelexport.passes.evidence.inference.confidence import names, numbers
from modelexport.passes.evidence.inference.situation import Place, Situation

Guess = tuple[str, Situation, bool]  # architecture, situation, whether the tag was right
Model = dict[str, Any]
SETTINGS = {
    "objective": "binary",
    "num_leaves": 12,
    "learning_rate": 0.2,
    "min_data_in_leaf": 200,
    "lambda_l2": 100.0,
    "num_threads": 2,
    "deterministic": True,
    "seed": 1,
    "verbosity": -1,
}
TREES = 300
_STEPS = 25  # of Newton's method, which needs about 6


def situation(fields: Sequence[Any]) -> Situation:
    """A situation as JSON keeps it."""
    rule, place, by_rule, by_place, *rest = fields
    return Situation(rule, Place(*place), by_rule, Place(*by_place), *rest)


def fit(guesses: Sequence[Guess]) -> Model:
    """Levels of names and trees, as ``confidence.json`` keeps them."""
    counts: dict[Situation, list[int]] = collections.defaultdict(lambda: [0, 0])
    for _, where, right in guesses:
        counts[where][right] += 1
    levels = _levels(guesses)
    wheres = list(counts)
    features = np.array([numbers(where, levels) for where in wheres for _ in (0, 1)])
    rights = np.array([right for _ in wheres for right in (0, 1)])
    weights = np.array([counts[where][right] for where in wheres for right in (0, 1)], dtype=float)
    held = weights > 0
    data = lightgbm.Dataset(features[held], rights[held], weight=weights[held])
    booster = lightgbm.train(SETTINGS, data, TREES)
    trees = [_tree(tree["tree_structure"]) for tree in booster.dump_model()["tree_info"]]
    return {"levels": levels, "trees": trees}  # LightGBM's starting score is in the first tree


def scaled(model: Model, slope: float, shift: float) -> Model:
    """``model`` with the log-odds that it gives multiplied by ``slope``, and ``shift`` added."""
    first, *rest = (_scaled(tree, slope, 0.0) for tree in model["trees"])
    return {"levels": model["levels"], "trees": [_scaled(first, 1.0, shift), *rest]}


def _scaled(tree: Any, slope: float, shift: float) -> Any:
    if not isinstance(tree, list):
        return round(slope * tree + shift, 4)
    return [*tree[:2], _scaled(tree[2], slope, shift), _scaled(tree[3], slope, shift)]


def platt(odds: Sequence[float], rights: Sequence[bool], groups: Sequence[str]) -> tuple[float, float]:
    """Slope and shift of the log-odds that make these likeliest (Platt 1999), by Newton's method.

    Each group, an architecture, weighs the same: what is unseen is another architecture and not another node.
    """
    x, y = np.asarray(odds), np.asarray(rights, dtype=float)
    sizes = collections.Counter(groups)
    weight = np.array([len(groups) / len(sizes) / sizes[group] for group in groups])
    found = np.array([1.0, 0.0])
    design = np.stack([x, np.ones_like(x)], 1)

    def loss(at: np.ndarray) -> float:
        scores = design @ at
        return float((weight * (np.logaddexp(0, scores) - y * scores)).sum())

    for _ in range(_STEPS):
        share = 1 / (1 + np.exp(-np.clip(design @ found, -500, 500)))
        gradient = design.T @ (weight * (y - share))
        hessian = (design * (weight * share * (1 - share))[:, None]).T @ design + 1e-6 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        while loss(found + step) > loss(found) and np.abs(step).max() > 1e-9:  # a whole step may lead away
            step = step / 2
        found = found + step
    return float(found[0]), float(found[1])


def _levels(guesses: Sequence[Guess]) -> dict[str, dict[str, float]]:
    """Log-odds of tags by each name they bear, drawn to those of all by as much as a model's worth of tags."""
    rate = sum(right for _, _, right in guesses) / len(guesses)
    tallies: dict[str, dict[str, list[int]]] = collections.defaultdict(lambda: collections.defaultdict(lambda: [0, 0]))
    bearers: dict[tuple[str, str], set[str]] = collections.defaultdict(set)
    for architecture, where, right in guesses:
        for kind, name in names(where).items():
            held = tallies[kind][name]
            held[0] += right
            held[1] += 1
            bearers[kind, name].add(architecture)
    levels: dict[str, dict[str, float]] = {}
    for kind, found in tallies.items():
        levels[kind] = {}
        for name, (good, seen) in sorted(found.items()):
            prior = seen / len(bearers[kind, name]) + 10
            share = (good + prior * rate) / (seen + prior)
            levels[kind][name] = round(math.log(share / (1 - share)) - math.log(rate / (1 - rate)), 2)
    return levels


def _tree(node: dict[str, Any]) -> Any:
    if "leaf_value" in node:
        return round(node["leaf_value"], 4)
    threshold = round(node["threshold"], 3)
    return [node["split_feature"], threshold, _tree(node["left_child"]), _tree(node["right_child"])]
