"""The usage-based strategy at its documented import path."""

from modelexport.frontend.unified.usage_based import UsageBasedExporter as UsageBasedExporter
