"""Growing a module from the node that has its parameter to the nodes that belong to the same computation."""

from __future__ import annotations

import heapq

from modelexport.passes.evidence.inference.flow import Flow, Kind

_REDUCING = ("Reduce", "InstanceNormalization", "GlobalAveragePool")
_REGION = 24  # nodes one normalisation may have, a bound on the search: decomposed layer norms have 9, at any opset


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
        if len(open_nodes) == 1 and reduces:
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
