"""The base of our parameter types, on every supported click, and those that several commands take."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING or hasattr(click.ParamType, "__class_getitem__"):
    ParamType = click.ParamType
else:

    class ParamType(click.ParamType):
        """A click whose parameter types are not generic at run time: the type in brackets is for type checkers."""

        def __class_getitem__(cls, item: Any) -> type[ParamType]:
            return cls


class Tolerance(ParamType[float]):
    """A number that is not negative."""

    name = "X"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            number = float(value)
        except ValueError:
            self.fail(f"{value!r} is no number", param, ctx)
        if not (math.isfinite(number) and number >= 0):
            self.fail(f"{value!r}: a tolerance is a number from 0", param, ctx)
        return number
