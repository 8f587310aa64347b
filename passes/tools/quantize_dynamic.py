"""quantize-dynamic: integer weights, activations quantised as they come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import onnx
import onnx.helper

from modelexport.passes.running.named_copy import nodes_of
from modelexport.passes.selection.split_nodes import with_products
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

        proto = onnx.load(given.file(), load_external_data=False) if given.large else given.proto
        options = self.tool_options({option: _meant(proto, chosen) for option, chosen in names.items()})
        if given.large:
            options["use_external_data_format"] = True
        quantize_dynamic(given.file(), given.target(), **options)
        return given.result()


def _meant(proto: onnx.ModelProto, names: list[str]) -> list[str]:
    chosen = set(names)
    return with_products(
        (
            node.name,
            node.op_type,
            node.domain,
            {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute},
        )
        for node in nodes_of(proto.graph)
        if node.name in chosen
    )
