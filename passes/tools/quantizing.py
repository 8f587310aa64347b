"""What the quantisers share: the nodes to quantise or to leave out, and the types of numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from modelexport.passes.selection.options import check_selector
from modelexport.passes.tools.base import ToolPass


@dataclass(frozen=True)
class Quantizing(ToolPass):
    """Base of onnxruntime's quantisers. ``names_for`` has the tool's names for ``include`` and ``exclude``."""

    package: ClassVar[str] = "onnxruntime"
    module: ClassVar[str] = "onnxruntime"
    extra: ClassVar[str] = "ort"
    names_for: ClassVar[dict[str, str]] = {"include": "nodes_to_quantize", "exclude": "nodes_to_exclude"}

    def __post_init__(self) -> None:
        for option in ("include", "exclude"):
            check_selector(option, getattr(self, option))

    def selectors(self) -> dict[str, str]:
        """``include`` and ``exclude``."""
        texts = {option: getattr(self, option) for option in ("include", "exclude")}
        return {option: text for option, text in texts.items() if text is not None}

    def tool_options(self, names: dict[str, list[str]]) -> dict[str, Any]:
        """Arguments of the tool."""
        options = self.given_options()
        options.update((self.names_for[option], nodes) for option, nodes in names.items())
        for key in ("weight_type", "activation_type"):
            if key in options:
                options[key] = _kind(options[key])
        return options


def _kind(name: str) -> Any:
    from onnxruntime.quantization import QuantType  # type: ignore[import-untyped]

    return {"qint8": QuantType.QInt8, "quint8": QuantType.QUInt8}[name]
