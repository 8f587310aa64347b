"""onnxslim: OnnxSlim's simplifications."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx

from modelexport.passes.tools.base import ToolPass
from modelexport.passes.tools.handover import Handover


@dataclass(frozen=True)
class Onnxslim(ToolPass):
    """Fold constants, remove what is not needed and fuse patterns with OnnxSlim (``onnxslim.slim``).

    Attributes:
        skip_fusion: fusion patterns to leave out.
        shape_infer: whether OnnxSlim infers shapes.
    """

    name: ClassVar[str] = "onnxslim"
    package: ClassVar[str] = "onnxslim"
    module: ClassVar[str] = "onnxslim"
    extra: ClassVar[str] = "slim"

    skip_fusion: tuple[str, ...] = ()
    shape_infer: bool | None = None

    def apply(self, given: Handover, names: dict[str, list[str]]) -> onnx.ModelProto:
        """See the class."""
        import onnxslim  # type: ignore[import-untyped]

        options: dict[str, object] = {}
        if self.skip_fusion:
            options["skip_fusion_patterns"] = list(self.skip_fusion)
        if self.shape_infer is not None:
            options["no_shape_infer"] = not self.shape_infer
        made: onnx.ModelProto = onnxslim.slim(given.given(), **options)
        return made
