"""The base of our parameter types, on every supported click."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING or hasattr(click.ParamType, "__class_getitem__"):
    ParamType = click.ParamType
else:

    class ParamType(click.ParamType):
        """A click whose parameter types are not generic at run time: the type in brackets is for type checkers."""

        def __class_getitem__(cls, item: Any) -> type[ParamType]:
            return cls
