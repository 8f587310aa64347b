"""From numbers of nodes to a tree of modules with *self* and *total*: the one aggregator of all reports.

*self* belongs to nodes attributed to exactly a path, *total* adds all below it; paths are split at dots only, so
``layers.1`` is not above ``layers.10``. A module has a row if it is called, or if it has nodes in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from modelexport.ir.modules.table import ModuleTable

Numbers = Mapping[str, float]


@dataclass(slots=True)
class ModuleRow:
    """One module.

    Attributes:
        path: dotted path; ``""`` is the root.
        parent: the nearest path above that has a row; None for the root.
        calls: how often it was called; 0 for a container, and for a path that only others' paths tell of.
        depth: modules above it, without containers that are never called; the root has 0.
        own, total: by name of the number. A sum of whole numbers is a whole number.
        partial: whether something in ``total`` is not known, so that it is a lower bound.
    """

    path: str
    tag: str
    parent: str | None
    calls: int
    depth: int
    own: dict[str, float]
    total: dict[str, float]
    partial: bool = False

    @property
    def is_container(self) -> bool:
        """Whether it is never called, as far as is known."""
        return not self.calls and bool(self.path)


class ModuleNumbers:
    """Adds up numbers by module."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._own: dict[str, dict[str, float]] = {}
        self._partial: set[str] = set()

    def add(self, path: str, **numbers: float) -> None:
        """Add numbers of a node to its module; a node without any makes its module known."""
        own = self.of(path)
        for name, number in numbers.items():
            own[name] += number

    def of(self, path: str) -> dict[str, float]:
        """The sums of a module itself by name of the number, to be added to; the module is known from now on."""
        own = self._own.get(path)
        if own is None:
            own = self._own[path] = dict.fromkeys(self.names, 0)
        return own

    def incomplete(self, path: str) -> None:
        """Say that a number of a node of this module is not known."""
        self.add(path)
        self._partial.add(path)

    def rows(self, table: ModuleTable, first: Mapping[str, int]) -> list[ModuleRow]:
        """Every module, the root first, parents before children.

        Args:
            first: position in the file of a module's first own node, by path; it orders siblings.
        """
        known = table
        missing = [path for path in (*self._own, "") if path not in table]
        if missing:
            known = ModuleTable(table)
            for path in missing:
                known.ensure(path)
        listed = dict.fromkeys(["", *(module.path for module in known if module.calls > 0), *self._own])
        climbed: set[str] = set()
        for path in self._own:
            while path and (path := path.rpartition(".")[0]) not in climbed:
                climbed.add(path)
                listed.setdefault(path)
        tags = known.tags()
        rows: dict[str, ModuleRow] = {}
        nothing: dict[str, float] = dict.fromkeys(self.names, 0)
        for path, parent in _in_order(listed, [module.path for module in known], first):
            module = known.get(path)
            home = rows[parent] if parent is not None else None
            depth = 0 if home is None else home.depth + int(not home.is_container)
            own = self._own.get(path, nothing)
            tag = tags.get(path) or f"{home.tag if home is not None else ''}/{path.rpartition('.')[2]}"
            calls = module.calls if module is not None else 0
            rows[path] = ModuleRow(path, tag, parent, calls, depth, own, dict(own), path in self._partial)
        for row in reversed(list(rows.values())):
            if row.parent is not None:
                home = rows[row.parent]
                home.partial = home.partial or row.partial
                for name in self.names:
                    home.total[name] += row.total[name]
        return list(rows.values())


def above(path: str) -> Iterator[str]:
    """Every path above, the nearest first, the root last."""
    while path:
        path = path.rpartition(".")[0]
        yield path


def _in_order(
    listed: Iterable[str], table: Sequence[str], first: Mapping[str, int]
) -> Iterator[tuple[str, str | None]]:
    """Paths depth first, each with the nearest listed one above.

    Siblings stand in the order of the first nodes in them; those without any stay behind the one that the table has
    before them: the order of ``modelexport.passes.report``.
    """
    starts: dict[str, int] = {}
    for path, position in first.items():
        while starts.get(path, position + 1) > position:
            starts[path] = position
            path = path.rpartition(".")[0]
    ranked: dict[str, None] = {}
    for path in (*table, *listed):
        while path not in ranked:
            ranked[path] = None
            path = path.rpartition(".")[0]
    held = set(listed)
    children: dict[str, list[str]] = {}
    parents: dict[str, str | None] = {"": None}
    for path in ranked:
        if path in held and path:
            parent = path.rpartition(".")[0]
            while parent not in held:
                parent = parent.rpartition(".")[0]
            parents[path] = parent
            children.setdefault(parent, []).append(path)
    stack = [""]
    while stack:
        path = stack.pop()
        yield path, parents[path]
        below = children.get(path)
        if below is not None:
            places: dict[str, int] = {}
            place = -1
            for each in below:
                place = places[each] = starts.get(each, place)
            stack.extend(sorted(below, key=places.__getitem__)[::-1])


def sorted_rows(rows: Sequence[ModuleRow], name: str) -> list[ModuleRow]:
    """The same tree with siblings ordered by ``total[name]``, the largest first; equal ones stay in order."""
    children: dict[str | None, list[ModuleRow]] = {}
    for row in rows:
        children.setdefault(row.parent, []).append(row)
    found: list[ModuleRow] = []
    stack = list(children.get(None, ()))
    while stack:
        row = stack.pop()
        found.append(row)
        largest_first = sorted(children.get(row.path, ()), key=lambda each: -each.total[name])
        stack.extend(largest_first[::-1])
    return found
