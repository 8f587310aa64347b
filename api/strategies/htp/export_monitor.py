"""The export monitor at its documented import path."""

from modelexport.frontend.monitor import HTPConsoleWriter as HTPConsoleWriter
from modelexport.frontend.monitor import HTPExportData as HTPExportData
from modelexport.frontend.monitor import HTPExportMonitor as HTPExportMonitor
from modelexport.frontend.monitor import HTPExportStep as HTPExportStep
from modelexport.frontend.monitor import HTPMetadataWriter as HTPMetadataWriter
from modelexport.frontend.monitor import HTPReportWriter as HTPReportWriter
from modelexport.frontend.monitor import ModuleInfo as ModuleInfo
from modelexport.frontend.monitor import StepAwareWriter as StepAwareWriter
