"""Types of values: how they are spelled, and whether two descriptions contradict each other."""

from __future__ import annotations

import onnx

from modelexport.ir.text import text

_TENSORS = ("tensor_type", "sparse_tensor_type")


def dtype_text(number: int) -> str:
    """NumPy's name of an element type, ONNX's in lower case where NumPy has none; "" where it is not known."""
    if not number or number not in onnx.TensorProto.DataType.values():
        return ""
    name = str(onnx.TensorProto.DataType.Name(number)).lower()
    return {"float": "float32", "double": "float64"}.get(name, name)


def type_text(kind: onnx.TypeProto, *, shapes: bool = True) -> str:
    """``float32[2,batch]``, ``sequence(float32[2])``; unknown dimensions are ``?``, and a tensor of unknown rank has no
    brackets. Without ``shapes`` only element types are said."""
    which = str(kind.WhichOneof("value") or "")
    name = which.removesuffix("_type")
    if which in _TENSORS:
        dims = _dimensions(kind) if shapes else None
        told = "" if dims is None else f"[{','.join('?' if d is None else str(d) for d in dims)}]"
        told = dtype_text(getattr(kind, which).elem_type) + told
        return told if which == "tensor_type" else f"{name}({told})"
    if which in ("sequence_type", "optional_type"):
        inner = type_text(getattr(kind, which).elem_type, shapes=shapes)
        return f"{name}({inner})" if inner else name
    if which == "map_type":
        return f"map({dtype_text(kind.map_type.key_type)},{type_text(kind.map_type.value_type, shapes=shapes)})"
    return name


def types_differ(a: onnx.TypeProto, b: onnx.TypeProto) -> bool:
    """Whether two descriptions of one value contradict each other. Names of dimensions are free, as value names are."""
    which = a.WhichOneof("value")
    if which is None or b.WhichOneof("value") is None:
        return False
    if which != b.WhichOneof("value"):
        return True
    one, other = getattr(a, which), getattr(b, which)
    if which in ("sequence_type", "optional_type"):
        return types_differ(one.elem_type, other.elem_type)
    if which == "map_type":
        return bool(one.key_type != other.key_type) or types_differ(one.value_type, other.value_type)
    if which not in _TENSORS or not dtype_text(one.elem_type) or not dtype_text(other.elem_type):
        return False
    return dtype_text(one.elem_type) != dtype_text(other.elem_type) or _shapes_differ(_dimensions(a), _dimensions(b))


def _shapes_differ(one: list[int | str | None] | None, other: list[int | str | None] | None) -> bool:
    if one is None or other is None:
        return False
    if len(one) != len(other):
        return True
    return any(
        x is not None and y is not None and x != y and (isinstance(x, int) or isinstance(y, int))
        for x, y in zip(one, other, strict=True)
    )


def _dimensions(kind: onnx.TypeProto) -> list[int | str | None] | None:
    """Sizes, names and None of a tensor; None as a whole where the rank is unknown."""
    tensor = getattr(kind, str(kind.WhichOneof("value")))
    if not tensor.HasField("shape"):
        return None
    return [d.dim_value if d.HasField("dim_value") else text(d.dim_param) or None for d in tensor.shape.dim]
