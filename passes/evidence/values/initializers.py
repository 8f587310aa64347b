"""Initializers of the main graph, or of a body, as arrays, one at a time, inline or external."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import onnx

from modelexport.ir.arrays import Array
from modelexport.ir.errors import InputError
from modelexport.ir.graph import Graph
from modelexport.ir.io.weights import EXTERNAL, Weights
from modelexport.ir.model import Model


class Initializers:
    """Access by name. External data is mapped into memory, never read as a whole.

    Args:
        graph: the graph that sees them; the main graph unless given.
    """

    def __init__(self, model: Model, graph: Graph | None = None) -> None:
        self._weights, self._graph = Weights(model), graph or model.main

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._weights.find(self._graph, name) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self._graph.initializers)

    def small(self, name: str, limit: int) -> onnx.TensorProto | None:
        """The tensor itself if it is inline and sure to have at most ``limit`` bytes, or has a type NumPy lacks."""
        tensor = self._weights.find(self._graph, name)
        if not isinstance(tensor, onnx.TensorProto) or tensor.data_location == EXTERNAL:
            return None
        return tensor if 8 * math.prod(tensor.dims) <= limit or _is_exotic(tensor) else None

    def array(self, name: str) -> Array:
        """The values. Raises ValueError where they can't be read."""
        try:
            return self._weights.read(self._graph, name)
        except InputError as error:
            raise ValueError(str(error)) from error

    def get(self, name: str) -> Array | None:
        """The values as a numeric array (half-width brain floats and smaller as float32); None where unreadable."""
        try:
            array = self.array(name)
            return array if array.dtype.kind in "biufc" else array.astype(np.float32)
        except (ValueError, TypeError):
            return None


def _is_exotic(tensor: onnx.TensorProto) -> bool:
    try:
        return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)).kind not in "biufc"
    except KeyError:
        return True
