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
from itertools import pairwise

from modelexport.ir.io.trace_file import View
from modelexport.passes.evidence.values.value_classes import POOR, Side, classify, classify_roughly, coverage

MANY = 48  # a class with more events than this names no candidates; its members are found through neighbours
MARGINS = (2.0, 1.0, 0.5, 0.2, 0.02)
_CARRIERS = 4  # so many events that only carry a value may be left out between two nodes
_ANCHORS, _IN_ORDER = 8, 0.97  # so many sure pairs, and so great a share of them rising, make the file order count
_FAR = 0.8  # what a neighbour beyond such events counts


@dataclass(frozen=True, slots=True)
class Found:
    """The event a node was matched with.

    Attributes:
        event: number of the event in the source view.
        lead: by how much its score beats the best candidate of another module; infinite where there is none.
        rich: whether the value alone identifies it.
        same_op: whether the operators are the same; never with an eager run, whose operators are torch's.
        named: whether node or value names are the same.
        alike: whether the neighbourhood agrees as well.
    """

    event: int
    lead: float
    rich: bool
    same_op: bool
    named: bool
    alike: bool


class Matcher:
    """Matches ``target`` with ``source``; ``found[event of target]`` is the result.

    ``recognised`` is the share of the target's telling values that the source has too.
    """

    def __init__(self, target: View, source: View, rtol: float) -> None:
        self.t, self.s = Side(target), Side(source)
        self.rich = classify(self.t, self.s, rtol)
        self.twin = source.kind != "eager"
        self.recognised = coverage(self.t, self.s, self.rich)
        if self.recognised < POOR:
            classify_roughly(self.t, self.s, self.rich)
        self.found: dict[int, Found] = {}
        self.bounds: list[tuple[int, int]] = []
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
            if margin == MARGINS[0]:
                self.bounds = self._order()
        for t in order:  # what is still open is a toss-up: decide one, then all that follows from it
            found = None if t in self.found else self._decide(t, -1.0)
            if found is not None:
                self._accept(t, found)
                self._settle((*self.t.before[t], *self.t.after[t]), MARGINS[-1])
        return self.found

    def _order(self) -> list[tuple[int, int]]:
        """For each node the events between which file order puts it; empty when the file is not in order of execution.

        Only for eager runs: a twin has an event for every node, and its neighbourhood says more.
        """
        anchors = [(t, hit.event) for t, hit in sorted(self.found.items()) if hit.rich and hit.lead == float("inf")]
        rising = sum(a[1] < b[1] for a, b in pairwise(anchors))
        if self.twin or len(anchors) < _ANCHORS or rising < _IN_ORDER * (len(anchors) - 1):
            return []
        size = len(self.t.view)
        bounds, position, low = [(0, len(self.s.view))] * size, 0, -1
        for t in range(size):
            while position < len(anchors) and anchors[position][0] < t:
                low = anchors[position][1]
                position += 1
            bounds[t] = (low, anchors[position][1] if position < len(anchors) else len(self.s.view))
        return bounds

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
        same_op = self.twin and self.t.op[t] == self.s.op[event]
        return Found(event, best - other, rich, same_op, self._named(t, event), bool(alike))

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
            if p in self.found and len(self.far_after[self.found[p].event]) < MANY:
                near.update(self.far_after[self.found[p].event])
        for c in self.t.after[t]:
            if c in self.found and len(self.far_before[self.found[c].event]) < MANY:
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
        if self.bounds:
            low, high = self.bounds[t]
            score += 0.6 if low <= e <= high else 0.0
        return score + alike, alike


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
