"""Growing a module from the node that has its parameter to the nodes that belong to the same computation."""

from __future__ import annotations

import heapq

from modelexport.ir.operators import Category, category
from modelexport.passes.evidence.inference.flow import Flow, Kind

_REDUCING = ("Reduce", "InstanceNormalization", "GlobalAveragePool")
_REGION = 24  # nodes that one normalisation may have


def likes(flow: Flow, paths: list[str | None]) -> list[tuple[int, str]]:
    """Open nodes that compute from the same modules, numbers aside, as recorded nodes of the same operator do.

    The records must agree, and a record's own numbers must follow from those of the modules it computes from.
    """
    open_nodes = [
        index
        for index, path in enumerate(paths)
        if path is None and flow.kind[index] >= Kind.DATA and flow.before[index]
    ]
    wanted = {flow.nodes[index].op_type for index in open_nodes}
    records: dict[tuple[object, ...], set[tuple[str, ...] | None]] = {}
    for index, path in enumerate(paths):
        if path is not None and flow.nodes[index].op_type in wanted:
            key, sources = _place(flow, paths, index)
            pattern = template(path)
            follows = key is not None and instance(pattern, sources) == path
            if key is not None:
                records.setdefault(key, set()).add(pattern if follows else None)
    found = []
    for index in open_nodes:
        key, sources = _place(flow, paths, index)
        patterns = records.get(key, ()) if key is not None else ()
        if len(patterns) == 1:
            (only,) = patterns
            path = instance(only, sources) if only is not None else None
            if path is not None:
                found.append((index, path))
    return found


def _place(flow: Flow, paths: list[str | None], index: int) -> tuple[tuple[object, ...] | None, list[str]]:
    """The operator of a node with the templates of the modules its data comes from, and those modules."""
    sources = [paths[maker] for maker in flow.before[index] if flow.kind[maker] >= Kind.DATA]
    known = [path for path in sources if path is not None]
    if not known or len(known) < len(sources):
        return None, known
    return (flow.nodes[index].op_type, *map(template, known)), known


def template(path: str) -> tuple[str, ...]:
    """``path`` as atoms, with numbers blanked out."""
    return tuple("#" if atom.isdigit() else atom for atom in path.split(".")) if path else ()


def instance(pattern: tuple[str, ...], around: list[str]) -> str | None:
    """``pattern`` with the numbers of the first path of ``around`` that begins like it; None where there is none."""
    numbers = max((at for at, atom in enumerate(pattern) if atom == "#"), default=-1) + 1
    if not numbers:
        return ".".join(pattern)
    for path in around:
        if template(path)[:numbers] == pattern[:numbers]:
            return ".".join((*path.split(".")[:numbers], *pattern[numbers:]))
    return None


def flattened_products(flow: Flow, paths: list[str | None]) -> list[tuple[int, str]]:
    """The reshapes around a Gemm: data is flattened to a matrix for it, and its result given back the shape."""
    found = []
    for index, path in enumerate(paths):
        if path is None or flow.nodes[index].op_type != "Gemm" or len(flow.after[index]) != 1:
            continue
        data = flow.graph.producer(flow.nodes[index].inputs[0])
        after = flow.after[index][0]
        before = next((maker for maker in flow.before[index] if flow.nodes[maker] is data), None)
        if before is None or paths[before] is not None or paths[after] is not None or len(flow.after[before]) != 1:
            continue
        if flow.nodes[before].op_type == flow.nodes[after].op_type == "Reshape":
            found += [(before, path), (after, path)]
    return found


def normalisations(flow: Flow, paths: list[str | None], anchored: list[int]) -> list[tuple[int, str]]:
    """Nodes that normalise what an anchored scale or bias is then applied to.

    A normalisation is a region before the anchored node that has a reduction in it, one input, and no reader outside.
    """
    found: list[tuple[int, str]] = []
    taken: set[int] = set()
    for anchor in anchored:
        path = paths[anchor]
        if path is None or flow.nodes[anchor].op_type not in ("Mul", "Add", "Div", "Sub", "Identity"):
            continue
        region = _region(flow, paths, anchor, taken)
        taken.update(region)
        found.extend((index, path) for index in region)
    return found


def _region(flow: Flow, paths: list[str | None], anchor: int, taken: set[int]) -> list[int]:
    region: set[int] = set()
    inside = {anchor}
    frontier = [-maker for maker in flow.before[anchor] if flow.kind[maker] >= Kind.DATA]
    heapq.heapify(frontier)
    open_nodes = {-entry for entry in frontier}
    reduces = False
    while frontier:
        if len(open_nodes) == 1 and reduces and not _single_cast(flow, paths, -frontier[0], inside):
            return sorted([*region, *_centred(flow, paths, -frontier[0], inside)])
        index = -heapq.heappop(frontier)
        open_nodes.discard(index)
        if paths[index] is not None or index in taken or len(region) >= _REGION:
            return []
        if any(reader not in inside for reader in flow.after[index]):
            return []
        region.add(index)
        inside.add(index)
        reduces = reduces or flow.nodes[index].op_type.startswith(_REDUCING)
        external = [maker for maker in flow.before[index] if flow.kind[maker] >= Kind.DATA]
        if not external and flow.kind[index] == Kind.DATA:
            return []
        for maker in external:
            if maker not in open_nodes:
                open_nodes.add(maker)
                heapq.heappush(frontier, -maker)
    return []


def _centred(flow: Flow, paths: list[str | None], index: int, inside: set[int]) -> list[int]:
    """The node where a region begins, if it is part of it: ``x - mean(x)`` with its mean, or a reshape to groups."""
    node = flow.nodes[index]
    if paths[index] is not None or any(reader not in inside for reader in flow.after[index]):
        return []
    if node.op_type == "Reshape":
        readers = [flow.nodes[reader].op_type for reader in flow.after[index]]
        return [index] if readers == ["InstanceNormalization"] else []
    makers = flow.before[index]
    for maker in makers if node.op_type == "Sub" and len(node.inputs) == 2 else ():
        mean = flow.nodes[maker]
        if mean.outputs[0] != node.inputs[1] or not mean.op_type.startswith(_REDUCING) or paths[maker] is not None:
            continue
        if mean.inputs[0] == node.inputs[0] and all(
            reader in inside or reader == index for reader in flow.after[maker]
        ):
            return [index, maker]
    return []


def _single_cast(flow: Flow, paths: list[str | None], index: int, inside: set[int]) -> bool:
    """Whether the one value that is left to enter is a cast made for this region alone."""
    return (
        category(flow.nodes[index].op_type) is Category.CAST
        and paths[index] is None
        and all(reader in inside for reader in flow.after[index])
    )
