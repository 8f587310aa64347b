"""ort-transformers: onnxruntime's optimiser of transformer models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx

from modelexport.ir.errors import ConfigError
from modelexport.passes.tools.base import ToolPass
from modelexport.passes.tools.handover import Handover


@dataclass(frozen=True)
class OrtTransformers(ToolPass):
    """Fuse the operators of known kinds of models (``onnxruntime.transformers.optimizer.optimize_model``).

    Attributes:
        model_type: kind of model whose fusions are tried.
        num_heads: number of heads; 0 lets the tool find it.
        hidden_size: hidden size; 0 lets the tool find it.
        opt_level: level of onnxruntime's own optimisations before; 0 is none.
    """

    name: ClassVar[str] = "ort-transformers"
    package: ClassVar[str] = "onnxruntime"
    module: ClassVar[str] = "onnxruntime"
    extra: ClassVar[str] = "ort"
    signature: ClassVar[str] = "onnxruntime.transformers.optimizer:optimize_model"
    arguments: ClassVar[dict[str, str]] = {
        "model_type": "model_type",
        "num_heads": "num_heads",
        "hidden_size": "hidden_size",
        "opt_level": "opt_level",
    }

    model_type: str | None = None
    num_heads: int | None = None
    hidden_size: int | None = None
    opt_level: int | None = None

    def apply(self, given: Handover, names: dict[str, list[str]]) -> onnx.ModelProto:
        """See the class."""
        from onnxruntime.transformers.optimizer import MODEL_TYPES, optimize_model  # type: ignore[import-untyped]

        if self.model_type is not None and self.model_type not in MODEL_TYPES:  # onnxruntime would do nothing
            known = ", ".join(sorted(MODEL_TYPES))
            raise ConfigError(f"{self.name}: model-type {self.model_type!r} is unknown to onnxruntime; it has: {known}")
        made: onnx.ModelProto = optimize_model(given.file(), **self.given_options()).model
        return made
