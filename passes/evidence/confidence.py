"""How often tags of each rule are right: the measured shares that become confidences.

The shares are in ``confidence.json``, which ``bench/accuracy/calibrate.py`` writes from a run of the accuracy
benchmark. A rule that infers is right more often in a graph where much is on record already, so it has a second share
(``sparse``) for graphs of which stronger evidence had attributed little, and a third (``bare``) for next to nothing.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

_DATA: dict[str, Any] = json.loads((files(__package__) / "confidence.json").read_text(encoding="utf-8"))
CONFIDENCE: dict[str, float] = _DATA["rules"]
SPARSE, BARE = 0.8, 0.05  # a graph is sparse, or bare, of which a smaller share is attributed


def kind_of_graph(support: float) -> str:
    """The key of ``confidence.json`` for a graph with this share of nodes attributed by stronger evidence."""
    if support < BARE:
        return "bare"
    return "sparse" if support < SPARSE else "rules"


def confidence(rule: str, support: float = 1.0) -> float:
    """The measured share of right tags of ``rule``, in a graph of which ``support`` was attributed before."""
    shares: dict[str, float] = _DATA[kind_of_graph(support)]
    return shares.get(rule, CONFIDENCE[rule])
