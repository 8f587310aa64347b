"""A tagged model that was merged with itself: every name is there once with each prefix, every tag as often."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from modelexport.ir.node import Node

_WHOLE, _MOST, _LIMIT, _SAMPLE = 0.9, 0.8, 256, 64


def copies_of(nodes: Sequence[Node], told: Callable[[Node], object]) -> list[list[Node]]:
    """``nodes`` of one tagged model, by copies of it; all together where there is but one.

    Composing tools put a prefix before the names of nodes and values alike. Calls of one module may be told apart too
    where there is nothing else in the model: what their names have in common is then no prefix for the caller either.

    Args:
        told: what a node's tag says, which is the same in every copy.
    """
    named = {node.name: node for node in nodes if node.name}
    if not named or len(named) < len(nodes):
        return [list(nodes)]
    first = nodes[0]
    like = [node for node in nodes[1:] if node.op_type == first.op_type and told(node) == told(first)][:_LIMIT]
    shared = {_shared_end(first.name, node.name) for node in like} - {0}
    for length in sorted(shared, reverse=True):  # the shortest prefixes first
        prefix, end = first.name[: len(first.name) - length], first.name[len(first.name) - length :]
        others = [node.name[: len(node.name) - length] for node in like if node.name.endswith(end)]
        found = _apart(named, told, prefix, others)
        if found:
            return found
    return [list(nodes)]


def _shared_end(one: str, other: str) -> int:
    """How many characters both end in."""
    pairs = zip(reversed(one), reversed(other), strict=False)
    return next((length for length, (left, right) in enumerate(pairs) if left != right), min(len(one), len(other)))


def _apart(
    named: Mapping[str, Node], told: Callable[[Node], object], prefix: str, others: Sequence[str]
) -> list[list[Node]]:
    """The copies with ``prefix`` and with each of ``others`` that is as common; none where they are few of all."""
    ends = [name[len(prefix) :] for name in named if name.startswith(prefix)]

    def same(other: str, end: str) -> bool:
        one, two = named[prefix + end], named.get(other + end)
        if two is None or one.op_type != two.op_type or told(one) != told(two):
            return False
        if one.graph is not two.graph and one.first_output == two.first_output:  # of two bodies: it may have kept that
            return True
        return (
            one.first_output.startswith(prefix)
            and two.first_output.startswith(other)
            and one.first_output[len(prefix) :] == two.first_output[len(other) :]
        )

    sample = ends[:: max(1, len(ends) // _SAMPLE)]
    hits = {other: sum(same(other, end) for end in sample) for other in others}
    copies = [other for other, count in hits.items() if count and count >= _WHOLE * max(hits.values())]
    if sum(hits[other] for other in copies) < _MOST * len(sample) * len(copies) / (len(copies) + 1):
        return []
    held = [end for end in ends if all(same(other, end) for other in copies)]
    if not copies or len(held) * (len(copies) + 1) < _WHOLE * len(named):
        return []
    return [[named[each + end] for end in held] for each in (prefix, *copies)]
