"""What a naming scheme has to say of one name.

A package adds schemes with entry points of the group ``modelexport.schemes``: the name is the scheme's name, the object
a subclass of :class:`Scheme`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

MAX_NAME, MAX_DEPTH = 8192, 64
HELPER, WEIGHT, ORDER, OPERATION = (
    "helper",
    "weight",
    "order",
    "operation",
)  # what a rule ends in where a node's own name doesn't say it


class Scope(NamedTuple):
    """What one name says.

    Attributes:
        atoms: names of the modules from the outermost to the innermost; none for the outermost code itself.
        operator: what the name calls the operator itself, its number included; ``""`` where it doesn't.
        helper: whether the converter made the node to help another, whose name this is.
    """

    atoms: tuple[str, ...]
    operator: str
    helper: bool = False


class Scheme(ABC):
    """How one kind of exporter spells modules. A scheme reads single names and knows nothing of graphs.

    Attributes:
        name: the rule of its tags is ``scheme-<name>``.
        operators: whether its names end in the operator, so that names that fit no operator speak against it. Where
            they don't, the scheme is only taken where the names of weights fit it.
        closed: whether only what owns weights is a module.
        values: whether names of values are named like those of nodes.
    """

    name: ClassVar[str]
    operators: ClassVar[bool] = True
    closed: ClassVar[bool] = False
    values: ClassVar[bool] = True

    @abstractmethod
    def scope(self, name: str, op_type: str) -> Scope | None:
        """The scope in the name of a node or value that an operator of type ``op_type`` makes; None without one."""

    def weight(self, name: str) -> tuple[str, ...] | None:
        """All atoms that come before a weight's own name, or None. Not all of them need to be modules."""
        return None

    def is_made(self, name: str) -> bool:
        """Whether the converter made a value or weight of this name itself, so that it says nothing either way."""
        return False

    def is_inside(self, name: str) -> bool:
        """Whether the converter named a value so inside of one operation of the framework."""
        return False

    def is_inner(self, atom: str) -> bool:
        """Whether ``atom`` at the end of a scope is a function of the framework and no module."""
        return False

    def fits(self, atoms: tuple[str, ...], node: str, value: str) -> bool:
        """Whether a node of this name, that makes this value, can compute with a weight of the module ``atoms``."""
        return True

    def after(self, name: str, op_type: str) -> Scope | None:
        """The scope of an operator without a name of its own, of this type, right after the node called ``name``."""
        return None

    def order(self, name: str) -> Scope | None:
        """The module that a value may be from by its number among its like, where no weight names it; a guess."""
        return None
