"""The type of an array whose element type is known at run time only."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
import onnx

Array = npt.NDArray[Any]


def is_element_type(number: int) -> bool:
    """Whether ``number`` is one of ONNX's element types."""
    return bool(number) and number in onnx.TensorProto.DataType.values()
