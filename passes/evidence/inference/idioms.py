"""Growing a module from the node that has its parameter to the nodes that belong to the same computation."""

from __future__ import annotations

import heapq
from collections.abc import Sequence, Set

from modelexport.ir.operators import CARRIERS, category
from modelexport.passes.evidence.inference.flow import Flow, Kind

_REDUCING = ("Reduce", "InstanceNormalization", "GlobalAveragePool")
_PRODUCTS = frozenset(("Gemm", "MatMul"))
_CELL = 40  # nodes between the products of a module and where they meet, a bound on the search: a GRUCell has 15 to 20
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
    inside, path = {anchor}, paths[anchor]
    frontier = [-maker for maker in flow.before[anchor] if flow.kind[maker] >= Kind.DATA and paths[maker] != path]
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
        if any(reader not in inside for reader in flow.computing(index)):
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


def between_own_products(
    flow: Flow, paths: list[str | None], anchored: list[int], leaves: Set[str]
) -> list[tuple[int, str]]:
    """What joins the products of a module that has several weights and no modules in it, as a GRUCell's gates do.

    The last of these nodes is where all data from the products meets. A further call reads the same weights again.
    Worth 1,450 right tags of graph, plain and without names.
    """
    weights: dict[str, dict[str, list[int]]] = {}
    for index in anchored:
        path, node = paths[index], flow.nodes[index]
        if path is not None and path in leaves and node.op_type in _PRODUCTS:
            weights.setdefault(path, {}).setdefault(_source(flow, node.inputs[1]), []).append(index)
    calls = (
        (path, call)
        for path, readers in weights.items()
        if len(readers) > 1
        for call in zip(*readers.values(), strict=False)
    )
    return [(index, path) for path, call in calls for index in _meeting(flow, paths, call)]


def _source(flow: Flow, value: str) -> str:
    """What ``value`` was before it was cast, moved or dequantised."""
    maker = flow.graph.producer(value)
    while maker is not None and maker.inputs and category(maker.op_type) in CARRIERS:
        value = maker.inputs[0]
        maker = flow.graph.producer(value)
    return value


def _meeting(flow: Flow, paths: list[str | None], products: Sequence[int]) -> list[int]:
    """The open nodes after ``products`` up to the one that all their data goes through; none if some goes elsewhere."""
    path = paths[products[0]]
    region: list[int] = []
    waiting = {reader for product in products for reader in flow.computing(product)}
    while waiting and len(region) < _CELL:
        index = min(waiting)
        if paths[index] not in (None, path) or not flow.after[index]:
            return []
        if paths[index] is None:
            region.append(index)
            if len(waiting) == 1 and len(region) > 1:
                return region
        waiting.remove(index)
        waiting.update(flow.computing(index))
    return []


def _centred(flow: Flow, paths: list[str | None], index: int, inside: set[int]) -> list[int]:
    """The node where a region begins, if it is part of it: ``x - mean(x)`` with its mean, or a reshape to groups."""
    node = flow.nodes[index]
    if paths[index] is not None or any(reader not in inside for reader in flow.computing(index)):
        return []
    if node.op_type == "Reshape":
        readers = [flow.nodes[reader].op_type for reader in flow.computing(index)]
        return [index] if readers == ["InstanceNormalization"] else []
    makers = flow.before[index]
    for maker in makers if node.op_type == "Sub" and len(node.inputs) == 2 else ():
        mean = flow.nodes[maker]
        if mean.outputs[0] != node.inputs[1] or not mean.op_type.startswith(_REDUCING) or paths[maker] is not None:
            continue
        if mean.inputs[0] == node.inputs[0] and all(
            reader in inside or reader == index for reader in flow.computing(maker)
        ):
            return [index, maker]
    return []
