"""drop-value-info: let go of the shapes that the file has for inner values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from modelexport.ir.model import Model
from modelexport.passes.pipeline.base import Pass, PassContext, PassResult


@dataclass(frozen=True)
class DropValueInfo(Pass):
    """Remove ``value_info`` of the main graph and of bodies: types and shapes that every runtime infers again.

    Exporters leave stale ones, which onnxruntime's quantisers refuse (``Inferred shape and existing shape differ``).
    """

    name: ClassVar[str] = "drop-value-info"
    metadata_only: ClassVar[bool] = False

    def run(self, model: Model, ctx: PassContext) -> PassResult:
        """See the class. Attributions and tags stay."""
        dropped = sum(graph.forget_shapes() for graph in model.graphs() if graph.kind != "function")
        return PassResult(structure_changed=dropped > 0, notes={"dropped": dropped})
