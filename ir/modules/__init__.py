"""The modules a model is made of: one module, the table of them, and their tags."""

if __name__ != "modelexport.ir.modules":  # from the root the folder's own name imports a second copy
    raise ImportError(f"import this package as modelexport.ir.modules, not as {__name__}")

from modelexport.ir.modules.module import Module as Module
from modelexport.ir.modules.table import ModuleTable as ModuleTable
from modelexport.ir.modules.table import common_path as common_path
