"""onnx's shape inference, and all the ways in which it may refuse a model."""

from __future__ import annotations

import onnx
import onnx.checker
import onnx.shape_inference

_REFUSALS = (onnx.shape_inference.InferenceError, onnx.checker.ValidationError, RuntimeError, ValueError, TypeError)


def inferred_copy(proto: onnx.ModelProto, *, data_prop: bool = True) -> tuple[onnx.ModelProto | None, str]:
    """A copy with the shapes that onnx finds; (None, why in one line) where it can't read the model.

    Args:
        proto: the model; large weights are best left out.
        data_prop: follow the values of shapes as well.
    """
    try:
        return onnx.shape_inference.infer_shapes(proto, data_prop=data_prop), ""
    except _REFUSALS as error:
        return None, f"onnx's shape inference failed: {' '.join(str(error).split())[:200]}"
