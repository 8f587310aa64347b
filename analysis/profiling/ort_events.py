"""What an onnxruntime profile says: runs, and in each the nodes with their own time.

The event of a node with a body spans the events of the body, so its own time is what is left. Runs are the
``model_run`` events; events outside of any are of a run that was cut short.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelexport.ir.errors import InputError
from modelexport.ir.text import shown
from modelexport.passes.running.events import kernel_name, read_events

WITH_BODIES = frozenset(
    ("If", "Loop", "Scan", "SequenceMap", "BeamSearch", "GreedySearch", "Sampling", "WhisperBeamSearch")
)
_RUN = "model_run"
_MOST_EVENTS = 1_000_000  # that onnxruntime keeps


@dataclass(slots=True)
class Slice:
    """One execution of a node.

    Attributes:
        name, op_type, provider: of the node, as the profile has them.
        start, duration: in microseconds, from the start of the profile.
        own: duration without what ran in the node's bodies.
        parent: the execution around it, where it is in a body.
    """

    name: str
    op_type: str
    provider: str
    start: float
    duration: float
    own: float = 0.0
    parent: Slice | None = None


@dataclass(slots=True)
class Run:
    """One run of the model; ``duration`` is None where the profile has no event of it."""

    slices: list[Slice] = field(default_factory=list)
    duration: float | None = None


@dataclass(slots=True)
class Recording:
    """The runs that count, and what a reader should know."""

    runs: list[Run]
    warnings: list[str] = field(default_factory=list)


def read_recording(path: Path, warmup: int = 1) -> Recording:
    """Read a profile.

    Args:
        warmup: runs at the start that don't count; the last run always does if it is the only one.

    Raises:
        InputError: the file can't be read, or has no event of a node or a run.
    """
    return recording(read_events(path), warmup, shown(str(path)))


def recording(events: Iterable[dict[str, Any]], warmup: int = 1, label: str = "profile") -> Recording:
    """As ``read_recording``, of events that are in memory."""
    spans: list[tuple[float, float]] = []
    threads: dict[str, list[Slice]] = {}
    slices: list[Slice] = []
    names: dict[str, str] = {}
    count = 0
    for event in events:
        count += 1
        name = kernel_name(event)
        if name is None and event.get("name") != _RUN:
            continue
        start, duration = _time(event, "ts", label), _time(event, "dur", label)
        if name is None:
            spans.append((start, duration))
            continue
        args = event.get("args")
        details = args if isinstance(args, dict) else {}
        op_type = str(details.get("op_name") or "")
        provider = str(details.get("provider") or "")
        each = Slice(
            names.setdefault(name, name),
            names.setdefault(op_type, op_type),
            names.setdefault(provider, provider),
            start,
            duration,
            duration,
        )
        slices.append(each)
        threads.setdefault(str(event.get("tid")), []).append(each)
    if not slices and not spans:
        raise InputError(f"{label}: has no event of a node: not a profile of onnxruntime")
    for thread in threads.values():
        _nest(thread)
    found = _select(spans, slices, warmup)
    if not spans and count >= _MOST_EVENTS:
        found.warnings.append(
            "the profile ends inside the first run (onnxruntime keeps a million events): what ran after is missing"
        )
    return found


def _time(event: Mapping[str, Any], key: str, label: str) -> float:
    """Microseconds; 0 where the event has no such time."""
    value = event.get(key)
    if value is None:
        return 0.0
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise InputError(f"{label}: event {shown(str(event.get('name')))!r}: {key} is no time")
    return float(value)


def _nest(slices: Sequence[Slice]) -> None:
    """Take the time of bodies away from the nodes that own them."""
    if not any(each.op_type in WITH_BODIES for each in slices):
        return
    stack: list[Slice] = []
    for each in sorted(slices, key=lambda each: (each.start, -each.duration, each.op_type not in WITH_BODIES)):
        while stack and not each.start + each.duration <= stack[-1].start + stack[-1].duration:
            stack.pop()
        if stack:
            each.parent = stack[-1]
            each.parent.own = max(0.0, each.parent.own - each.duration)
        if each.op_type in WITH_BODIES:
            stack.append(each)


def _select(spans: list[tuple[float, float]], slices: list[Slice], warmup: int) -> Recording:
    found = Recording([])
    if not spans:
        found.runs = [Run(slices)]
        return found
    spans.sort()
    starts = [start for start, _ in spans]
    runs = [Run([], duration) for _, duration in spans]
    rest = Run()
    for each in slices:
        index = bisect_right(starts, each.start) - 1
        inside = index >= 0 and each.start <= spans[index][0] + spans[index][1]
        (runs[index] if inside else rest).slices.append(each)
    if rest.slices:
        last = spans[-1][0] + spans[-1][1]
        if not any(run.slices for run in runs):  # no usable times: all of it is one run
            found.runs = [Run(slices, runs[0].duration if len(runs) == 1 else None)]
            return found
        if max(each.start for each in rest.slices) >= last:
            found.warnings.append(
                "the profile ends inside a run, which is left out (onnxruntime keeps a million events)"
            )
        else:
            found.warnings.append(f"{len(rest.slices)} events are outside of every run and are left out")
    counted = runs[min(warmup, len(runs) - 1) :]
    if len(runs) > 1 and _is_incomplete(runs):
        found.warnings.append("the last run in the profile is incomplete and is left out")
        counted = runs[min(warmup, len(runs) - 2) : -1]
    found.runs = [run for run in counted if run.slices] or counted
    if not slices:
        found.warnings.append("no node was left to run: everything in the model is constant")
    return found


def _is_incomplete(runs: Sequence[Run]) -> bool:
    """Whether the last run lacks a node that ran outside of bodies in every run before it."""
    always: set[str] | None = None
    for run in runs[:-1]:
        names = {each.name for each in run.slices if each.parent is None}
        always = names if always is None else always & names
    return bool(always and always - {each.name for each in runs[-1].slices})
