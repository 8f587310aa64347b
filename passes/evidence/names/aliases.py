"""Two paths of one module: dynamo records the name a module was called by, which may be an alias of its first name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

from modelexport.ir.modules import ModuleTable
from modelexport.ir.node import Node

_PARAMETERS = 2  # one shared parameter is a tied weight; a shared weight and bias are a shared module
_TIED = "torch.nn."  # classes whose one weight may be tied; others are rather shared as a whole
_LOOKUP = "Gather"  # tables are tied between modules of any class


def aliases(
    nodes: Iterable[tuple[Node, str]],
    owner: Mapping[str, str],
    modules: ModuleTable,
    fingerprint: Callable[[str], str],
) -> dict[str, str]:
    """First names by alias, for modules of one class that compute with the very same parameters.

    ``nodes`` are nodes with the path they are recorded under; ``fingerprint`` is "" for weights that may be equal by
    accident. The exporter names a shared parameter after the last alias, so the first name is another one.
    """
    read: dict[str, dict[str, None]] = defaultdict(dict)
    tables: set[str] = set()
    for node, path in nodes:
        for value in node.inputs:
            if value in owner:
                read[path][value] = None
                if node.op_type == _LOOKUP:
                    tables.add(path)
    groups: dict[tuple[str, frozenset[str]], list[str]] = defaultdict(list)
    for path, parameters in read.items():
        module = modules.get(path)
        if module is None or not module.cls:
            continue
        own = not module.cls.startswith(_TIED) and path not in tables and any(map(fingerprint, parameters))
        if len(parameters) >= _PARAMETERS or own:
            groups[module.cls, frozenset(parameters)].append(path)
    found: dict[str, str] = {}
    for (_, names), paths in groups.items():
        if len(paths) > 1:
            last = {owner[name] for name in names}
            first = next((path for path in paths if path not in last), paths[0])
            found.update((path, first) for path in paths if path != first)
    return found
