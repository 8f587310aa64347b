"""How element types are spelled."""

from __future__ import annotations

import onnx


def dtype_text(number: int) -> str:
    """NumPy's name of an element type, ONNX's in lower case where NumPy has none; "" where it is not known."""
    if not number or number not in onnx.TensorProto.DataType.values():
        return ""
    name = str(onnx.TensorProto.DataType.Name(number)).lower()
    return {"float": "float32", "double": "float64"}.get(name, name)
