"""Scopes that are spelled like a module and like further calls of another: ``fc_1`` and the second call of ``fc``.

The benchmark's ``names`` needs it: 42 of its 897 plain tags are wrong without.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

from modelexport.ir.node import Node
from modelexport.passes.evidence.names.scopes import ScopeWalk


def told_apart(scoped: Mapping[Node, tuple[str, str]], walk: ScopeWalk) -> dict[Node, str]:
    """Paths of the nodes in such scopes that are from the module that was called again.

    ``scoped`` begins with the scope of every named node. A node is where its parameters are; one without is
    with the nearest node of its scope that it reads from or is read by.
    """
    found: dict[Node, str] = {}
    merged = walk.merged()
    if not merged:
        return found
    members: dict[str, list[tuple[Node, str]]] = {scope: [] for scope in merged}
    for node, (scope, _) in scoped.items():
        above = scope
        while above:
            if above in members:
                members[above].append((node, scope))
                break
            above = above.rpartition("/")[0]
    for top, held in members.items():
        own, base = merged[top]
        scopes = dict(held)
        for node in _nearest_to(base, own, scopes, walk):
            path = walk.path(scopes[node])
            if path == own or path.startswith(own + "."):
                found[node] = base + path[len(own) :]
    return found


def _nearest_to(base: str, own: str, scopes: Mapping[Node, str], walk: ScopeWalk) -> Iterable[Node]:
    """The nodes of one scope that are nearer to parameters of ``base`` than to those of ``own``."""
    side: dict[Node, bool] = {}
    for node in scopes:
        owners = [owner for value in node.inputs if (owner := walk.owner_of(value)) is not None]
        for module, is_base in ((base, True), (own, False)):
            if any(owner == module or owner.startswith(module + ".") for owner in owners):
                side[node] = is_base
    waiting = deque(side)
    while waiting:
        node = waiting.popleft()
        makers = (node.graph.producer(value) for value in node.inputs if value)
        readers = (reader for value in node.outputs if value for reader in node.graph.consumers(value))
        for other in (*makers, *readers):
            if other is not None and other in scopes and other not in side:
                side[other] = side[node]
                waiting.append(other)
    return [node for node, is_base in side.items() if is_base]
