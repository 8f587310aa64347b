"""The unified exporter at its documented import path."""

from modelexport.frontend.unified.exporter import EXPORTER_OPTIONS as EXPORTER_OPTIONS
from modelexport.frontend.unified.exporter import UnifiedExporter as UnifiedExporter
from modelexport.frontend.unified.exporter import export_model as export_model
from modelexport.frontend.unified.exporter import file_size as file_size
from modelexport.frontend.unified.selection import ExportStrategy as ExportStrategy
