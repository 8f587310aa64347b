"""Results over a model that change nothing: what its modules cost, take and get wrong.

    from modelexport.analysis import cost

    print(cost("m.onnx").total["macs"])

Names are imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if __name__ != "modelexport.analysis":  # from the root of a checkout the folder's own name would import a second copy
    raise ImportError(f"import this package as modelexport.analysis, not as {__name__}")

if TYPE_CHECKING:
    from modelexport.analysis.costing.report import cost as cost
    from modelexport.analysis.difference.report import diff_models as diff_models
    from modelexport.analysis.divergence.report import compare_values as compare_values
    from modelexport.analysis.profiling.report import profile as profile

_HOMES = {
    "compare_values": "modelexport.analysis.divergence.report",
    "cost": "modelexport.analysis.costing.report",
    "diff_models": "modelexport.analysis.difference.report",
    "profile": "modelexport.analysis.profiling.report",
}
__all__ = ["compare_values", "cost", "diff_models", "profile"]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'modelexport.analysis' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
