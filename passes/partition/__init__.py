"""Pieces of a model: its modules cut out, or a chain of stages."""

if __name__ != "modelexport.passes.partition":
    raise ImportError(f"import this package as modelexport.passes.partition, not as {__name__}")

from modelexport.passes.partition.extraction import extract as extract
from modelexport.passes.partition.stages import split as split
