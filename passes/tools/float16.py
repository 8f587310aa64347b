"""float16: half precision, but for what a selector keeps in float."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx

from modelexport.passes.selection.options import check_selector
from modelexport.passes.tools.base import ToolPass
from modelexport.passes.tools.handover import Handover


@dataclass(frozen=True)
class Float16(ToolPass):
    """Convert floats to half precision (``onnxruntime.transformers.float16.convert_float_to_float16``).

    Attributes:
        keep_io: whether inputs and outputs stay in float.
        block: selector of the nodes that stay in float (``node_block_list``).
        block_ops: operators that stay in float, instead of the tool's own list.
    """

    name: ClassVar[str] = "float16"
    package: ClassVar[str] = "onnxruntime"
    module: ClassVar[str] = "onnxruntime"
    extra: ClassVar[str] = "ort"
    signature: ClassVar[str] = "onnxruntime.transformers.float16:convert_float_to_float16"
    arguments: ClassVar[dict[str, str]] = {"keep_io": "keep_io_types", "block_ops": "op_block_list"}

    keep_io: bool | None = None
    block: str | None = None
    block_ops: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_selector("block", self.block)

    def selectors(self) -> dict[str, str]:
        """``block``."""
        return {"block": self.block} if self.block is not None else {}

    def apply(self, given: Handover, names: dict[str, list[str]]) -> onnx.ModelProto:
        """See the class."""
        from onnxruntime.transformers.float16 import convert_float_to_float16  # type: ignore[import-untyped]

        options = self.given_options()
        if "block" in names:
            options["node_block_list"] = names["block"]
        made: onnx.ModelProto = convert_float_to_float16(given.given(), **options)
        return made
