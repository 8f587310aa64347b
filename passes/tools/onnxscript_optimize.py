"""onnxscript-optimize: onnxscript's optimiser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx

from modelexport.passes.tools.base import ToolPass
from modelexport.passes.tools.handover import Handover


@dataclass(frozen=True)
class OnnxscriptOptimize(ToolPass):
    """Fold constants and rewrite patterns with onnxscript (``onnxscript.optimizer.optimize``).

    Attributes:
        inline: whether local functions are inlined first.
    """

    name: ClassVar[str] = "onnxscript-optimize"
    package: ClassVar[str] = "onnxscript"
    module: ClassVar[str] = "onnxscript"
    extra: ClassVar[str] = "onnxscript"
    signature: ClassVar[str] = "onnxscript.optimizer:optimize"
    arguments: ClassVar[dict[str, str]] = {"inline": "inline"}

    inline: bool | None = None

    def apply(self, given: Handover, names: dict[str, list[str]]) -> onnx.ModelProto:
        """See the class."""
        from onnxscript import optimizer

        made: onnx.ModelProto = optimizer.optimize(given.proto, **self.given_options())
        return made
