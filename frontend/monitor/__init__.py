"""The export monitor: watch an export, keep its record, hand over a report."""

if (
    __name__ != "modelexport.frontend.monitor"
):  # from the root of a checkout the folder's own name would import a second copy
    raise ImportError(f"import this package as modelexport.frontend.monitor, not as {__name__}")

from modelexport.frontend.monitor.config import MonitorConfig as MonitorConfig
from modelexport.frontend.monitor.data import HTPExportData as HTPExportData
from modelexport.frontend.monitor.data import HTPExportStep as HTPExportStep
from modelexport.frontend.monitor.data import ModuleInfo as ModuleInfo
from modelexport.frontend.monitor.data import NodeInfo as NodeInfo
from modelexport.frontend.monitor.metadata import HTPMetadataWriter as HTPMetadataWriter
from modelexport.frontend.monitor.monitor import HTPExportMonitor as HTPExportMonitor
from modelexport.frontend.monitor.report import HTPReportWriter as HTPReportWriter
from modelexport.frontend.monitor.screen.console import HTPConsoleWriter as HTPConsoleWriter
from modelexport.frontend.monitor.writers import StepAwareWriter as StepAwareWriter
