"""Profiles as other tools draw them: speedscope's file format, and trace events for Perfetto.

Sources: speedscope.app/file-format-schema.json; the Trace Event Format document of Chromium.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelexport.analysis.profiling.ort_events import Slice
from modelexport.analysis.profiling.timings import whole

_SCHEMA = "https://www.speedscope.app/file-format-schema.json"


@dataclass(frozen=True, slots=True)
class Leaf:
    """A node in the picture: its label ``Op node``, the frames around it from the root on, and its microseconds."""

    label: str
    frames: tuple[str, ...]
    us: float


def speedscope(leaves: Sequence[Leaf], name: str, exporter: str) -> dict[str, Any]:
    """One sample for each node; the stack is the root, each module on the way, and the node."""
    frames: dict[str, int] = {}

    def frame(label: str) -> int:
        return frames.setdefault(label, len(frames))

    samples = [[*(frame(each) for each in leaf.frames), frame(leaf.label)] for leaf in leaves]
    weights = [whole(leaf.us) for leaf in leaves]
    return {
        "$schema": _SCHEMA,
        "exporter": exporter,
        "name": name,
        "activeProfileIndex": 0,
        "shared": {"frames": [{"name": label} for label in frames]},
        "profiles": [
            {
                "type": "sampled",
                "name": name,
                "unit": "microseconds",
                "startValue": 0,
                "endValue": whole(sum(weights)),
                "samples": samples,
                "weights": weights,
            }
        ],
    }


def chrome_trace(
    slices: Sequence[Slice], leaf_of: Callable[[Slice], Leaf], name: str, details: Mapping[str, Any]
) -> dict[str, Any]:
    """One run: a slice for each module over the nodes that follow one another in it, and a slice for each node."""
    inside: dict[int | None, list[Slice]] = {}
    for each in slices:
        inside.setdefault(None if each.parent is None else id(each.parent), []).append(each)
    events: list[dict[str, Any]] = [
        {"name": "process_name", "ph": "M", "pid": 1, "tid": 1, "args": {"name": name}},
    ]

    def write(level: Sequence[Slice], skip: int) -> None:
        ordered = sorted(level, key=lambda each: each.start)
        leaves = [leaf_of(each) for each in ordered]
        for label, start, end in _spans(ordered, leaves, skip):
            events.append(_event(label, "module", start, end - start))
        for each, leaf in zip(ordered, leaves, strict=True):
            event = _event(leaf.label, "node", each.start, each.duration)
            event["args"] = {"provider": each.provider, "module": leaf.frames[-1] if leaf.frames else ""}
            events.append(event)
            if id(each) in inside:
                write(inside[id(each)], len(leaf.frames))

    write(inside.get(None, []), 0)
    return {"traceEvents": events, "displayTimeUnit": "ms", "otherData": dict(details)}


def _event(label: str, category: str, start: float, duration: float) -> dict[str, Any]:
    return {
        "name": label, "cat": category, "ph": "X", "ts": whole(start), "dur": whole(duration), "pid": 1, "tid": 1,
    }  # fmt: skip


def _spans(slices: Sequence[Slice], leaves: Sequence[Leaf], skip: int) -> Iterator[tuple[str, float, float]]:
    """Modules over nodes that follow one another, the outer ones first."""
    found: list[tuple[str, float, float]] = []
    opened: list[tuple[str, int]] = []  # frame, and where its span is in ``found``
    for each, leaf in zip(slices, leaves, strict=True):
        frames = leaf.frames[skip:]
        shared = 0
        while shared < min(len(frames), len(opened)) and opened[shared][0] == frames[shared]:
            shared += 1
        del opened[shared:]
        for frame in frames[shared:]:
            opened.append((frame, len(found)))
            found.append((frame, each.start, each.start))
        for _, index in opened:
            label, start, end = found[index]
            found[index] = (label, start, max(end, each.start + each.duration))
    yield from found
