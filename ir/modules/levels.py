"""The levels of a path that no record names: ``encoder`` and ``encoder.layer.0`` above ``encoder.layer.0.mlp``."""

from __future__ import annotations

from collections.abc import Iterable

from modelexport.ir.modules.table import ModuleTable


def add_levels(table: ModuleTable, paths: Iterable[str]) -> None:
    """Give every level above ``paths`` a row, so that reports and pictures have the tree that the paths spell.

    A level that only holds numbered modules is no row: its name and the number are one, ``layer.0``. Above a module
    whose class is known nothing is missing, since whoever recorded it knew which of those were called.
    """
    missing: dict[str, set[str]] = {}
    order: dict[str, None] = {}
    for path in paths:
        module = table.get(path)
        if module is not None and module.cls:
            continue
        while path:
            path, _, atom = path.rpartition(".")
            atoms = missing.get(path)
            if atoms is None:
                missing[path] = {atom}
                order[path] = None
            elif atom in atoms:
                break  # and so are all levels above
            else:
                atoms.add(atom)
    for path in sorted(order, key=lambda path: path.count(".")):
        if path not in table and not all(atom.isdigit() for atom in missing[path]):
            table.ensure(path)
