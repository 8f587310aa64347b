"""The main exporter under its documented import path."""

from modelexport.frontend.export.exporter import HierarchyExporter as HierarchyExporter
