"""Whether a scheme explains the names of a file, a body or a prefix: most of them, and as the data flows."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence

import onnx.defs

from modelexport.ir.node import Node
from modelexport.passes.evidence.names.parameters import unfused
from modelexport.passes.evidence.names.schemes.agreement import agrees
from modelexport.passes.evidence.names.schemes.interface import Scheme, Scope

FEWEST, _FEWEST_WEIGHTS = 3, 2
_SHARE = 0.2  # of all that have a name
_MOST, _AGREEING, _TOGETHER, _OPERATORS, _ENDINGS = 0.6, 0.5, 0.5, 0.5, 0.7
_NUMBER = re.compile(r"(?:_?\d+)+$")

Atoms = tuple[str, ...]


def by_names(scheme: Scheme, named: Sequence[tuple[Node, str]]) -> dict[Node, Scope] | None:
    """What ``scheme`` says of each node, or None where it doesn't explain these names as a whole."""
    read = {node: scope for node, name in named if (scope := scheme.scope(name, node.op_type)) is not None}
    told = sum("/" in name for _, name in named)
    if not scheme.operators or len(read) < FEWEST or len(read) < max(_MOST * told, _SHARE * len(named)):
        return None
    agreeing = sum(agrees(scope.operator.rstrip("0123456789"), node.op_type) for node, scope in read.items())
    scopes = {scope.atoms for scope in read.values()}
    if agreeing < _AGREEING * len(read) or len(scopes) < 2 or _names_operators(read.values()):
        return None
    return read if _hangs_together({node: scope.atoms for node, scope in read.items()}) else None


def by_weights(scheme: Scheme, read: Mapping[Node, Sequence[str]]) -> dict[str, Atoms] | None:
    """The module of each weight, or None where ``scheme`` doesn't explain their names as a whole.

    ``read`` has the weights that each node computes with.
    """
    named = (weight for names in read.values() for weight in names if not scheme.is_made(weight))
    weights = {weight: scheme.weight(unfused(weight)) for weight in named}
    found = {weight: atoms for weight, atoms in weights.items() if atoms}
    scopes = set(found.values())
    if len(found) < _FEWEST_WEIGHTS or len(found) < _MOST * len(weights) or len(scopes) < 2:
        return None
    nodes = {node: atoms for node, names in read.items() if (atoms := next(filter(None, map(found.get, names)), None))}
    fitting = sum(scheme.fits(atoms, node.name, node.first_output) for node, atoms in nodes.items())
    if fitting < _MOST * len(nodes) or not _hangs_together(nodes):
        return None
    if scheme.operators:  # a few words for parameters must do for all
        endings = {_NUMBER.sub("", weight.rpartition("/")[2].partition(":")[0]) for weight in found}
        if len(endings) > max(1.0, _ENDINGS * len(found)):
            return None
    return found


def _names_operators(scopes: Collection[Scope]) -> bool:
    """Whether most scopes are made of nothing but names of operators and numbers."""
    known = _operators()
    found = Counter(all(atom.isdigit() or _NUMBER.sub("", atom) in known for atom in s.atoms) for s in scopes)
    return found[True] >= _OPERATORS * len(scopes)


def _operators() -> frozenset[str]:
    return frozenset(schema.name for schema in onnx.defs.get_all_schemas())


def _hangs_together(scopes: Mapping[Node, Atoms]) -> bool:
    """Whether nodes of one scope lie next to each other in the data flow, or with one between that has no scope."""
    groups: dict[Atoms, list[Node]] = defaultdict(list)
    for node, atoms in scopes.items():
        groups[atoms].append(node)
    near = total = 0
    for atoms, members in groups.items():
        if len(members) < 2 or not atoms:
            continue
        for node in members:
            total += 1
            near += any(_related(scopes.get(other), atoms) for other in _around(node, scopes))
    return not total or near >= _TOGETHER * total


def _related(other: Atoms | None, atoms: Atoms) -> bool:
    if not other:
        return False
    shorter = min(len(other), len(atoms))
    return other[:shorter] == atoms[:shorter]


def _around(node: Node, scopes: Mapping[Node, Atoms]) -> set[Node]:
    """The nodes next to ``node``, and where those have no scope the ones behind them."""
    near: set[Node] = set()
    for each in _beside(node):
        near.add(each)
        if each not in scopes:
            near.update(_beside(each))
    return near - {node}


def _beside(node: Node) -> list[Node]:
    graph = node.graph
    makers = [maker for value in node.inputs if value and (maker := graph.producer(value)) is not None]
    return [*makers, *(reader for value in node.outputs if value for reader in graph.consumers(value)[:8])]
