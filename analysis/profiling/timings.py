"""What a node took: the same for every profiler."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from modelexport.analysis.profiling.ort_events import Run


@dataclass(slots=True)
class Timing:
    """One node of the graph that ran.

    Attributes:
        name: as the profile has it.
        us: microseconds in a run: the median over runs of what its executions add up to.
    """

    name: str
    op_type: str
    provider: str
    us: float


def timings(runs: Sequence[Run]) -> list[Timing]:
    """Every node that ran, in the order of first execution. A node that a run lacks took 0 there."""
    sums: dict[str, dict[int, float]] = {}
    first: dict[str, tuple[str, str]] = {}
    for number, run in enumerate(runs):
        for each in sorted(run.slices, key=lambda each: each.start):
            held = sums.setdefault(each.name, {})
            held[number] = held.get(number, 0.0) + each.own
            first.setdefault(each.name, (each.op_type, each.provider))
    return [
        Timing(name, *first[name], statistics.median([held.get(number, 0.0) for number in range(len(runs))]))
        for name, held in sums.items()
    ]


def whole(number: float) -> float:
    """The number as an int where it is one."""
    return int(number) if number == int(number) else round(number, 3)
