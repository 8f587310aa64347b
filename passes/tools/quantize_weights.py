"""quantize-weights: weights of matrix products in blocks of few bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import onnx

from modelexport.passes.tools.handover import Handover
from modelexport.passes.tools.quantizing import Quantizing

_BLOCKS = (16, 32, 64, 128, 256)  # those that onnxruntime has kernels for


@dataclass(frozen=True)
class QuantizeWeights(Quantizing):
    """Quantise the weights of matrix products by blocks (``MatMulNBitsQuantizer`` of onnxruntime).

    Attributes:
        bits: bits of a weight.
        block_size: weights that share a scale: 16, 32, 64, 128 or 256.
        symmetric: whether there is no zero point.
        accuracy_level: type that products are computed in, 0 to 4; the runtime's choice unless given.
        include: selector of the only nodes to quantise.
        exclude: selector of the nodes to leave in float.
    """

    name: ClassVar[str] = "quantize-weights"
    signature: ClassVar[str] = "onnxruntime.quantization.matmul_nbits_quantizer:MatMulNBitsQuantizer"
    arguments: ClassVar[dict[str, str]] = {
        "bits": "bits",
        "block_size": "block_size",
        "symmetric": "is_symmetric",
        "accuracy_level": "accuracy_level",
    }
    names_for: ClassVar[dict[str, str]] = {"include": "nodes_to_include", "exclude": "nodes_to_exclude"}

    bits: Literal["4", "8"] | None = None
    block_size: int | None = None
    symmetric: bool | None = None
    accuracy_level: int | None = None
    include: str | None = None
    exclude: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.block_size is not None and self.block_size not in _BLOCKS:
            raise ValueError(f"block_size={self.block_size} is none of {', '.join(map(str, _BLOCKS))}")
        if self.accuracy_level is not None and not 0 <= self.accuracy_level <= 4:
            raise ValueError(f"accuracy_level={self.accuracy_level} is not 0 to 4")

    def apply(self, given: Handover, names: dict[str, list[str]]) -> onnx.ModelProto:
        """See the class."""
        from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer  # type: ignore[import-untyped]

        options = self.tool_options(names)
        if "bits" in options:
            options["bits"] = int(options["bits"])
        quantizer = MatMulNBitsQuantizer(given.given(), **options)
        quantizer.process()
        made: onnx.ModelProto = quantizer.model.model
        return made
