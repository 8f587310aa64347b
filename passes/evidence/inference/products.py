"""One layer's product with its weight, and what belongs to it: bias, quantisation, scales, casts, copies."""

from __future__ import annotations

from collections.abc import Callable

from modelexport.ir.operators import CARRIERS, Category, category
from modelexport.passes.evidence.inference.flow import Flow, Kind
from modelexport.passes.evidence.names.slots import has_weights, weights_of

_LONGEST = 12  # nodes from a product to its bias, a bound on the search: quantised ones have 4 to 8
_CARRIED = 6  # nodes between a weight and its product that are looked through: a quantised one that is moved has 3
_SUMS = ("Add", "QLinearAdd")
_CHAIN = frozenset(
    [
        "QuantizeLinear",
        "DequantizeLinear",
        "Cast",
        "Mul",
        "Div",
        "Reshape",
        "Squeeze",
        "Unsqueeze",
        "Transpose",
        "Identity",
    ]
)
_SCALES = frozenset(["QuantizeLinear", "DequantizeLinear", "Cast", "Mul", "Identity"])
_INTEGER = ("MatMulInteger", "ConvInteger")

Found = list[tuple[int, str]]


def products_before_biases(flow: Flow, paths: list[str | None]) -> Found:
    """Products of no telling name, and all between them and a bias that a module adds to them."""
    found: Found = []
    for index, path in enumerate(paths):
        if path is None or flow.nodes[index].op_type not in _SUMS:
            continue
        if all(paths[maker] is not None for maker in flow.before[index]):
            continue
        data = [maker for maker in flow.before[index] if _is_data(flow, maker)]
        if len(data) == 1 and len(flow.nodes[index].inputs) > 1 and _other_is_constant(flow, index, data[0]):
            found.extend((each, path) for each in _back_to_product(flow, paths, index, path))
    return found


def _back_to_product(flow: Flow, paths: list[str | None], bias: int, path: str) -> list[int]:
    """Nodes from the product to before the bias; none where something else is on the way."""
    region: list[int] = []
    waiting = [maker for maker in flow.before[bias] if _is_data(flow, maker)]
    inside = {bias}
    ends = 0
    while waiting:
        index = waiting.pop()
        if index in inside:
            continue
        node = flow.nodes[index]
        if paths[index] is not None or any(reader not in inside for reader in flow.after[index]):
            if node.op_type == "DynamicQuantizeLinear" or paths[index] == path:
                ends += paths[index] == path
                continue
            return []
        if len(region) >= _LONGEST:
            return []
        if _weighs(flow, index):
            ends += 1
        elif node.op_type in _CHAIN:
            waiting.extend(maker for maker in flow.before[index] if _is_data(flow, maker))
        else:
            return []
        region.append(index)
        inside.add(index)
    return region if ends == 1 else []


def biases_after_products(
    flow: Flow, paths: list[str | None], placed: Callable[[int], bool], is_bias: Callable[[str], bool]
) -> Found:
    """What follows a module's product and is a part of it: its bias, and scales and casts on the way there."""
    found: Found = []
    taken: set[int] = set()
    for start, path in enumerate(paths):
        if path is None or not _is_open_behind(flow, paths, start) or not placed(start) or not _weighs(flow, start):
            continue
        chain: list[int] = []
        index, added = start, False
        sure = 0  # how much of the chain is the module's for certain
        while len(flow.after[index]) == 1 and len(chain) < _LONGEST:
            index = flow.after[index][0]
            node = flow.nodes[index]
            if paths[index] is not None or index in taken:
                sure = len(chain) if paths[index] == path else sure
                if paths[index] == path and node.op_type in _SUMS and not added:
                    added = True  # a copy of the sum may follow
                    continue
                break
            if not added and node.op_type in _SUMS and any(map(is_bias, node.inputs)):
                chain.append(index)
                added, sure = True, len(chain)
            elif added and node.op_type == "Identity":
                chain.append(index)
                sure = len(chain)
                break
            elif not added and node.op_type in _SCALES and _scales(flow, index):
                chain.append(index)
                if flow.nodes[start].op_type in _INTEGER and node.op_type in ("Cast", "Mul"):
                    sure = len(chain)
            else:
                break
        taken.update(chain[:sure])
        found.extend((each, path) for each in chain[:sure])
    return found


def _is_open_behind(flow: Flow, paths: list[str | None], start: int) -> bool:
    """Whether an open node is what alone reads a node, or a sum behind it: quick to tell, and mostly false."""
    readers = flow.after[start]
    if len(readers) == 1 and paths[readers[0]] == paths[start] and flow.nodes[readers[0]].op_type in _SUMS:
        readers = flow.after[readers[0]]
    return len(readers) == 1 and paths[readers[0]] is None


def _weighs(flow: Flow, index: int) -> bool:
    """Whether a node multiplies data with a constant."""
    node = flow.nodes[index]
    if not has_weights(node.op_type) or category(node.op_type) is not Category.COMPUTE:
        return False
    return any(_is_constant(flow, value) for value in weights_of(node))


def _scales(flow: Flow, index: int) -> bool:
    return flow.nodes[index].op_type != "Mul" or sum(flow.kind[maker] >= Kind.DATA for maker in flow.before[index]) < 3


def _other_is_constant(flow: Flow, index: int, data: int) -> bool:
    made = set(flow.nodes[data].outputs)
    return all(value in made or _is_constant(flow, value) for value in flow.nodes[index].inputs if value)


def _is_constant(flow: Flow, value: str, deep: int = _CARRIED) -> bool:
    """Whether ``value`` is a constant, or a weight: as it is, cast, moved or dequantised."""
    maker = flow.graph.producer(value)
    if maker is None:
        return flow.is_weight(value)
    if flow.kind[flow.position[maker.id]] == Kind.CONSTANT:
        return True
    if deep == 0 or category(maker.op_type) not in CARRIERS:
        return False
    return all(_is_constant(flow, each, deep - 1) for each in maker.inputs if each)


def _is_data(flow: Flow, index: int) -> bool:
    """Whether a node makes data, and not a weight that is named."""
    return flow.kind[index] >= Kind.DATA and not all(
        _is_constant(flow, value) for value in flow.nodes[index].outputs[:1]
    )


def recurrent_without_names(flow: Flow, paths: list[str | None], recurrent: frozenset[str]) -> list[int]:
    """Open recurrent operators."""
    found: list[int] = []
    for index, node in enumerate(flow.nodes):
        if paths[index] is None and node.op_type in recurrent:
            found.append(index)
    return found


def behind_recurrent(flow: Flow, paths: list[str | None], index: int) -> list[int]:
    """Open nodes that only give a recurrent operator's result its shape."""
    shaping = ("Squeeze", "Transpose", "Reshape")
    return [reader for reader in flow.after[index] if paths[reader] is None and flow.nodes[reader].op_type in shaping]


def only_moves(flow: Flow, paths: list[str | None], path: str) -> bool:
    """Whether no node that is placed in ``path`` computes anything: what it is made for is among the open nodes."""
    return all(
        category(node.op_type) is not Category.COMPUTE
        and not any(_is_constant(flow, value) for value in weights_of(node) if node.op_type not in _CHAIN)
        for node, placed in zip(flow.nodes, paths, strict=True)
        if placed == path
    )
