"""What is known about where a node comes from, and how it is known."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Source(StrEnum):
    """How an attribution was obtained, from the strongest evidence to the weakest."""

    SCOPE = "scope"  # recorded by the exporter on this node, or by our own earlier tag
    REFERENCE = "reference"  # carried from another tagged graph by node or value name
    VALUE = "value"  # its computed value equals a traced value
    PARAMETER = "parameter"  # its weights belong to the module
    INHERITED = "inherited"  # decided by its neighbours
    FALLBACK = "fallback"  # nothing decided it

    __hash__ = str.__hash__  # Enum's own is a function in Python, ten times slower: sources are counted by the node


@dataclass(frozen=True, slots=True)
class Attribution:
    """The module a node is from. Share one instance between nodes that have the same one: writers cache by it.

    Attributes:
        path: dotted path of the innermost module as ``named_modules()`` spells it; ``""`` is the root.
        source: the kind of evidence.
        rule: short id of the rule inside that kind, e.g. ``node-name``.
        confidence: 0..1, the measured share of such tags that are right.
        evidence: names of the values, nodes or parameters that decided it; may be empty.
        by: name of the pass that set it.
    """

    path: str
    source: Source
    rule: str
    confidence: float
    evidence: tuple[str, ...] = ()
    by: str = ""

    def __post_init__(self) -> None:
        if not 0.0 <= self.confidence <= 1.0:
            raise ValueError(f"confidence {self.confidence} is outside 0..1")
