"""The nodes between a value and the compared values before it: their modules, and how precisely they compute."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from modelexport.ir.model import Model
from modelexport.ir.node import Node
from modelexport.ir.operators import Category, category

# Relative errors that are no fault (CHOSEN in docs/compute.md; noise of onnxruntime's fusions is 5e-7).
FLOAT32, FLOAT16, BFLOAT16, QUANTISED, INTEGER = 1e-4, 1e-2, 4e-2, 5e-2, 0.0
_INTEGER_OPERATORS = (
    "MatMulInteger ConvInteger MatMulIntegerToFloat DynamicQuantizeMatMul DynamicQuantizeLSTM MatMulNBits QGemm "
    "QAttention QMoE GatherBlockQuantized QOrderedMatMul"
)
_INTEGER = frozenset(_INTEGER_OPERATORS.split())


class Segments:
    """Walks back from values of one main graph to the values that are compared."""

    def __init__(self, model: Model, compared: Collection[str]) -> None:
        self._graph = model.main
        self._compared = compared

    def nodes(self, value: str) -> list[Node]:
        """The maker of ``value``, and everything before it up to compared values; the maker first."""
        maker = self._graph.producer(value)
        if maker is None:
            return []
        found: dict[Node, None] = {}
        waiting = [maker]
        while waiting:
            node = waiting.pop()
            if node in found:
                continue
            found[node] = None
            for read in (*node.inputs, *node.captures):
                before = self._graph.producer(read)
                if before is not None and read not in self._compared:
                    waiting.append(before)
        return list(found)


def computed_kinds(model: Model, kinds: Mapping[str, str]) -> set[str]:
    """Element types that the nodes of a main graph compute in; one that values are only cast to and back is none."""
    carries = {Category.CAST, Category.MOVEMENT, Category.CONSTANT}
    return {
        kinds.get(name, "")
        for node in model.main.nodes
        if category(node.op_type) not in carries
        for name in node.outputs
    }


def tolerance(nodes: Sequence[Node], kinds: Mapping[str, str], value: str, computed: Collection[str]) -> float:
    """How large the error of ``value`` may be, by the least precise arithmetic of the nodes that lead to it.

    Args:
        nodes: the segment, as :meth:`Segments.nodes` gives it.
        kinds: element types of values as onnxruntime spells them, ``tensor(float16)``.
        computed: the types that the model computes in: a cast down and up in a model of float32 is a fault.
    """
    own = kinds.get(value, "")
    if any(is_integer_arithmetic(node) for node in nodes):
        return QUANTISED
    made = {kinds.get(name, "") for node in nodes for name in node.outputs}
    for kind, allowed in (("tensor(bfloat16)", BFLOAT16), ("tensor(float16)", FLOAT16)):
        if kind in made and (kind in computed or kind == own):
            return allowed
    if own in ("tensor(float)", "tensor(double)", "tensor(complex64)", "tensor(complex128)", ""):
        return FLOAT32
    return INTEGER


def is_integer_arithmetic(node: Node) -> bool:
    """Whether a node goes to or from quantised numbers, or computes with them."""
    return category(node.op_type) is Category.QUANTIZE or node.op_type in _INTEGER or node.op_type.startswith("QLinear")


def with_inner(nodes: Iterable[Node]) -> Iterator[Node]:
    """Nodes, each followed by those in its bodies."""
    for node in nodes:
        yield node
        for body in node.bodies:
            yield from with_inner(body.nodes)


def path_of(node: Node) -> str:
    """The module of a node; the root's for one without."""
    return node.attribution.path if node.attribution is not None else ""
