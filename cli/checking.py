"""onnx.checker on a model that may have data in other files."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelexport.ir.model import Model


def check_model(model: Model) -> str:
    """What onnx.checker says of ``model`` as it would be written; "" when it accepts it."""
    import onnx

    from modelexport.ir.io.writer import to_bytes

    data = to_bytes(model)
    with contextlib.ExitStack() as stack:
        if model.base_dir is not None:  # where references to external data are relative to
            stack.enter_context(contextlib.chdir(os.fspath(model.base_dir)))
        try:
            onnx.checker.check_model(data)
        except (onnx.checker.ValidationError, ValueError) as error:
            return " ".join(str(error).split())
    return ""
