"""Passes over a model, and pipelines of them.

    from modelexport.ir import load_model
    from modelexport.passes import PassManager, Pipeline

    PassManager(Pipeline.parse("htp")).run(load_model("m.onnx"))

Names are imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if __name__ != "modelexport.passes":  # from the root of a checkout the folder's own name would import a second copy
    raise ImportError(f"import this package as modelexport.passes, not as {__name__}")

if TYPE_CHECKING:
    from modelexport.ir.errors import PassError as PassError
    from modelexport.ir.facts import Fact as Fact
    from modelexport.passes import testing as testing
    from modelexport.passes.pipeline.base import Pass as Pass
    from modelexport.passes.pipeline.base import PassContext as PassContext
    from modelexport.passes.pipeline.base import PassResult as PassResult
    from modelexport.passes.pipeline.manager import PassManager as PassManager
    from modelexport.passes.pipeline.text import Pipeline as Pipeline

_HOMES = {
    "Fact": "modelexport.ir.facts",
    "Pass": "modelexport.passes.pipeline.base",
    "PassContext": "modelexport.passes.pipeline.base",
    "PassError": "modelexport.ir.errors",
    "PassManager": "modelexport.passes.pipeline.manager",
    "PassResult": "modelexport.passes.pipeline.base",
    "Pipeline": "modelexport.passes.pipeline.text",
}
__all__ = ["Fact", "Pass", "PassContext", "PassError", "PassManager", "PassResult", "Pipeline", "testing"]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name == "testing":
        return import_module("modelexport.passes.testing")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'modelexport.passes' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
