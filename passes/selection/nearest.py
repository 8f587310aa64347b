"""Why a selector matches nothing, and what is nearest to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from modelexport.ir.errors import nearest
from modelexport.ir.model import Model
from modelexport.ir.node import Node
from modelexport.passes.selection.globs import glob
from modelexport.passes.selection.terms import Lookup, chosen
from modelexport.passes.selection.text import Expression, Not, Term

_CANDIDATES = 2000  # texts that are compared letter by letter


def hint(expression: Expression, model: Model) -> str:
    """What to say after "no node matches ...": the first term that matches nothing by itself, and its nearest text."""
    lookup = Lookup(model)
    nodes = list(model.nodes())
    for term in _terms(expression):
        if chosen(term, lookup, nodes):
            continue
        found = _nearest(term, model, nodes, lookup)
        if found:
            return f"; the nearest {found}"
    return ""


def _terms(expression: Expression) -> Iterator[Term]:
    """Terms that are not denied."""
    if isinstance(expression, Term):
        yield expression
    elif not isinstance(expression, Not):
        for part in expression.parts:
            yield from _terms(part)


def _nearest(term: Term, model: Model, nodes: list[Node], lookup: Lookup) -> str:
    if term.relation != ":":
        return ""
    paths = list(dict.fromkeys(node.attribution.path for node in nodes if node.attribution is not None))
    if term.key in ("path", "at"):
        alias = model.modules.canonical(term.pattern)
        found = alias if alias != term.pattern and alias in paths else nearest_path(term.pattern, paths)
        return f"path is {found}" if found else ""
    if term.key in ("class", "of"):
        known = (module for path in paths for module in lookup.classes(path))
        return _close(term, "class", (module.cls if "." in term.pattern else module.class_name for module in known))
    texts = _TEXTS.get(term.key)
    return _close(term, _NOUNS.get(term.key, term.key), texts(nodes) if texts is not None else ())


def _close(term: Term, noun: str, texts: Iterable[str]) -> str:
    candidates = list(dict.fromkeys(text for text in texts if text))[:_CANDIDATES]
    found = nearest(term.pattern, candidates, 0.5)
    return f"{noun} is {found}" if found else ""


def nearest_path(pattern: str, paths: Iterable[str]) -> str:
    """The path that is most like ``pattern``, or ``""``: one that ends like it, else the one that goes along with it
    the farthest and has the nearest number or the most letters in common where they part."""
    children: dict[str, list[str]] = {}
    seen = {""}
    for path in paths:
        atoms = path.split(".") if path else []
        for end in range(len(atoms)):
            inner = ".".join(atoms[: end + 1])
            if inner not in seen:
                seen.add(inner)
                children.setdefault(".".join(atoms[:end]), []).append(atoms[end])
                if inner.endswith("." + pattern):
                    return inner
    at = ""
    wanted = pattern.split(".")
    for index, atom in enumerate(wanted):
        below = children.get(at, [])
        matching = [child for child in below if glob(atom)(child)]
        next_atom = matching[0] if matching else _nearest_atom(atom, below)
        if not next_atom:
            break
        at = f"{at}.{next_atom}" if at else next_atom
        if not matching:
            rest = ".".join([at, *wanted[index + 1 :]])
            return rest if rest in seen else at
    return at


def _nearest_atom(atom: str, known: list[str]) -> str:
    if atom.isdecimal() and len(atom) < 10:
        numbers = [each for each in known if each.isdecimal() and len(each) < 10]
        if numbers:
            return min(numbers, key=lambda each: abs(int(each) - int(atom)))
    return nearest(atom, known[:_CANDIDATES], 0.5)


_NOUNS = {"op": "operator", "makes": "value", "reads": "value"}
_TEXTS: dict[str, Callable[[list[Node]], Iterable[str]]] = {
    "name": lambda nodes: (node.name for node in nodes),
    "op": lambda nodes: (node.op_type for node in nodes),
    "source": lambda nodes: (str(node.attribution.source) for node in nodes if node.attribution is not None),
    "rule": lambda nodes: (node.attribution.rule for node in nodes if node.attribution is not None),
    "weight": lambda nodes: (name for graph in {node.graph: None for node in nodes} for name in graph.initializers),
    "makes": lambda nodes: (value for node in nodes for value in node.outputs),
    "reads": lambda nodes: (value for node in nodes for value in node.inputs),
}
