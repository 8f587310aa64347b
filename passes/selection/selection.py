"""Selectors, and what they select in a model."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, groupby
from operator import attrgetter

from modelexport.ir.errors import NothingSelectedError
from modelexport.ir.identity.keys import node_keys
from modelexport.ir.model import Model
from modelexport.ir.node import Node
from modelexport.ir.state import ModelState
from modelexport.passes.selection.nearest import hint
from modelexport.passes.selection.terms import Lookup, Test, chosen, compiled, is_initializer
from modelexport.passes.selection.text import Expression, parse, terms_of


@dataclass(frozen=True)
class Selector:
    """A question about nodes. ``str()`` is text that parses to an equal selector."""

    expression: Expression
    _prepared: dict[str, tuple[weakref.ref[ModelState], Lookup, Test]] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )

    @classmethod
    def parse(cls, text: str) -> Selector:
        """The selector that ``text`` spells. Raises SelectorError, which locates the fault."""
        return cls(parse(text))

    def __str__(self) -> str:
        return str(self.expression)

    def matches(self, node: Node) -> bool:
        """Whether ``node`` is selected, as it is attributed now."""
        return self.test(node.graph.model)(node)

    def test(self, model: ModelState) -> Test:
        """The test of nodes of ``model``; made once for as long as its module table stays as it is."""
        prepared = self._prepared.get("last")
        if prepared is not None and prepared[0]() is model and prepared[1].fits(model):
            return prepared[2]
        lookup = Lookup(model)
        test = compiled(self.expression, lookup)
        self._prepared["last"] = weakref.ref(model), lookup, test
        return test


@dataclass(frozen=True)
class Selection:
    """The selected nodes of one model, in file order.

    Attributes:
        model: the model they are from.
        nodes: the nodes, at every depth.
    """

    model: Model
    nodes: tuple[Node, ...]

    def __len__(self) -> int:
        return len(self.nodes)

    @property
    def names(self) -> list[str]:
        """Node names; of a node without one its key (see :func:`modelexport.ir.identity.keys.node_keys`)."""
        if all(node.name for node in self.nodes):
            return [node.name for node in self.nodes]
        return [node.name or key for node, key in zip(self.nodes, self.keys, strict=True)]

    @property
    def keys(self) -> list[str]:
        """Keys of the nodes, as sidecars have them."""
        selected = set(self.nodes)
        return [key for key, node in node_keys(self.model) if node in selected]

    @property
    def modules(self) -> list[str]:
        """Paths of the modules the nodes are from, each once; ``""`` is the root."""
        return list(dict.fromkeys(node.attribution.path for node in self.nodes if node.attribution is not None))

    @property
    def values(self) -> list[str]:
        """Values that the nodes make, each once."""
        return list(filter(None, dict.fromkeys(chain.from_iterable(map(attrgetter("outputs"), self.nodes)))))

    @property
    def weights(self) -> list[str]:
        """Initializers that the nodes read, each once."""
        found: dict[str, None] = {}
        for scope, nodes in groupby(self.nodes, attrgetter("graph")):
            if scope.owner is None:  # nothing from around it, so values can be looked up at once
                read = chain.from_iterable(map(attrgetter("inputs"), nodes))
                found.update(dict.fromkeys(filter(scope.initializers_set.__contains__, read)))
            else:
                inner = ((node, value) for node in nodes for value in node.inputs if value)
                found.update(dict.fromkeys(value for node, value in inner if is_initializer(node, value)))
        return list(found)


def select(model: Model, selectors: Sequence[Selector | str], *, allow_empty: bool = False) -> Selection:
    """Nodes that one of the selectors matches.

    Raises:
        SelectorError: a text does not parse.
        NothingSelectedError: a selector matches nothing, and that is not allowed.
    """
    texts = [str(selector) for selector in selectors]
    parsed = [selector if isinstance(selector, Selector) else Selector.parse(selector) for selector in selectors]
    nodes = [node for graph in model.graphs() for node in graph.nodes]
    lookup = Lookup(model)
    found = [chosen(selector.expression, lookup, nodes) for selector in parsed]
    if not allow_empty:
        unknown = [term for each in parsed for term in terms_of(each.expression) if term.key in ("class", "of")]
        if unknown and not lookup.knows_classes:
            asked = _quoted(str(unknown[0]))
            raise NothingSelectedError(f"no class of a module is recorded in this model, which {asked} asks for")
        for text, selector, matched in zip(texts, parsed, found, strict=True):
            if not matched:
                raise NothingSelectedError(f"no node matches {_quoted(text)}{hint(selector.expression, model)}")
    if len(found) == 1:
        return Selection(model, tuple(found[0]))
    either = {node for matched in found for node in matched}
    return Selection(model, tuple(node for node in nodes if node in either))


def _quoted(text: str) -> str:
    return f"'{text}'" if len(text) <= 200 else f"'{text[:200]}...'"
