"""The main exporter under its documented import path."""

from modelexport.frontend.exporter import HierarchyExporter as HierarchyExporter
