"""The selector language: which nodes a text selects."""

if __name__ != "modelexport.passes.selection":
    raise ImportError(f"import this package as modelexport.passes.selection, not as {__name__}")

from modelexport.passes.selection.selection import Selection, Selector, select

__all__ = ["Selection", "Selector", "select"]
