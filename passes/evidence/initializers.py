"""Initializers of the main graph as arrays, one at a time, inline or external."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from modelexport.ir.model import Model
from modelexport.ir.node import text

Array = npt.NDArray[Any]
_EXTERNAL = onnx.TensorProto.EXTERNAL


class Initializers:
    """Access by name. External data is mapped into memory, never read as a whole."""

    def __init__(self, model: Model) -> None:
        self.base = model.base_dir
        proto = model.main.proto
        tensors = proto.initializer if isinstance(proto, onnx.GraphProto) else ()
        self._tensors: dict[str, onnx.TensorProto] = {text(tensor.name): tensor for tensor in tensors}

    def __contains__(self, name: object) -> bool:
        return name in self._tensors

    def __iter__(self) -> Any:
        return iter(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        """Dimensions of an initializer."""
        return tuple(self._tensors[name].dims)

    def small(self, name: str, limit: int) -> onnx.TensorProto | None:
        """The tensor itself if it is inline and has at most ``limit`` bytes, or has a type NumPy lacks."""
        tensor = self._tensors[name]
        if tensor.data_location == _EXTERNAL:
            return None
        return tensor if tensor.ByteSize() <= limit or _is_exotic(tensor) else None

    def array(self, name: str) -> Array:
        """The values. Raises ValueError where they can't be read."""
        tensor = self._tensors[name]
        if tensor.data_location != _EXTERNAL:
            return onnx.numpy_helper.to_array(tensor)
        return self._mapped(tensor)

    def get(self, name: str) -> Array | None:
        """The values as a numeric array; None where they can't be read."""
        try:
            array = self.array(name)
        except (ValueError, OSError, TypeError):
            return None
        return array if array.dtype.kind in "biufc" else array.astype(np.float32) if array.dtype.kind == "V" else None

    def _mapped(self, tensor: onnx.TensorProto) -> Array:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = Path(entries.get("location", ""))
        if self.base is None or location.is_absolute() or ".." in location.parts:
            raise ValueError(f"external data of {tensor.name!r} is out of reach")
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))
        shape = tuple(tensor.dims)
        if not all(shape):
            return np.zeros(shape, dtype)
        offset = int(entries.get("offset", 0))
        return np.memmap(self.base / location, dtype, "r", offset, shape)


def _is_exotic(tensor: onnx.TensorProto) -> bool:
    try:
        return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)).kind not in "biufc"
    except KeyError:
        return True
