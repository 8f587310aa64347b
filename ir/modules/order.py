"""The one order of modules, in every report, file and picture: where their first nodes stand in the file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from modelexport.ir.modules.table import ModuleTable
from modelexport.ir.node import Node


def first_nodes(nodes: Iterable[Node]) -> dict[str, int]:
    """By module path, the position among ``nodes`` of the first one that is the module's own."""
    first: dict[str, int] = {}
    for position, node in enumerate(nodes):
        attribution = node.attribution
        if attribution is not None and attribution.path not in first:
            first[attribution.path] = position
    return first


def module_order(table: ModuleTable, first: Mapping[str, int]) -> list[str]:
    """Paths of all modules in the order in which every report and picture has them.

    A module comes before those in it. Modules with one parent stand in the order of their first nodes in the file, the
    nodes of all paths below them included; one without any node stays behind the one that the table has before it.

    Args:
        table: the modules; paths of ``first`` that it lacks are left out.
        first: position of the first own node by path, as :func:`first_nodes` gives it.
    """
    starts: dict[str, int] = {}
    for path, position in first.items():
        while starts.get(path, position + 1) > position:
            starts[path] = position
            path = path.rpartition(".")[0]
    children: dict[str | None, list[str]] = {}
    for module in table:
        children.setdefault(table.parent(module.path), []).append(module.path)
    for siblings in children.values():
        places: dict[str, int] = {}
        place = -1
        for path in siblings:
            place = places[path] = starts.get(path, place)
        siblings.sort(key=places.__getitem__)
    stack = (children.get(None, []) or children.pop("", []))[::-1]
    order: list[str] = []
    while stack:
        path = stack.pop()
        order.append(path)
        stack.extend(children.get(path, ())[::-1])
    return order
