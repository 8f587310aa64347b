"""Repeated blocks: nodes at the same place of like blocks are from the same place of the module tree."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from modelexport.passes.evidence.flow import Flow

_ROUNDS = 4
Template = tuple[str, ...]


def template(path: str) -> Template:
    """``path`` as atoms, with numbers blanked out."""
    return tuple("#" if atom.isdigit() else atom for atom in path.split(".")) if path else ()


def vote(
    flow: Flow,
    anchors: Sequence[str | None],
    paths: Sequence[str | None],
    up: Sequence[tuple[str, ...]],
    down: Sequence[tuple[str, ...]],
) -> list[tuple[int, str]]:
    """Better paths for open nodes whose likes in other blocks mostly are elsewhere than they."""
    open_nodes = [index for index, anchor in enumerate(anchors) if anchor is None and paths[index] is not None]
    if not open_nodes:
        return []
    ballots: dict[int, dict[Template, float]] = defaultdict(lambda: defaultdict(float))
    for places in (_signatures(flow, anchors, flow.before), _signatures(flow, anchors, flow.after)):
        groups: dict[int, list[int]] = defaultdict(list)
        for index in open_nodes:
            groups[places[index]].append(index)
        for members in groups.values():
            if len(members) < 2:
                continue
            votes = Counter(template(paths[index] or "") for index in members)
            for index in members:
                for choice, count in votes.items():
                    ballots[index][choice] += count / len(members)
    changes = []
    for index, ballot in ballots.items():
        own = template(paths[index] or "")
        best, share = max(ballot.items(), key=lambda item: (item[1], item[0] == own, len(item[0])))
        if best == own or share <= ballot[own] * 1.2:
            continue
        path = _instance(best, (*up[index], *down[index]))
        if path is not None and path != paths[index]:
            changes.append((index, path))
    return changes


def _instance(wanted: Template, around: tuple[str, ...]) -> str | None:
    """``wanted`` with the numbers of a path around the node that begins like it."""
    numbers = max((at for at, atom in enumerate(wanted) if atom == "#"), default=-1) + 1
    if not numbers:
        return ".".join(wanted)
    for path in around:
        atoms = path.split(".")
        if template(path)[:numbers] == wanted[:numbers]:
            return ".".join((*atoms[:numbers], *wanted[numbers:]))
    return None


def _signatures(flow: Flow, anchors: Sequence[str | None], side: list[list[int]]) -> list[int]:
    """A number for every node: equal where the operators and anchors within some hops on one side are."""
    templates = {path: None if path is None else template(path) for path in set(anchors)}
    labels = [hash((node.op_type, templates[path])) for node, path in zip(flow.nodes, anchors, strict=True)]
    for _ in range(_ROUNDS):
        labels = [hash((label, tuple(labels[other] for other in side[index]))) for index, label in enumerate(labels)]
    return labels
