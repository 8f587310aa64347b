"""Matching a graph with a recorded run: which event of the run is each node?

Two views are compared. Values that agree fall into one class; a node's candidates are the events that make a value of
its class. Where there are several (views of one tensor, equal masks, shapes), the neighbours decide: an event whose
inputs and readers are already matched with the node's own inputs and readers wins, as does one whose operator goes
with the node's, learned from the pairs matched so far. The clearest cases are settled first and make their neighbours
clearer.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from modelexport.ir.io.trace_file import View
from modelexport.passes.evidence.fingerprints import MAGNITUDE, NUMEL, STRANGE, close, is_rich, similarity

Array = npt.NDArray[Any]
MANY = 48  # a class with more events than this names no candidates; its members are found through neighbours
MARGINS = (2.0, 1.0, 0.5, 0.2, 0.02)
_SAME_ORDER = 0.995
_CARRIERS = 4  # so many events that only carry a value may be left out between two nodes
_POOR = 0.6  # where less of the target's values are recognised, they are compared roughly as well
_ROUGH, _CLEAR = 0.6, 0.05  # likeness of samples that counts as rough equality, and its lead over any other value
_FAR = 0.8  # what a neighbour beyond such events counts


@dataclass(frozen=True, slots=True)
class Found:
    """The event a node was matched with.

    Attributes:
        event: number of the event in the source view.
        lead: by how much its score beats the best candidate of another module; infinite where there is none.
        rich: whether the value alone identifies it.
        same_op: whether the operators are the same.
        named: whether node or value names are the same.
        alike: whether the neighbourhood agrees as well.
    """

    event: int
    lead: float
    rich: bool
    same_op: bool
    named: bool
    alike: bool


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


class Matcher:
    """Matches ``target`` with ``source``; ``found[event of target]`` is the result."""

    def __init__(self, target: View, source: View, rtol: float) -> None:
        self.t, self.s = Side(target), Side(source)
        self.rich = classify(self.t, self.s, rtol)
        self.twin = source.kind != "eager"
        if _coverage(self.t, self.s, self.rich) < _POOR:
            classify_roughly(self.t, self.s, self.rich)
        self.found: dict[int, Found] = {}
        self.used: Counter[int] = Counter()
        self.pairs: Counter[tuple[str, str]] = Counter()
        self.ops: Counter[str] = Counter()
        self.by_class: dict[int, list[int]] = defaultdict(list)
        for e in range(len(source)):
            for cls in {self.s.classes[v] for v in self.s.makes[e]} - {-1}:
                self.by_class[cls].append(e)
        self.carried = [self.s.carries(e) for e in range(len(source))]
        self.far_after = [self._through(e, self.s.after) for e in range(len(source))]
        self.far_before = [self._through(e, self.s.before) for e in range(len(source))]
        self.by_name: dict[str, list[int]] = defaultdict(list)
        if self.twin:
            for e in range(len(source)):
                for name in {self.s.node(e), *(self.s.name(v) for v in self.s.makes[e])} - {""}:
                    self.by_name[name].append(e)

    def _through(self, event: int, steps: list[list[int]]) -> set[int]:
        """Neighbours of an event and, through events that only carry a value and may be left out, theirs."""
        found: set[int] = set()
        queue = deque((near, 0) for near in steps[event])
        while queue and len(found) < MANY:
            near, depth = queue.popleft()
            if near not in found:
                found.add(near)
                if self.carried[near] and depth < _CARRIERS:
                    queue.extend((more, depth + 1) for more in steps[near])
        return found

    def run(self) -> dict[int, Found]:
        """Match all that can be matched."""
        order = range(len(self.t.view))
        for margin in MARGINS:
            self._settle(order, margin)
        for t in order:  # what is still open is a toss-up: decide one, then all that follows from it
            found = None if t in self.found else self._decide(t, -1.0)
            if found is not None:
                self._accept(t, found)
                self._settle((*self.t.before[t], *self.t.after[t]), MARGINS[-1])
        return self.found

    def _settle(self, start: Iterable[int], margin: float) -> None:
        """Match every node of ``start`` whose best event leads by ``margin``, and what becomes clear by that."""
        queue = deque(start)
        waiting = set(queue)
        budget = 4 * len(self.t.view)
        while queue and budget:
            budget -= 1
            t = queue.popleft()
            waiting.discard(t)
            if t in self.found:
                continue
            found = self._decide(t, margin)
            if found is None:
                continue
            self._accept(t, found)
            for near in (*self.t.before[t], *self.t.after[t]):
                if near not in waiting and near not in self.found:
                    waiting.add(near)
                    queue.append(near)

    def _accept(self, t: int, found: Found) -> None:
        self.found[t] = found
        self.used[found.event] += 1
        self.pairs[self.t.op[t], self.s.op[found.event]] += 1
        self.ops[self.t.op[t]] += 1

    def _decide(self, t: int, margin: float) -> Found | None:
        candidates = self._candidates(t)
        if not candidates:
            return None
        scored = sorted(((self._score(t, e), -e) for e in candidates), reverse=True)
        (best, alike), minus = scored[0]
        event = -minus
        second = scored[1][0][0] if len(scored) > 1 else float("-inf")
        value = self.t.main(t)
        rich = value >= 0 and self.rich[self.t.classes[value]]
        if best - second < margin or best < (0.0 if rich else 1.5):
            return None
        if not rich and not alike and margin > 0.1:
            return None
        module = self.s.module[event]
        other = next((score for (score, _), m in scored if self.s.module[-m] != module), float("-inf"))
        return Found(event, best - other, rich, self.t.op[t] == self.s.op[event], self._named(t, event), bool(alike))

    def _candidates(self, t: int) -> Iterable[int]:
        value = self.t.main(t)
        cls = self.t.classes[value] if value >= 0 else -1
        members = self.by_class.get(cls, ()) if cls >= 0 else ()
        if members and len(members) <= MANY:
            return members
        near: set[int] = set()
        for name in {self.t.node(t), *(self.t.name(v) for v in self.t.makes[t])} - {""}:
            near.update(self.by_name.get(name, ())[:MANY])
        for p in self.t.before[t]:
            if p in self.found:
                near.update(self.far_after[self.found[p].event])
        for c in self.t.after[t]:
            if c in self.found:
                near.update(self.far_before[self.found[c].event])
        return [e for e in near if self._possible(t, e, cls)]

    def _possible(self, t: int, e: int, cls: int) -> bool:
        value = self.s.main(e)
        if cls >= 0 and value >= 0:
            return any(self.s.classes[v] == cls for v in self.s.makes[e])
        return self.twin and self.t.op[t] == self.s.op[e] and len(self.t.makes[t]) == len(self.s.makes[e])

    def _named(self, t: int, e: int) -> bool:
        if not self.twin:
            return False
        node = self.t.node(t)
        if node and node == self.s.node(e):
            return True
        names = {self.t.name(v) for v in self.t.makes[t]} - {""}
        return any(self.s.name(v) in names for v in self.s.makes[e])

    def _score(self, t: int, e: int) -> tuple[float, float]:
        """(score, the part of it that matched neighbours give)."""
        target, source, found = self.t, self.s, self.found
        score = 1.0 if target.op[t] == source.op[e] else 0.0
        seen = self.ops[target.op[t]]
        if seen:
            score += 2.0 * self.pairs[target.op[t], source.op[e]] / (seen + 1.0)
        if self._named(t, e):
            score += 3.0
        a, b = target.main(t), source.main(e)
        if a >= 0 and b >= 0:
            cls = target.classes[a]
            b = next((v for v in source.makes[e] if source.classes[v] == cls), b)
            score += 1.0 if target.orders[a] == source.orders[b] else 0.0
            score += 0.5 if target.shapes[a] == source.shapes[b] else 0.0
            if not self.twin and target.carries(t) == self.carried[e]:
                score += 1.0
        alike = 0.0
        reads = target.reads[t]
        if reads:
            values = {source.classes[v] for v in source.reads[e]} - {-1}
            makers, far_makers = set(source.before[e]), self.far_before[e]
            share = 1.0 / len(reads)
            for value in reads:
                if target.classes[value] in values:
                    score += share
                maker = target.producer.get(value)
                hit = found.get(maker) if maker is not None else None
                if hit is None:
                    continue
                if hit.event in makers:
                    alike += 1.5 * share
                elif hit.event in far_makers:
                    alike += 1.5 * share * _FAR
                elif hit.event > e:
                    score -= 1.0
                elif hit.event == e and self.twin:
                    score -= 0.5
        readers = target.after[t]
        if readers:
            known = [found[r].event for r in readers if r in found]
            if known:
                there, far = set(source.after[e]), self.far_after[e]
                alike += 1.5 * sum(1.0 if r in there else _FAR if r in far else 0.0 for r in known) / len(known)
                score -= 0.5 * sum(r < e for r in known) / len(known)
        score -= (1.5 if self.twin else 0.3) * min(self.used[e], 2)
        return score + alike, alike


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


def _coverage(target: Side, source: Side, rich: dict[int, bool]) -> float:
    """Share of the target's rich values that the source has too."""
    there = set(source.classes)
    wanted = [cls for cls in target.classes if rich.get(cls)]
    return sum(cls in there for cls in wanted) / max(1, len(wanted))


def classify_roughly(target: Side, source: Side, rich: dict[int, bool]) -> None:
    """Give rich values that the source does not have the class of its most alike value: quantised graphs compute roughly.

    Changes the classes of ``target``.
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


def nearest(side: Side, start: int, found: dict[int, Found], forward: bool, limit: int = 200) -> list[int]:
    """Matched events of the source nearest to the unmatched node ``start``, down- or upstream."""
    steps: Sequence[list[int]] = side.after if forward else side.before
    queue, seen, hits = deque(steps[start]), set(steps[start]), set()
    while queue and limit:
        limit -= 1
        node = queue.popleft()
        if node in found:
            hits.add(found[node].event)
            continue
        for near in steps[node]:
            if near not in seen:
                seen.add(near)
                queue.append(near)
    return sorted(hits)
