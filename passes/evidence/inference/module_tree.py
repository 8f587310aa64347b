"""What is known of the module tree: who is called, who owns parameters, who is a leaf."""

from __future__ import annotations

from collections.abc import Iterable

from modelexport.ir.modules import ModuleTable

_MISSING = (
    4  # so many items without parameters may follow each other: a norm that was folded, activation, pool, dropout
)


class ModuleTree:
    """Paths of modules with what can be said of each without a trace.

    A path that was seen as a scope or owns a parameter is called. One all of whose children are numbers is a container
    unless it was seen; any other is taken to be called.
    """

    def __init__(self, modules: ModuleTable, owners: Iterable[str], attributed: Iterable[str]) -> None:
        self._owners = frozenset(owners)
        self._called = {module.path for module in modules if module.calls > 0} | self._owners
        self._idle = {module.path for module in modules if not module.calls}
        self._children: dict[str, set[str]] = {}
        for path in {*self._called, *self._idle, *attributed}:
            while path:
                head, _, atom = path.rpartition(".")
                atoms = self._children.setdefault(head, set())
                if atom in atoms:
                    break
                atoms.add(atom)
                path = head
        self._lifted: dict[str, str] = {}
        self._common: dict[tuple[str, str], str] = {}

    def is_container(self, path: str) -> bool:
        """Whether ``path`` is only a holder of numbered modules."""
        if not path or path in self._called:
            return False
        return path in self._idle or all(atom.isdigit() for atom in self._children.get(path, ("",)))

    def is_leaf(self, path: str) -> bool:
        """Whether ``path`` owns parameters and no modules: all such a module does is compute with them."""
        return path in self._owners and path not in self._children

    def lift(self, path: str) -> str:
        """``path`` or its nearest ancestor that is called."""
        found = self._lifted.get(path)
        if found is None:
            found = path
            while self.is_container(found):
                found = found.rpartition(".")[0]
            self._lifted[path] = found
        return found

    def only_loops(self, path: str) -> bool:
        """Whether all that is known below ``path`` is one numbered list: what it hands to every item is not its own."""
        children = self._children.get(path, ())
        if len(children) != 1 or path in self._owners or not path:
            return False
        (atom,) = children
        return self.is_container(f"{path}.{atom}" if path else atom)

    def site(self, path: str) -> str:
        """The module whose own code runs around that of ``path``: its parent where it is a leaf, else itself."""
        return self.lift(path.rpartition(".")[0]) if self.is_leaf(path) else self.lift(path)

    def between(self, left: str, right: str) -> list[str]:
        """The items of a numbered list between those that ``left`` and ``right`` are in, if nothing is known of any."""
        one, other = left.split("."), right.split(".")
        shared = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)
        if shared is None or not (one[shared].isdecimal() and other[shared].isdecimal()):
            return []
        head = ".".join(one[:shared])
        known = self._children.get(head, ())
        first, last = int(one[shared]) + 1, int(other[shared])
        numbers = [str(number) for number in range(first, min(last, first + _MISSING + 1))]
        if len(numbers) > _MISSING or any(number in known for number in numbers):
            return []
        return [f"{head}.{number}" if head else number for number in numbers]

    def beyond(self, path: str) -> str | None:
        """The item after the innermost one that ``path`` is in, of a numbered list of which that is the last known."""
        atoms = path.split(".")
        for at in range(len(atoms) - 1, -1, -1):
            head = ".".join(atoms[:at])
            if atoms[at].isdecimal():
                known = self._children.get(head, ())
                last = all(atom.isdecimal() and int(atom) <= int(atoms[at]) for atom in known)
                return f"{head}.{int(atoms[at]) + 1}".lstrip(".") if last else None
        return None

    def common(self, left: str, right: str) -> str:
        """Lowest common ancestor of two paths, lifted."""
        if left == right:
            return self.lift(left)
        key = (left, right)
        found = self._common.get(key)
        if found is None:
            atoms = []
            for one, other in zip(left.split("."), right.split("."), strict=False):
                if one != other:
                    break
                atoms.append(one)
            found = self._common[key] = self.lift(".".join(atoms))
        return found


def depth(path: str) -> int:
    """Number of atoms."""
    return path.count(".") + 1 if path else 0


def deepest(paths: Iterable[str | None]) -> str | None:
    """The deepest of ``paths``; the first of several, None of none."""
    best: str | None = None
    for path in paths:
        if path is not None and (best is None or depth(path) > depth(best)):
            best = path
    return best
