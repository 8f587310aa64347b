"""What graphs, bodies and functions give out, and where it comes from: also what no node of theirs makes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from modelexport.analysis.difference.align import Alignment
from modelexport.analysis.difference.dtypes import dtype_text
from modelexport.analysis.difference.sources import Constant, Given, Made, Side, Source
from modelexport.ir.node import Node
from modelexport.ir.scope import Scope
from modelexport.ir.text import readable, text


@dataclass(frozen=True, slots=True)
class Result:
    """One result of two aligned scopes.

    Attributes:
        place: position among the results of the first scope.
        name: its name there.
        x, y: where it comes from on either side.
    """

    one: Scope
    place: int
    name: str
    x: Source
    y: Source

    def differs(self, found: Alignment) -> bool:
        """Whether it comes from elsewhere. A change of the node that makes it, or of a constant, is not meant."""
        return found.same_source(self.x, self.y) is False

    @property
    def key(self) -> tuple[str, str]:
        """What and which it is in the rows of the model."""
        if self.one.kind == "main":
            return "output", readable(self.name)
        domain, name, overload = (text(getattr(self.one.proto, part)) for part in ("domain", "name", "overload"))
        return "function", readable(f"{domain}::{name}" + (f":{overload}" if overload else ""))

    @property
    def texts(self) -> tuple[str, str]:
        """Both sources for people."""
        place = "" if self.one.kind == "main" else f"result {self.place} is "
        return place + _told(self.x), place + _told(self.y)


def results(a: Side, b: Side, found: Alignment) -> Iterator[Result]:
    """Results that both of two aligned scopes have: of the main graph by name, of bodies and functions by position."""
    for one, other in found.scopes:
        theirs = other.outputs
        if one.kind == "main":
            there = set(theirs)
            pairs = [(place, name, name) for place, name in enumerate(one.outputs) if name in there]
        else:
            pairs = [(place, *names) for place, names in enumerate(zip(one.outputs, theirs, strict=False))]
        for place, name, its in pairs:
            yield Result(one, place, name, a.source(one, name), b.source(other, its))


def rewired(given_out: Iterable[Result], found: Alignment) -> dict[Node, dict[str, tuple[str, str]]]:
    """Results of bodies that come from elsewhere, by the node that owns the body and the attribute that it is."""
    told: dict[Node, dict[str, tuple[str, str]]] = {}
    for result in given_out:
        owner, label = result.one.owner, readable(result.one.label)
        if owner is not None and result.differs(found):
            of_owner = told.setdefault(owner, {})
            so_far = of_owner.get(label)
            x, y = result.texts
            of_owner[label] = (x, y) if so_far is None else (f"{so_far[0]}; {x}", f"{so_far[1]}; {y}")
    return told


def _told(source: Source) -> str:
    if isinstance(source, Made):
        node = source.node
        return f"output {source.slot} of {node.op_type} {readable(node.name or node.first_output)}"
    if isinstance(source, Constant):
        return f"a constant {dtype_text(source.dtype)}[{','.join(map(str, source.shape))}]"
    if isinstance(source, Given):
        return f"input {source.key}"
    return "nothing"
