"""Which nn.Module is each ONNX operator from, and how do we know?

``modelexport.HierarchyExporter``, ``modelexport.export_model`` and ``modelexport.tagging`` are imported on first use,
so that ``import modelexport`` is quick and works without torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if __name__ != "modelexport":  # from the root of a checkout the folder's own name would import a second copy
    raise ImportError(f"import this package as modelexport, not as {__name__}")

if TYPE_CHECKING:
    from modelexport.frontend.clients.context import tagging as tagging
    from modelexport.strategies.htp.htp_hierarchy_exporter import HierarchyExporter as HierarchyExporter
    from modelexport.unified_export import ExportStrategy as ExportStrategy
    from modelexport.unified_export import UnifiedExporter as UnifiedExporter
    from modelexport.unified_export import export_model as export_model

_HOMES = {
    "HierarchyExporter": "modelexport.strategies.htp.htp_hierarchy_exporter",
    "ExportStrategy": "modelexport.unified_export",
    "UnifiedExporter": "modelexport.unified_export",
    "export_model": "modelexport.unified_export",
    "tagging": "modelexport.frontend.clients.context",
}
__all__ = ["ExportStrategy", "HierarchyExporter", "UnifiedExporter", "__version__", "export_model", "tagging"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("modelexport")
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'modelexport' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
