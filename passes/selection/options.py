"""Selectors in the options of passes."""

from __future__ import annotations

from modelexport.ir.errors import ConfigError, NothingSelectedError, SelectorError
from modelexport.ir.model import Model
from modelexport.passes.selection.selection import Selection, Selector, select


def check_selector(option: str, text: str | None) -> None:
    """Raises ValueError for text that is no selector; meant for ``__post_init__``."""
    if text is not None:
        try:
            Selector.parse(text)
        except SelectorError as error:
            where = f" at column {error.column + 1}" if error.column is not None else ""
            raise ValueError(f"{option}: {error}{where}") from None


def selected(model: Model, name: str, option: str, text: str) -> Selection:
    """The nodes that the option of the pass ``name`` selects. Raises ConfigError where there are none."""
    try:
        return select(model, [text])
    except NothingSelectedError as error:
        raise ConfigError(f"{name}: {option}: {error}") from None
