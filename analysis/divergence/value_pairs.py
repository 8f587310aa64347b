"""Which values of two graphs are the same value."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import onnx

from modelexport.ir.arrays import Array
from modelexport.ir.errors import InputError
from modelexport.ir.model import Model
from modelexport.ir.text import shown
from modelexport.passes.running.inputs import InputInfo, model_inputs, numpy_type

# What quantisers append to the name of a value whose quantised and dequantised form stands for it.
_SPELLED = re.compile(
    r"(?P<value>.+?)(?:_convert)?(?:_DequantizeLinear_Output|_DequantizeLinear|_dequantized)(?:_\d+)?"
)


def same_names(reference: Model, candidate: Model) -> dict[str, str]:
    """Values of the candidate's main graph by name, each with the reference's value that it should be.

    Both are made by a node. A value that a quantiser dequantised again counts as the value it was made of. Then the
    value itself does not where another operator makes it: a quantiser takes away an activation that the limits of the
    quantised numbers stand for, and gives its name to what goes in. Else 35 activations of a MobileNetV2 are wrong.
    """
    makers = {value: node for node in reference.main.nodes for value in node.outputs if value}
    found: dict[str, str] = {}
    dequantised: set[str] = set()
    for node in candidate.main.nodes:
        for value in node.outputs:
            if value in makers:
                found[value] = value
            elif value and (spelled := _SPELLED.fullmatch(value)) and spelled["value"] in makers:
                found[value] = spelled["value"]
                dequantised.add(spelled["value"])
    for value in dequantised.intersection(found):
        maker, readers = candidate.main.producer(value), candidate.main.consumers(value)
        is_other = maker is not None and maker.op_type != makers[value].op_type
        if is_other and all(reader.op_type == "QuantizeLinear" for reader in readers):
            del found[value]
    return found


def candidate_feeds(reference: Model, candidate: Model, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The reference's inputs as inputs of the candidate: by name, else by position; floats as its float type.

    Raises:
        InputError: the inputs of the two don't correspond.
    """
    mine, theirs = model_inputs(reference), model_inputs(candidate)
    names = {info.name for info in mine}
    if any(info.name not in names for info in theirs) and len(mine) != len(theirs):
        listed = [", ".join(shown(info.name) for info in infos) or "none" for infos in (mine, theirs)]
        raise InputError(f"the inputs don't correspond: the reference has {listed[0]}; the candidate has {listed[1]}")
    found: dict[str, Array] = {}
    for position, info in enumerate(theirs):
        source = info.name if info.name in names else mine[position].name
        found[info.name] = fitted(arrays[source], info)
    return found


def fitted(array: Array, info: InputInfo) -> Array:
    """An array as the element type that an input asks for; floats become other floats, and integers other integers.

    Raises:
        InputError: there is no such conversion, or the shape does not fit.
    """
    if info.dims is not None and (
        len(info.dims) != array.ndim
        or any(isinstance(d, int) and d != n for d, n in zip(info.dims, array.shape, strict=True))
    ):
        raise InputError(f"the candidate's input {shown(info.name)!r} does not take the shape {list(array.shape)}")
    if info.elem_type == onnx.TensorProto.BFLOAT16:
        if array.dtype.itemsize == 2 and array.dtype.kind in "uV":
            return array
        bits = np.ascontiguousarray(array, np.float32).reshape(array.shape).view(np.uint32)
        return ((bits + 0x7FFF + ((bits >> np.uint32(16)) & 1)) >> np.uint32(16)).astype(np.uint16)
    if not info.elem_type or info.elem_type == onnx.TensorProto.STRING:
        return array
    dtype = numpy_type(info.elem_type)
    if dtype is None:
        raise InputError(f"the candidate's input {shown(info.name)!r} has an element type that ONNX does not have")
    if dtype == array.dtype:
        return array
    if any(dtype.kind in kinds and array.dtype.kind in kinds for kinds in ("f", "iu")):
        return array.astype(dtype)
    raise InputError(f"the candidate's input {shown(info.name)!r} is {dtype}, the reference's {array.dtype}")


def output_pairs(reference: Sequence[str], candidate: Sequence[str]) -> list[tuple[str, str]]:
    """Outputs of the two graphs: by name, else by position where there are as many."""
    known = set(reference)
    if all(name in known for name in candidate):
        return [(name, name) for name in candidate]
    if len(reference) == len(candidate):
        return list(zip(reference, candidate, strict=True))
    return [(name, name) for name in candidate if name in known]
