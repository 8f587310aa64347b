"""Views prepared for matching, and which of their values are equal."""

from __future__ import annotations

from collections import defaultdict, deque

import numpy as np

from modelexport.ir.arrays import Array
from modelexport.ir.io.trace_file import View
from modelexport.passes.evidence.values.fingerprints import MAGNITUDE, NUMEL, STRANGE, close, is_rich, similarity

_SAME_ORDER = 0.995  # likeness of samples of values that are equal but for rounding
POOR = 0.6  # where less of the target's values are recognised, they are compared roughly as well
_ROUGH, _CLEAR = 0.6, 0.05  # likeness of samples that counts as rough equality, and its lead over any other value


class Side:
    """A view with what matching asks of it."""

    def __init__(self, view: View) -> None:
        self.view = view
        count = len(view)
        in_offsets, out_offsets = view.in_offsets.tolist(), view.out_offsets.tolist()
        in_ids, out_ids = view.in_ids.tolist(), view.out_ids.tolist()
        self.reads = [[v for v in in_ids[in_offsets[e] : in_offsets[e + 1]] if v >= 0] for e in range(count)]
        self.makes = [[v for v in out_ids[out_offsets[e] : out_offsets[e + 1]] if v >= 0] for e in range(count)]
        self.op = [view.ops[i] if i >= 0 else "" for i in view.op.tolist()]
        self.module: list[int] = view.module.tolist()
        self.producer: dict[int, int] = {}
        self.readers: dict[int, list[int]] = defaultdict(list)
        for e in range(count):
            for value in self.makes[e]:
                self.producer.setdefault(value, e)
            for value in dict.fromkeys(self.reads[e]):
                self.readers[value].append(e)
        self.before = [sorted({self.producer[v] for v in self.reads[e] if v in self.producer}) for e in range(count)]
        self.after = [sorted({r for v in self.makes[e] for r in self.readers.get(v, ())}) for e in range(count)]
        self.classes: list[int] = [-1] * len(view.stats)
        self.orders: list[int] = [-1] * len(view.stats)
        self.shapes = [view.shape(v) for v in range(len(view.stats))]

    def name(self, value: int) -> str:
        return self.view.names[value] if self.view.names else ""

    def node(self, event: int) -> str:
        return self.view.nodes[event] if self.view.nodes else ""

    def carries(self, event: int) -> bool:
        """Whether an event only hands on a value it reads, perhaps in another order of elements."""
        value = self.main(event)
        return value >= 0 and any(self.classes[v] == self.classes[value] for v in self.reads[event])

    def main(self, event: int) -> int:
        """The first value an event makes whose class is known, else -1."""
        return next((v for v in self.makes[event] if self.classes[v] >= 0), -1)


def classify(target: Side, source: Side, rtol: float) -> dict[int, bool]:
    """Give equal values of both sides one class (any order of elements) and one order class; rich ones are True."""
    rows: list[tuple[float, float, float, Side, int]] = []
    for side in (target, source):
        stats = side.view.stats
        known = ~np.isnan(stats[:, 0]) if len(stats) else np.zeros(0, bool)
        for value in np.flatnonzero(known).tolist():
            row = stats[value]
            rows.append((float(row[NUMEL]), float(row[STRANGE]), float(row[MAGNITUDE]), side, value))
    rows.sort(key=lambda row: row[:3])
    rich: dict[int, bool] = {}
    window: deque[tuple[Array, int, list[tuple[Array, int]]]] = deque(maxlen=256)
    number = order_number = 0
    for _, _, _, side, value in rows:
        stats, samples = side.view.stats[value], side.view.samples[value]
        while window and not _near(window[0][0], stats, rtol):
            window.popleft()
        home = next((entry for entry in reversed(window) if close(entry[0], stats, rtol)), None)
        if home is None:
            home = (stats, number, [])
            window.append(home)
            rich[number] = is_rich(stats)
            number += 1
        side.classes[value] = home[1]
        for known_samples, order in home[2]:
            if similarity(known_samples, samples) >= _SAME_ORDER:
                side.orders[value] = order
                break
        else:
            home[2].append((samples, order_number))
            side.orders[value] = order_number
            order_number += 1
    return rich


def coverage(target: Side, source: Side, rich: dict[int, bool]) -> float:
    """Share of the target's rich values that the source has too."""
    there = set(source.classes)
    wanted = [cls for cls in target.classes if rich.get(cls)]
    return sum(cls in there for cls in wanted) / max(1, len(wanted))


def classify_roughly(target: Side, source: Side, rich: dict[int, bool]) -> None:
    """Give rich values that the source does not have the class of its most alike value.

    Quantised graphs compute roughly the same. Changes the classes of ``target``.
    """
    there = set(source.classes)
    by_size: dict[float, list[int]] = defaultdict(list)
    for value, cls in enumerate(source.classes):
        if rich.get(cls):
            by_size[source.view.stats[value][NUMEL]].append(value)
    for value, cls in enumerate(target.classes):
        members = by_size.get(target.view.stats[value][NUMEL], []) if rich.get(cls) and cls not in there else []
        if not members:
            continue
        samples = target.view.samples[value].astype(np.float64)
        others = source.view.samples[members].astype(np.float64)
        scale = np.maximum(np.linalg.norm(others, axis=1), np.linalg.norm(samples))
        alike = 1.0 - np.linalg.norm(others - samples, axis=1) / np.where(scale > 0, scale, 1.0)
        best = int(alike.argmax())
        same = np.array([source.classes[m] == source.classes[members[best]] for m in members])
        if alike[best] >= _ROUGH and alike[best] - alike[~same].max(initial=-1.0) >= _CLEAR:
            target.classes[value] = source.classes[members[best]]
            target.orders[value] = source.orders[members[best]]


def _near(left: Array, right: Array, rtol: float) -> bool:
    if left[NUMEL] != right[NUMEL] or left[STRANGE] != right[STRANGE]:
        return False
    return bool(
        abs(left[MAGNITUDE] - right[MAGNITUDE]) <= rtol * max(abs(left[MAGNITUDE]), abs(right[MAGNITUDE])) + 1e-12
    )
