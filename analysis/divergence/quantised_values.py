"""Values that a candidate holds as integers with a scale and a zero point, beside or instead of the floats."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from modelexport.ir.arrays import Array
from modelexport.ir.model import Model
from modelexport.ir.node import Node
from modelexport.ir.operators import Category, category
from modelexport.passes.evidence.values.initializers import Initializers

# What onnxruntime's quantiser, and its fusions of quantisers around an operator, append to a value's name.
_SPELLED = re.compile(r"(?P<value>.+?)(?:_quantized|_QuantizeLinear_Output)(?:_\d+)?")
_KEEP_SCALE = ("MaxPool", "Resize", "Upsample")  # besides what only moves elements
_LIMITS = ("Relu", "Clip")  # activations that the limits of quantised numbers stand for


@dataclass(frozen=True, slots=True)
class QuantisedForm:
    """How integers stand for a value of the reference: ``(integers - zero) * scale``."""

    name: str
    scale: float
    zero: int

    def numbers(self, integers: Array) -> Array:
        """What integers stand for, as float32."""
        return ((integers.astype(np.int64) - self.zero) * self.scale).astype(np.float32)

    def integers(self, numbers: Array, dtype: np.dtype[np.integer]) -> Array:
        """The integers that stand for numbers, as QuantizeLinear makes them."""
        limits = np.iinfo(dtype)
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = np.rint(numbers.astype(np.float64) / self.scale) + self.zero
        return np.asarray(np.clip(np.nan_to_num(scaled, nan=self.zero), limits.min, limits.max)).astype(dtype)


def quantised_forms(reference: Model, candidate: Model) -> dict[str, QuantisedForm]:
    """Values of the candidate's main graph that operators on quantised numbers make, by name.

    Without them such operators read from each other what was wrong before: in a QOperator model of T5, all 6 blocks
    behind one whose scores are lost are 23 % wrong, too, where each by itself is 1 % wrong.
    """
    makers = {value: node for node in reference.main.nodes for value in node.outputs if value}
    weights = Initializers(candidate)
    found: dict[str, QuantisedForm] = {}
    for node in candidate.main.nodes:
        if category(node.op_type) in (Category.QUANTIZE, Category.CONSTANT):
            continue  # what is quantised here is compared as float
        for value in node.outputs:
            spelled = _SPELLED.fullmatch(value) if value not in makers else None
            if spelled is None or spelled["value"] not in makers:
                continue
            scaling = _scaling(candidate, weights, value)
            if scaling is not None:
                found[value] = QuantisedForm(_behind_limits(reference, candidate, spelled["value"]), *scaling)
    return found


def _scaling(candidate: Model, weights: Initializers, value: str) -> tuple[float, int] | None:
    """Scale and zero point of a value, as an operator says that reads it; None where none does, or for each channel."""
    for reader, slot in _readers(candidate, value):
        scale, zero = (weights.get(name) if name else None for name in _following(reader, slot))
        if scale is not None and scale.size == 1 and (zero is None or zero.size == 1):
            return float(scale.reshape(())), 0 if zero is None else int(zero.reshape(()))
    return None


def _readers(candidate: Model, value: str) -> Iterator[tuple[Node, int]]:
    """Operators on quantised numbers that read a value, and at which place; also behind what keeps its scale."""
    waiting, seen = [value], {value}
    while waiting:
        value = waiting.pop(0)
        for node in candidate.main.consumers(value):
            if node.op_type.startswith("QLinear") or node.op_type in ("DequantizeLinear", "QGemm"):
                yield node, node.inputs.index(value)
            elif category(node.op_type) is Category.MOVEMENT or node.op_type in _KEEP_SCALE:
                waiting += [output for output in node.outputs if output and output not in seen]
                seen.update(node.outputs)


def _following(node: Node, slot: int) -> tuple[str, str]:
    """The scale and the zero point, which all such operators take after the value."""
    inputs = [*node.inputs, "", ""]
    return inputs[slot + 1], inputs[slot + 2]


def _behind_limits(reference: Model, candidate: Model, name: str) -> str:
    """The value behind an activation that the candidate has no operator for: its integers are already limited."""
    while True:
        readers = reference.main.consumers(name)
        if len(readers) != 1 or readers[0].op_type not in _LIMITS or name in reference.main.outputs:
            return name
        result = readers[0].outputs[0]
        made = candidate.main.producer(result) or candidate.main.producer(f"{result}_quantized")
        if made is not None and made.op_type in _LIMITS:
            return name
        name = result
