"""Operators: the one table that says what kind of work each does, and their definitions in the installed onnx."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import onnx
import onnx.defs

from modelexport.ir.text import is_utf8


class Category(StrEnum):
    """What an operator does, seen from the module that owns it."""

    CONSTANT = "constant"  # makes a value from nothing
    SHAPE = "shape"  # reads or makes shapes
    CAST = "cast"  # changes the element type only
    MOVEMENT = "movement"  # moves, selects or compares elements without arithmetic
    QUANTIZE = "quantize"  # goes between float and integer representations
    CONTROL = "control"  # has a body
    COMPUTE = "compute"


CARRIERS = (Category.CAST, Category.MOVEMENT, Category.QUANTIZE)  # what they make of a weight is still that weight

_TABLE: dict[Category, str] = {
    Category.CONSTANT: "Constant",
    Category.SHAPE: "Shape Size ConstantOfShape NonZero Range",
    Category.CAST: "Cast CastLike",
    Category.MOVEMENT: (
        "Reshape Transpose Squeeze Unsqueeze Concat Expand Flatten Identity Slice Gather GatherElements GatherND "
        "Where Equal Split Tile Pad ScatterElements ScatterND Scatter Compress DepthToSpace SpaceToDepth Trilu "
        "SplitToSequence SequenceConstruct SequenceAt SequenceInsert ConcatFromSequence SequenceEmpty "
        "SequenceErase SequenceLength OneHot EyeLike Unique Greater Less GreaterOrEqual LessOrEqual And Or Not "
        "ReorderInput ReorderOutput"
    ),
    Category.QUANTIZE: "QuantizeLinear DequantizeLinear DynamicQuantizeLinear",
    Category.CONTROL: "If Loop Scan SequenceMap",
}
_RANDOM = frozenset(
    [
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
        "Bernoulli",
        "Multinomial",
        "BitmaskDropout",
        "BiasDropout",
        "BitmaskBiasDropout",
        "Sampling",
    ]
)
_BY_OP: dict[str, Category] = {op: category for category, ops in _TABLE.items() for op in ops.split()}


def category(op_type: str, domain: str = "") -> Category:
    """Category of an operator; operators this table does not list compute. The domain does not matter here."""
    return _BY_OP.get(op_type, Category.COMPUTE)


def role(op_type: str, domain: str = "") -> str:
    """``auxiliary`` for constants, shapes, casts and data movement; ``compute`` for everything else."""
    auxiliary = (Category.CONSTANT, Category.SHAPE, Category.CAST, Category.MOVEMENT)
    return "auxiliary" if category(op_type, domain) in auxiliary else "compute"


def draws_random(op_type: str, inputs: Sequence[str]) -> bool:
    """Whether an operator's values differ from run to run: it draws random numbers, or drops out as in training."""
    return op_type in _RANDOM or (op_type == "Dropout" and len(inputs) > 2 and bool(inputs[2]))


def definition(op_type: str, domain: str = "", opset: int | None = None) -> onnx.defs.OpSchema | None:
    """The definition of an operator; None where onnx has none, as for names that are no text.

    Args:
        op_type: the operator.
        domain: its domain; ``ai.onnx`` is ``""``.
        opset: the version of the domain that it is used in; onnx's newest unless given.
    """
    domain = "" if domain == "ai.onnx" else domain
    if not (is_utf8(op_type) and is_utf8(domain)):
        return None
    try:
        if opset is None:
            return onnx.defs.get_schema(op_type, domain)
        return onnx.defs.get_schema(op_type, opset, domain)
    except onnx.defs.SchemaError:
        return None
