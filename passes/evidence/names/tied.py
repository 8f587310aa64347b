"""Matrices that a lookup and a product share: torch.export calls them after the product's module."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

from modelexport.ir.graph import Graph
from modelexport.ir.node import Node
from modelexport.ir.operators import CARRIERS, category
from modelexport.passes.evidence.names.parameters import Weights

_PRODUCTS = ("MatMul", "Gemm")
_TRUNK = 0.6  # of the modules that own parameters


def borrowed(
    graph: Graph, owner: Mapping[str, str], weights: Weights, segments: Collection[str] = ()
) -> dict[Node, Node | None]:
    """Lookups in a matrix that is called after a product's module, with a product that has a copy without a name.

    A head and an embedding with one weight: its name is the last under which the model has it. Where most modules are
    in one, as blocks and embedding are, and the name is outside of that, it is the head's; the lookup is of a module
    that no name tells. Without it 2 nodes of each language model from torch.export are wrong at 0.98: of 15,428 tags of
    18 models after optimisers 85 sure ones are wrong, 46 with it. ``segments`` are those of several models in one file.
    """
    found: dict[Node, Node | None] = {}
    lookups = [node for node in graph.nodes if node.op_type == "Gather" and node.attribution is None]
    trunks: dict[str, str | None] = {}  # by segment
    copies: dict[tuple[object, ...], list[str]] | None = None  # looked for where there is such a lookup
    taken: set[Node] = set()
    for node in lookups:
        name = next(iter(node.inputs), "")
        if name not in owner or name not in graph.initializers_set:
            continue
        segment, _, inner = owner[name].partition(".")
        start, inner = (f"{segment}.", inner) if segment in segments else ("", owner[name])
        if start not in trunks:
            trunks[start] = _trunk(owner, start)
        if trunks[start] in (None, inner.partition(".")[0]):
            continue
        if any(_computes(reader) for reader in graph.consumers(name) if reader is not node):
            found[node] = None
            continue
        if copies is None:
            copies = weights.first_columns(other for other in graph.initializers if other not in owner)
        for other in copies.get(weights.first_row(name), ()):
            readers = graph.consumers(other)
            products = [reader for reader in readers if reader.op_type in _PRODUCTS and other in reader.inputs[1:2]]
            if products and products[0] not in taken:  # a model may be in the file twice
                found[node] = products[0]
                taken.add(products[0])
                break
    return found


def _trunk(owner: Mapping[str, str], start: str) -> str | None:
    """The module that most modules with parameters are in, of those whose paths begin with ``start``; None without."""
    owners = {each[len(start) :] for each in owner.values() if each.startswith(start)}
    tops = Counter(each.partition(".")[0] for each in owners if "." in each)
    top, count = tops.most_common(1)[0] if tops else (None, 0)
    return top if count >= _TRUNK * len(owners) else None


def _computes(node: Node) -> bool:
    """Whether ``node``, or what only carries its value on, is a product."""
    if node.op_type in _PRODUCTS:
        return True
    carries = category(node.op_type) in CARRIERS
    return carries and any(
        reader.op_type in _PRODUCTS for value in node.outputs if value for reader in node.graph.consumers(value)
    )
