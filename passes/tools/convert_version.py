"""convert-version: another version of the default operators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import onnx
import onnx.defs

from modelexport.passes.tools.base import ToolPass
from modelexport.passes.tools.handover import Handover, require


@dataclass(frozen=True)
class ConvertVersion(ToolPass):
    """Convert the model to another opset (``onnx.version_converter`` or ``onnxscript.version_converter``).

    Attributes:
        opset: version of the default operators to convert to.
        engine: whose converter; onnxscript's needs the extra of that name.
    """

    name: ClassVar[str] = "convert-version"
    package: ClassVar[str] = "onnx"
    module: ClassVar[str] = "onnx"
    extra: ClassVar[str] = "onnxscript"

    opset: int
    engine: Literal["onnx", "onnxscript"] = "onnx"

    def __post_init__(self) -> None:
        if self.opset < 1:
            raise ValueError(f"opset={self.opset} is below 1")
        newest = onnx.defs.onnx_opset_version()
        if self.opset > newest:
            raise ValueError(f"opset={self.opset} is above {newest}, the newest that onnx {onnx.__version__} knows")

    def check_ready(self) -> None:
        """Raises MissingExtraError where the engine is not installed."""
        if self.engine == "onnxscript":
            require("onnxscript", "onnxscript", self.extra, f"{self.name} with engine=onnxscript")

    def tool(self) -> str:
        """The engine."""
        return self.engine

    def apply(self, given: Handover, names: dict[str, list[str]]) -> onnx.ModelProto:
        """See the class."""
        proto = given.without_data()
        if self.engine == "onnx":
            import onnx.version_converter

            made: onnx.ModelProto = onnx.version_converter.convert_version(proto, self.opset)
            return made
        from onnxscript import version_converter

        version_converter.convert_version(proto, self.opset)
        return proto
