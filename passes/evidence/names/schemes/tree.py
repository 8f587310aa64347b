"""From scopes as names have them to paths of modules: what is no module goes, and calls of one module become one."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

from modelexport.passes.evidence.names.schemes.interface import Scheme, Scope

Atoms = tuple[str, ...]
_CALL = re.compile(r"(.+?)_(\d+)")


def path_of(atoms: Atoms) -> str:
    """The dotted path; a dot inside a name is escaped."""
    return ".".join(atom.replace("%", "%25").replace(".", "%2E") for atom in atoms)


class ScopeTree:
    """The modules among the scopes of one scheme.

    Args:
        scheme: whose scopes they are.
        scopes: what was read of each node.
    """

    def __init__(self, scheme: Scheme, scopes: Iterable[Scope]) -> None:
        self._scheme = scheme
        self._operations: set[Atoms] = set()
        self._merged: dict[Atoms, Atoms] = {}
        self._called: dict[Atoms, Atoms] = {}
        read = list(scopes)
        if scheme.operators:
            self._operations = {(*scope.atoms, scope.operator) for scope in read}
        self._direct = {self._outer(scope.atoms) for scope in read}
        self.known = {atoms[:depth] for atoms in self._direct for depth in range(1, len(atoms) + 1)}
        children: dict[Atoms, set[str]] = defaultdict(set)
        for atoms in self.known:
            children[atoms[:-1]].add(atoms[-1])
        self._doubled = {
            atoms
            for atoms in self.known
            if len(atoms) > 1
            and atoms[-1] == atoms[-2]
            and atoms[:-1] not in self._direct
            and children[atoms[:-1]] == {atoms[-1]}
        }

    def module(self, atoms: Atoms) -> Atoms:
        """The module of a scope: functions of the framework and repeated names left out, calls made one."""
        found = self._merged.get(atoms)
        if found is None:
            outer = self._outer(atoms)
            kept = [atom for depth, atom in enumerate(outer, 1) if outer[:depth] not in self._doubled]
            found = self._merged[atoms] = tuple(kept)
        return self._one_call(found)

    def of_weight(self, atoms: Atoms) -> Atoms:
        """The module of a weight: the innermost scope of nodes that its name begins with; else all of it."""
        for depth in range(len(atoms), 0, -1):
            if atoms[:depth] in self.known:
                return self.module(atoms[:depth])
        return self.module(atoms)

    def merge_calls(self, shared: Iterable[Iterable[Atoms]]) -> None:
        """Make scopes that read one weight and differ in the number of one name calls of one module."""
        for group in shared:
            first, *others = sorted(set(group), key=lambda atoms: [_numbered(atom) for atom in atoms])
            for other in others:
                at = _difference(first, other)
                if at is not None:
                    self._called.setdefault(other[: at + 1], first[: at + 1])

    def _one_call(self, atoms: Atoms) -> Atoms:
        for depth in range(1, len(atoms) + 1) if self._called else ():
            first = self._called.get(atoms[:depth])
            if first is not None:
                return self._one_call((*first, *atoms[depth:]))
        return atoms

    def _outer(self, atoms: Atoms) -> Atoms:
        while atoms and (self._scheme.is_inner(atoms[-1]) or self._is_operation(atoms)):
            atoms = atoms[:-1]
        return atoms

    def _is_operation(self, atoms: Atoms) -> bool:
        """Whether a node bears this very name. The outermost module may too, but rather in lower case."""
        return atoms in self._operations and (len(atoms) > 1 or atoms[0][:1].isupper())


def _numbered(atom: str) -> tuple[str, int]:
    match = _CALL.fullmatch(atom)
    return (match[1], int(match[2])) if match is not None and len(match[2]) < 7 else (atom, 0)


def _difference(first: Atoms, other: Atoms) -> int | None:
    """The place of the one atom in which two scopes differ, and that by its number alone."""
    if len(first) != len(other):
        return None
    places = [at for at, (one, two) in enumerate(zip(first, other, strict=True)) if one != two]
    if len(places) != 1 or _numbered(first[places[0]])[0] != _numbered(other[places[0]])[0]:
        return None
    return places[0]
