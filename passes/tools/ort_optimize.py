"""ort-optimize: onnxruntime's own graph optimisations, written to the file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import onnx

from modelexport.passes.tools.base import ToolPass
from modelexport.passes.tools.handover import Handover

_INITIALIZERS = "session.optimized_model_external_initializers"
Level = Literal["extended", "basic", "layout", "all"]


@dataclass(frozen=True)
class OrtOptimize(ToolPass):
    """Optimise as onnxruntime does when it opens the model on the CPU (``optimized_model_filepath``).

    Attributes:
        level: how much is optimised; ``layout`` and ``all`` fit the machine that the pass runs on.
        disable: optimisers of onnxruntime to leave out (``disabled_optimizers``).
    """

    name: ClassVar[str] = "ort-optimize"
    package: ClassVar[str] = "onnxruntime"
    module: ClassVar[str] = "onnxruntime"
    extra: ClassVar[str] = "ort"

    level: Level | None = None
    disable: tuple[str, ...] = ()

    def apply(self, given: Handover, names: dict[str, list[str]]) -> onnx.ModelProto:
        """See the class."""
        import onnxruntime  # type: ignore[import-untyped]

        options = onnxruntime.SessionOptions()
        if self.level is not None:
            level = f"ORT_ENABLE_{self.level.upper()}"
            options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
        options.optimized_model_filepath = given.target()
        if given.large:
            options.add_session_config_entry(f"{_INITIALIZERS}_file_name", "result.onnx.data")
            options.add_session_config_entry(f"{_INITIALIZERS}_min_size_in_bytes", "1024")
        more = {"disabled_optimizers": list(self.disable)} if self.disable else {}
        onnxruntime.InferenceSession(given.file(), options, providers=["CPUExecutionProvider"], **more)
        made = given.result()
        for tensor in made.graph.initializer if given.large else ():
            if not tensor.doc_string:  # an empty one is written for external data only
                tensor.ClearField("doc_string")
        return made
