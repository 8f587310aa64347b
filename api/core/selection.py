"""Select nodes of a model by the modules they are from.

from modelexport.core.selection import select
chosen = select("model.onnx", "path:encoder.layer.[0-3] and op:MatMul")
quantize_dynamic("model.onnx", "q.onnx", nodes_to_exclude=chosen.names)
"""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from typing import Any

from modelexport.ir.errors import NothingSelectedError, SelectorError
from modelexport.ir.model import Model
from modelexport.passes.pipeline.attributed import attribute, attributed_model
from modelexport.passes.selection import formats
from modelexport.passes.selection import selection as passes_selection
from modelexport.passes.selection.selection import Selector

__all__ = ["NothingSelectedError", "Selection", "Selector", "SelectorError", "select"]


@dataclass(frozen=True)
class Selection(passes_selection.Selection):
    """The selected nodes of one model, in file order.

    Attributes:
        model: the model they are from.
        nodes: the nodes, at every depth.
        text: the selector, as it was given.
    """

    text: str = ""

    def to(self, form: str, *, include: bool = False, precision: str = "fp32") -> Any:
        """The selection as another tool reads it: what ``modelexport select --format`` prints, before it is JSON.

        Args:
            form: ``names``, ``modules``, ``values``, ``weights``, ``json``, ``ort``, ``olive``, ``nncf``,
                ``modelopt``, ``aimet``, ``tensorrt`` or ``block-list``.
            include: with ``ort`` and ``olive``: nodes to quantise and not those to leave out.
            precision: with ``tensorrt``: ``fp32``, ``fp16`` or ``int8``.

        Raises:
            ConfigError: there is no such format.
            NamelessError: the format knows nodes by name, and a selected node has none of its own.
        """
        return formats.formatted(self, form, include=include, precision=precision, text=self.text)


def select(model: str | PathLike[str] | Model, *selectors: str | Selector, allow_empty: bool = False) -> Selection:
    """Nodes that one of the selectors matches, in file order.

    Args:
        model: a file or a model in memory. One without tags is attributed first, in memory.
        allow_empty: whether a selector may match nothing.

    Raises:
        SelectorError: a selector does not parse, or (a NothingSelectedError) matches nothing.
        InputError: the file can't be read.
    """
    if not selectors:
        raise SelectorError("give at least one selector")
    found = attribute(model) if isinstance(model, Model) else attributed_model(model)
    chosen = passes_selection.select(found, selectors, allow_empty=allow_empty)
    return Selection(chosen.model, chosen.nodes, " or ".join(map(str, selectors)))
