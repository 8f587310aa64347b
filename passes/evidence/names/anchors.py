"""Nodes that a parameter's name places: whoever computes with ``encoder.query.weight`` is in ``encoder.query``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Set

from modelexport.ir.attribution import Source
from modelexport.ir.graph import Graph
from modelexport.ir.node import Node
from modelexport.ir.operators import CARRIERS, Category, category
from modelexport.passes.evidence.names.parameters import ParameterIndex
from modelexport.passes.evidence.names.slots import RECURRENT, controls, made_from

INITIALIZER, SHARED, FUNCTIONAL = "initializer-name", "initializer-shared", "initializer-parent"
SEVERAL, PACKED = "initializer-several", "initializer-packed"
_SCALING = ("Mul", "Sub", "Div")  # of a weight by its scale and zero point
_GAP = 5  # numbers that are looked at beside an item of a list
_PACKING = ("in_proj_weight", "in_proj_bias")  # one parameter for three products, which its module makes itself
_NUMBERS = re.compile(r"\d+")
_LOOKED_THROUGH = 64  # values between a node and its weight: casts, transposes, dequantisation


def anchors(graph: Graph, parameters: ParameterIndex) -> Iterator[tuple[Node, str, str]]:
    """Nodes of ``graph`` with the path that their parameters' names give, and the rule.

    A parameter also counts where it comes through casts, transposes and dequantisation of nothing but parameters. One
    that several nodes read places them less surely (``SHARED``): it may have been several modules' before equal
    parameters were merged.
    """
    owner = parameters.owner
    constant: dict[str, str] = {name: owner.get(name, "") for name in graph.initializers}
    if graph.kind == "function":
        constant.update((name, owner[name]) for name in graph.inputs if name in owner)
    several: set[str] = set()  # made of weights of several modules
    axes: set[str] = set()  # counted up from constants, as torch.export does for the weights of a GroupNorm
    cut: dict[str, str] = {}  # made of weights, as bounds say that are computed
    packing: frozenset[str] | None = None
    shared = {name for name in constant if name in owner and _is_shared(graph, name)}
    for node in graph.nodes:
        if not (
            graph.kind == "body"
            or node.op_type in ("Range", "Identity")
            or not constant.keys().isdisjoint(node.inputs)
            or not cut.keys().isdisjoint(node.inputs)
            or category(node.op_type) is Category.CONSTANT
        ):
            continue  # nothing that a weight goes into
        inputs = [value for value in made_from(node) if value]
        if graph.kind == "body":  # parameters of the graphs around it
            outer = (value for value in inputs if value not in constant and graph.producer(value) is None)
            constant.update((value, owner[value]) for value in outer if value in owner)
        hows = controls(node)
        owners = [constant[value] for value in inputs if constant.get(value) and value not in hows]
        kind = category(node.op_type)
        carries = kind in CARRIERS or node.op_type in _SCALING
        if node.op_type == "Range" and all(value in constant for value in inputs):
            axes.update(node.outputs)
        if node.op_type == "Unsqueeze" and axes:
            inputs = [value for value in inputs if value not in axes or value not in hows]
        if inputs and carries and all(value in constant for value in inputs):
            # An unnamed copy of a parameter that others read too is of an equal parameter that was merged into it.
            chief = "" if node.op_type == "Identity" and len(graph.consumers(inputs[0])) > 1 else _chief(owners)
            constant.update((value, owner.get(value, chief)) for value in node.outputs if value)
            same = inputs if node.op_type == "Gather" else [value for value in inputs if value not in hows]
            if not shared.isdisjoint(same) or any(_is_shared(graph, value) for value in node.outputs if value):
                shared.update(node.outputs)
        elif carries and (data := [value for value in inputs if value not in hows]):
            if all(value in constant or value in cut for value in data):
                parts = [path for value in data if (path := constant.get(value) or cut.get(value))]
                cut.update((value, _chief(parts)) for value in node.outputs if value)
        elif node.op_type in RECURRENT:
            # torch.export puts the gates in ONNX's order by bounds that it computes. Worth 11 points of stripped graphs
            # on stacked, 12 on speech and reader, 4 on recurrent; not for other readers, which lose 40 tags of bert.
            owners += [cut[value] for value in inputs if cut.get(value)]
        elif kind is Category.CONSTANT:
            constant.update((value, owner.get(value, "")) for value in node.outputs if value)
            if node.first_output in owner:
                yield node, owner[node.first_output], INITIALIZER
        if node.op_type == "Identity":  # a copy of a merged initializer; what it is called says whose it is
            if node.first_output in owner:
                yield node, owner[node.first_output], INITIALIZER
            continue
        if not owners:
            continue
        # What nobody else reads is the node's own; the rest may be called after whoever had an equal parameter.
        own = [constant[value] for value in inputs if constant.get(value) and value not in hows and value not in shared]
        path = _chief(own or owners)
        if node.op_type == "Gemm" and path.rpartition(".")[2] == "out_proj":
            packing = _packing(owner) if packing is None else packing
            if _NUMBERS.sub("0", path.rpartition(".")[0]) in packing:
                yield node, path.rpartition(".")[0], PACKED
                continue
        if _is_functional(node, constant):
            yield node, path.rpartition(".")[0], FUNCTIONAL
        elif _has_activation(node):
            yield node, _following(path, parameters.known), FUNCTIONAL
        elif not several.isdisjoint(inputs) or (node.op_type == "Concat" and _is_tie(owners)):
            several.update(node.outputs)
            yield node, path, SEVERAL
        elif all(value in shared for value in inputs if constant.get(value) == path):
            yield node, path, SHARED
        else:
            yield node, path, INITIALIZER


def weights_read(node: Node, parameters: ParameterIndex, path: str) -> tuple[str, ...]:
    """Names of the parameters that place ``node`` at or above ``path``, else of what they come through."""
    graph = node.graph
    owned = [value for value in node.inputs if parameters.owner.get(value) == path]
    owned += [value for value in node.outputs if parameters.owner.get(value) == path]
    if owned:
        return tuple(owned)
    found: dict[str, None] = {}
    waiting = [value for value in node.inputs if value]
    seen: set[str] = set()
    while waiting and len(seen) < _LOOKED_THROUGH:
        value = waiting.pop()
        if value in seen:
            continue
        seen.add(value)
        maker = graph.producer(value)
        if value in parameters.owner:
            found[value] = None
        elif maker is not None and category(maker.op_type) in CARRIERS:
            waiting += filter(None, maker.inputs)
    return tuple(found) or tuple(filter(None, node.inputs))


def _is_shared(graph: Graph, value: str) -> bool:
    """Whether several nodes compute with ``value``."""
    return sum(reader.op_type != "Identity" for reader in graph.consumers(value)) > 1


def is_used_above(node: Node, path: str) -> bool:
    """Whether ``node`` copies a parameter of ``path`` for nodes that are all on record as a module above it.

    Such a module computes with its child's parameters itself, and the copy is part of that.
    """
    if node.op_type != "Identity":
        return False
    readers = [reader for value in node.outputs for reader in node.graph.consumers(value)]
    paths = {reader.attribution.path if reader.attribution is not None else path for reader in readers}
    return len(paths) == 1 and all(path != above and (not above or path.startswith(above + ".")) for above in paths)


def is_read_elsewhere(node: Node, path: str) -> bool:
    """Whether ``node`` only carries a weight of ``path``, for nodes that are all on record elsewhere.

    Exporters merge equal weights under the first owner's name; what a tool then puts before each reader, such as a
    DequantizeLinear, is the reader's.
    """
    if category(node.op_type) not in CARRIERS:
        return False
    readers = [reader.attribution for value in node.outputs for reader in node.graph.consumers(value)]
    return bool(readers) and all(
        held is not None and held.source in (Source.SCOPE, Source.REFERENCE) and not _are_related(held.path, path)
        for held in readers
    )


def _are_related(one: str, other: str) -> bool:
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.") or not (one and other)


def _chief(owners: list[str]) -> str:
    """The owner of most parameters; of several, that of the last: weights are tied more often than biases."""
    counts = Counter(owners)
    most = max(counts.values(), default=0)
    return next((path for path in reversed(owners) if counts[path] == most), "")


def _packing(owner: Mapping[str, str]) -> frozenset[str]:
    """The modules with one packed parameter for the products of their inputs, numbers as ``0``.

    torch's own makes the product of its output with the weight of its child ``out_proj`` too, in two dimensions (Gemm),
    and doesn't call the child. Right for 62 of 62 tags of the benchmark's ``encoder``, ``hearer``, ``recurrent`` and
    ``siglip``; without it 336 of 5,507 more are wrong there, as what lies around goes with it. A module of the like may
    have lost the name of its parameter to an equal one.
    """
    return frozenset(_NUMBERS.sub("0", path) for name, path in owner.items() if name.rpartition(".")[2] in _PACKING)


def _is_tie(owners: list[str]) -> bool:
    """Whether a node joins weights of several modules, as many of one as of another."""
    counts = Counter(owners).most_common(2)
    return len(counts) > 1 and counts[0][1] == counts[1][1]


def _is_functional(node: Node, constant: dict[str, str]) -> bool:
    """Whether the parameter is used by other code than its module's own: a weight on the left of a product is."""
    if node.op_type not in ("MatMul", "FusedMatMul"):
        return False
    return bool(constant.get(node.inputs[0])) and not any(constant.get(value) for value in node.inputs[1:2])


def _has_activation(node: Node) -> bool:
    """Whether an activation was fused into ``node``: it is from where that activation is."""
    if node.domain in ("", "ai.onnx"):
        return False
    return node.op_type.endswith("Gelu") or any(attribute.name == "activation" for attribute in node.attribute_protos())


def _following(path: str, known: Set[str]) -> str:
    """Where an activation is from that follows the module ``path``: its parent, as far as that is no list of numbers.

    In a list that leaves out numbers, as modules without parameters do, it is the next item. Worth 216 right tags of
    field and 38 of clicks, plain and without names.
    """
    head, _, atom = path.rpartition(".")
    if not atom.isdecimal():
        return head
    number = int(atom)
    near = {0, *(step for step in range(-_GAP, _GAP + 1) if f"{head}.{number + step}".lstrip(".") in known)}
    if 1 not in near and (max(near) > 1 or (-1 not in near and min(near) < -1)):
        return f"{head}.{number + 1}".lstrip(".")
    while atom.isdecimal():
        head, _, atom = head.rpartition(".")
    return head
