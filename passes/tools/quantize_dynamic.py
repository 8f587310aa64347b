"""quantize-dynamic: integer weights, activations quantised as they come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import onnx

from modelexport.passes.tools.handover import Handover
from modelexport.passes.tools.quantizing import Quantizing


@dataclass(frozen=True)
class QuantizeDynamic(Quantizing):
    """Quantise weights, and activations at run time (``onnxruntime.quantization.quantize_dynamic``).

    Attributes:
        weight_type: type of the quantised weights.
        per_channel: whether each channel has its own scale.
        reduce_range: whether weights have 7 bits, for processors without VNNI.
        ops: operators to quantise.
        include: selector of the only nodes to quantise.
        exclude: selector of the nodes to leave in float.
    """

    name: ClassVar[str] = "quantize-dynamic"
    signature: ClassVar[str] = "onnxruntime.quantization:quantize_dynamic"
    arguments: ClassVar[dict[str, str]] = {
        "weight_type": "weight_type",
        "per_channel": "per_channel",
        "reduce_range": "reduce_range",
        "ops": "op_types_to_quantize",
    }

    weight_type: Literal["qint8", "quint8"] | None = None
    per_channel: bool | None = None
    reduce_range: bool | None = None
    ops: tuple[str, ...] = ()
    include: str | None = None
    exclude: str | None = None

    def apply(self, given: Handover, names: dict[str, list[str]]) -> onnx.ModelProto:
        """See the class."""
        from onnxruntime.quantization import quantize_dynamic  # type: ignore[import-untyped]

        options = self.tool_options(names)
        if given.large:
            options["use_external_data_format"] = True
        quantize_dynamic(given.file(), given.target(), **options)
        return given.result()
