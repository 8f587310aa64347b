"""The graph of a model: read without loss, annotated or edited, and written back as it was but for that."""

if __name__ != "modelexport.ir":  # from the root of a checkout the folder's own name would import a second copy
    raise ImportError(f"import this package as modelexport.ir, not as {__name__}")

from modelexport.ir.attribution import Attribution as Attribution
from modelexport.ir.attribution import Source as Source
from modelexport.ir.graph import Graph as Graph
from modelexport.ir.io.reader import load_model as load_model
from modelexport.ir.io.writer import save_model as save_model
from modelexport.ir.model import Model as Model
from modelexport.ir.modules import Module as Module
from modelexport.ir.modules import ModuleTable as ModuleTable
from modelexport.ir.node import Node as Node
