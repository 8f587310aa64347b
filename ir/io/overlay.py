"""The proto that is written: the source itself, or where structure was edited a copy with the edits in it."""

from __future__ import annotations

import onnx

from modelexport.ir.io.patches import apply_patches
from modelexport.ir.model import Model


def assemble(model: Model) -> onnx.ModelProto:
    """The proto of ``model`` as it is to be written; not to be edited."""
    apply_patches(model)
    return model.proto
