"""What a term matches, decided once for every distinct text, path or attribution."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from modelexport.ir.modules import Module, ModuleTable
from modelexport.ir.node import Node
from modelexport.ir.operators import role
from modelexport.ir.state import ModelState
from modelexport.passes.selection.globs import glob, path_glob
from modelexport.passes.selection.text import Every, Expression, Not, Term

Test = Callable[[Node], bool]
TextTest = Callable[[str], bool]
_COMPARED: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
    ">=": operator.ge,
    ">": operator.gt,
}


class Lookup:
    """What a model's module table says, by path, for as long as the table stays as it is."""

    def __init__(self, model: ModelState) -> None:
        self.version = model.modules.version
        self._table = ModuleTable(model.modules)
        self._declared = frozenset(module.path for module in model.modules)

    def fits(self, model: ModelState) -> bool:
        """Whether the table has not changed since."""
        return self.version == model.modules.version

    def own_class(self, path: str) -> Module | None:
        """The module at ``path`` where its class is known."""
        module = self._table.get(path)
        return module if module is not None and module.class_name else None

    def classes(self, path: str) -> list[Module]:
        """Modules whose class is known from the root to ``path``."""
        atoms = path.split(".") if path else []
        prefixes = [".".join(atoms[:end]) for end in range(len(atoms) + 1)]
        return [module for prefix in prefixes if (module := self.own_class(prefix)) is not None]

    def depth(self, path: str) -> int:
        """Number of called modules above the one at ``path``."""
        count = 0
        above = self._table.parent(path)
        while above is not None:
            count += 1
            above = self._table.parent(above)
        return count

    def tag(self, path: str) -> str:
        """The tag of the module at ``path``."""
        return self._table.tag(path)

    @property
    def knows_classes(self) -> bool:
        """Whether the class of any module is known."""
        return any(self._table[path].class_name for path in self._declared)


@dataclass(frozen=True, slots=True)
class Question:
    """What a term asks: something about a node, and whether the answer is one that it matches.

    Attributes:
        about: what it asks of a node; None where that is not known.
        decide: whether an answer matches; asked once for each.
    """

    about: Callable[[Node], Any]
    decide: Callable[[Any], bool]


def compiled(expression: Expression, lookup: Lookup) -> Test:
    """A test of single nodes of the model that ``lookup`` is of."""
    if isinstance(expression, Term):
        question = question_of(expression, lookup)
        about, decide = question.about, remembered(question.decide)
        return lambda node: (answer := about(node)) is not None and decide(answer)
    if isinstance(expression, Not):
        part = compiled(expression.part, lookup)
        return lambda node: not part(node)
    parts = [compiled(part, lookup) for part in expression.parts]
    if isinstance(expression, Every):
        return lambda node: all(part(node) for part in parts)
    return lambda node: any(part(node) for part in parts)


def chosen(expression: Expression, lookup: Lookup, nodes: Sequence[Node]) -> list[Node]:
    """Those of ``nodes`` that the expression matches, in their order; what ``compiled`` says, for many nodes."""
    if isinstance(expression, Term):
        question = question_of(expression, lookup)
        answers = list(map(question.about, nodes))
        known = {answer: answer is not None and question.decide(answer) for answer in set(answers)}
        return [node for node, answer in zip(nodes, answers, strict=True) if known[answer]]
    if isinstance(expression, Every):
        left = list(nodes)
        for part in expression.parts:
            left = chosen(part, lookup, left)
        return left
    if isinstance(expression, Not):
        others = set(chosen(expression.part, lookup, nodes))
        return [node for node in nodes if node not in others]
    found: set[Node] = set()
    for part in expression.parts:
        found.update(chosen(part, lookup, [node for node in nodes if node not in found]))
    return [node for node in nodes if node in found]


def question_of(term: Term, lookup: Lookup) -> Question:
    """What ``term`` asks in the model that ``lookup`` is of."""
    key, relation, number = term.key, term.relation, term.number
    if key == "confidence":
        return Question(_confidence, lambda share: _COMPARED[relation](share, number))
    if key == "depth":
        return Question(_path, lambda path: _COMPARED[relation](lookup.depth(path), number))
    test = _text_test(term)
    if key in ("path", "at"):
        return Question(_path, test if term.regex is not None else path_glob(term.pattern, inside=key == "path"))
    if key in ("class", "of"):
        is_class = _class_test(term, test)
        if key == "class":
            return Question(_path, lambda path: any(map(is_class, lookup.classes(path))))
        return Question(_path, lambda path: (module := lookup.own_class(path)) is not None and is_class(module))
    if key == "tag":
        return Question(_path, lambda path: test(lookup.tag(path)))
    if key == "op" and "::" in term.pattern:
        return Question(lambda node: (node.domain or "ai.onnx", node.op_type), lambda both: test("::".join(both)))
    if key == "role":
        return Question(lambda node: (node.op_type, node.domain), lambda both: test(role(*both)))
    if key in _VALUES:
        each = remembered(test)
        return Question(_VALUES[key], lambda values: any(value and each(value) for value in values))
    return Question(_TEXTS[key], test)


def _path(node: Node) -> str | None:
    attribution = node.attribution
    return attribution.path if attribution is not None else None


def _confidence(node: Node) -> float | None:
    attribution = node.attribution
    return attribution.confidence if attribution is not None else None


def _weights(node: Node) -> tuple[str, ...]:
    return tuple(value for value in node.inputs if value and is_initializer(node, value))


_TEXTS: dict[str, Callable[[Node], str | None]] = {
    "name": lambda node: node.name,
    "op": lambda node: node.op_type,
    "source": lambda node: str(node.attribution.source) if node.attribution is not None else None,
    "rule": lambda node: node.attribution.rule if node.attribution is not None else None,
}
_VALUES: dict[str, Callable[[Node], tuple[str, ...]]] = {
    "weight": _weights,
    "makes": lambda node: node.outputs,
    "reads": lambda node: node.inputs,
}


def _class_test(term: Term, test: TextTest) -> Callable[[Module], bool]:
    if term.regex is not None:
        return lambda module: test(module.class_name) or test(module.cls)
    if "." in term.pattern:
        return lambda module: test(module.cls or module.class_name)
    return lambda module: test(module.class_name)


def _text_test(term: Term) -> TextTest:
    regex = term.regex
    if regex is None:
        return glob(term.pattern)
    return lambda text: regex.search(text) is not None


def remembered(test: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """The same test, asked once for each distinct argument."""
    known: dict[Any, bool] = {}

    def ask(argument: Any) -> bool:
        found = known.get(argument)
        if found is None:
            found = known[argument] = test(argument)
        return found

    return ask


def is_initializer(node: Node, value: str) -> bool:
    """Whether ``value``, as ``node`` reads it, is an initializer of its scope or of one around it."""
    if value in node.graph.initializers_set:
        return True
    found = node.graph.find(value) if node.graph.owner is not None else None
    return found is not None and value in found.initializers_set
