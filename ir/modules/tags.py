"""Readable tags, one-to-one with module paths.

A tag is the class path of a module, ``/BertModel/BertEncoder/BertLayer.0/BertAttention``. A segment is the class name
plus ``.suffix`` where needed. The suffix is cut from the module's attribute path below its nearest called ancestor to
the fewest trailing atoms that tell apart all modules of one class under one parent, and is always there after an index.
Without class information a segment is the attribute path itself and the root is ``Model``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

from modelexport.ir.modules.module import Module

ROOT_WITHOUT_CLASS = "Model"


def encode(name: str, *, dots: bool = False) -> str:
    """Percent-encode what would break a tag: ``%``, ``/`` and, with ``dots``, ``.``."""
    name = name.replace("%", "%25").replace("/", "%2F")
    return name.replace(".", "%2E") if dots else name


def compute_tags(modules: Iterable[Module], parent_of: Callable[[str], str | None]) -> dict[str, str]:
    """Tag of every module, by path. ``parent_of`` gives the nearest called ancestor of a path (None for the root)."""
    ordered = sorted(modules, key=lambda module: module.path.count(".") + bool(module.path))
    parents = {module.path: parent_of(module.path) for module in ordered}
    groups: dict[tuple[str, str, bool], list[tuple[Module, list[str]]]] = defaultdict(list)
    for module in ordered:
        parent = parents[module.path]
        if parent is not None and module.class_name:
            atoms = _atoms_below(parent, module.path)
            groups[parent, module.class_name, module.calls > 0].append((module, atoms))
    lengths = {key: _suffix_length([atoms for _, atoms in members]) for key, members in groups.items()}
    tags: dict[str, str] = {}
    taken: set[str] = set()
    # Called modules first: where a container's tag would collide, the container's is the one that gives way.
    for module in sorted(ordered, key=lambda module: module.calls == 0):
        parent = parents[module.path]
        if module.tag:
            tag = module.tag
        elif parent is None:
            tag = "/" + (encode(module.class_name, dots=True) or ROOT_WITHOUT_CLASS)
        else:
            atoms = _atoms_below(parent, module.path)
            length = lengths.get((parent, module.class_name, module.calls > 0), len(atoms))
            tag = f"{tags.get(parent, '/' + ROOT_WITHOUT_CLASS)}/{_segment(module.class_name, atoms, length)}"
            while tag in taken:
                length += 1
                longer = f"{tags.get(parent, '/' + ROOT_WITHOUT_CLASS)}/{_segment(module.class_name, atoms, length)}"
                tag = longer if longer != tag else tag + "~"
        taken.add(tag)
        tags[module.path] = tag
    return tags


def _atoms_below(parent: str, path: str) -> list[str]:
    return path[len(parent) + 1 if parent else 0 :].split(".")


def _segment(class_name: str, atoms: list[str], length: int) -> str:
    suffix = ".".join(encode(atom) for atom in atoms[max(0, len(atoms) - length) :]) if length else ""
    if not class_name:
        return suffix
    name = encode(class_name, dots=True)
    return f"{name}.{suffix}" if suffix else name


def _suffix_length(group: list[list[str]]) -> int:
    """Fewest trailing atoms that tell the group apart; at least 1 where an atom at the end is an index."""
    length = 1 if len(group) > 1 or group[0][-1].isdigit() else 0
    longest = max(len(atoms) for atoms in group)
    while length < longest and len({tuple(atoms[-length:]) for atoms in group}) < len(group) and length:
        length += 1
    return length
