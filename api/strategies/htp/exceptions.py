"""The errors of an export, and everything below ``ModelExportError``, under their documented import path."""

from modelexport.ir.errors import AuxiliaryOperationError as AuxiliaryOperationError
from modelexport.ir.errors import ConfigError as ConfigError
from modelexport.ir.errors import ContextInheritanceError as ContextInheritanceError
from modelexport.ir.errors import CoverageValidationError as CoverageValidationError
from modelexport.ir.errors import ExportError as ExportError
from modelexport.ir.errors import GraphError as GraphError
from modelexport.ir.errors import InputError as InputError
from modelexport.ir.errors import MemoryLimitExceeded as MemoryLimitExceeded
from modelexport.ir.errors import MissingExtraError as MissingExtraError
from modelexport.ir.errors import MissingFileError as MissingFileError
from modelexport.ir.errors import MissingFolderError as MissingFolderError
from modelexport.ir.errors import ModelExportError as ModelExportError
from modelexport.ir.errors import OutputError as OutputError
from modelexport.ir.errors import PassError as PassError
from modelexport.ir.errors import PipelineError as PipelineError
from modelexport.ir.errors import TaggingError as TaggingError
from modelexport.ir.errors import TaggingWarning as TaggingWarning
from modelexport.ir.errors import VerifyError as VerifyError
