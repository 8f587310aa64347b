"""Unit tests of passes: a model as text, one pass, and a table of what every node should be attributed to.

    >>> from modelexport.passes.testing import check
    >>> model = check(
    ...     "fallback-tagging",
    ...     '''
    ...     # module: encoder  my.Encoder
    ...     agraph (float[N] X) => (float[N] Y, float[N] a) {
    ...         [first] a = Relu (X)    # scope: encoder
    ...         Y = Exp (X)
    ...     }
    ...     ''',
    ...     '''
    ...     first   encoder   scope
    ...     Y       .         fallback
    ...     ''',
    ... )

The text is ONNX's own (``onnx.parser``): nodes may have a name in brackets, bodies and local functions are written
out, names that are not plain words stand in quotes: ``["/encoder/Exp"] "/encoder/Exp_output_0" = Exp (X)``. A header
``<ir_version: 10, opset_import: ["": 18]>`` is put before text that has none. Comments add what ONNX text can't say;
each belongs to the node that began last before it, and a line of its own continues the node above::

    # scope: PATH [SOURCE[/RULE]] [CONFIDENCE]     the node's attribution; the root is a single dot
    # meta: KEY=VALUE                              node metadata, the rest of the line is the value
    # meta: {"KEY": "VALUE", ...}                  the same as JSON
    # module: PATH CLASS [calls=N] [aliases=A,B] [parameters=N] [same-as=PATH]
                                                   a row of the module table, anywhere in the text
    # model-meta: KEY=VALUE                        model metadata, or JSON as above

A table has a line per node, ``KEY PATH [SOURCE[/RULE]] [CONFIDENCE]``: the key is the node's name or one of its
outputs, preceded by ``SCOPE::`` where that is ambiguous (``main/1.then_branch::Y``); the path is ``.`` for the root and
``-`` for a node without attribution. A line ``...`` lets nodes that are not listed be anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from modelexport.ir.attribution import Attribution, Source
from modelexport.ir.io.reader import load_model
from modelexport.ir.model import Model
from modelexport.ir.modules import Module
from modelexport.ir.node import Node
from modelexport.ir.text import shown
from modelexport.passes.pipeline.base import Pass, PassContext, PassResult
from modelexport.passes.pipeline.instruments import Verifier
from modelexport.passes.pipeline.manager import PassManager
from modelexport.passes.pipeline.registry import Registry
from modelexport.passes.pipeline.text import Element, Pipeline
from modelexport.passes.testing.text import Directive, read_text

ROOT = "."
GIVEN = "given"  # rule and author of attributions that the text gives


def make_model(text: str) -> Model:
    """The model that ``text`` describes, read from its serialized form as a file would be.

    Raises:
        ValueError: the text is not ONNX text, or a directive can't be understood.
    """
    proto, attributions, modules = read_text(text)
    model = load_model(proto.SerializeToString())
    for directive in modules:
        model.modules.add(_module(directive))
    nodes = list(nodes_in_text_order(model))
    for index, directive in attributions:
        nodes[index].attribute_to(_attribution(directive))
    return model


def run_pass(
    step: Pass | str,
    model: Model,
    *,
    trace: Path | str | None = None,
    reference: Path | str | None = None,
    named: bool = False,
    registry: Registry | None = None,
) -> PassResult:
    """Run one pass, given as an object or as pipeline text, with the verifier on. What it requires is taken to hold.

    ``named`` runs it as if it came from a named pipeline, where a file that is not given is a reason to skip.
    """
    pipeline = Pipeline.parse(step, registry=registry) if isinstance(step, str) else Pipeline((step,))
    if named:
        pipeline = Pipeline(pipeline.passes, tuple(Element(each, "test") for each in pipeline.passes))
    context = PassContext(
        trace=Path(trace) if trace is not None else None,
        reference=Path(reference) if reference is not None else None,
    )
    required = {fact for each in pipeline for fact in each.requires}
    manager = PassManager(pipeline, [Verifier()], verify_each=False, context=context, assume=required)
    report = manager.run(model)
    return report.runs[-1].result if report.runs else PassResult()


def check(step: Pass | str, text: str | Model, expected: str | Mapping[str, str], **options: object) -> Model:
    """Make the model, run the pass, compare; ``options`` are those of :func:`run_pass`. Returns the model."""
    model = make_model(text) if isinstance(text, str) else text
    run_pass(step, model, **options)  # type: ignore[arg-type]  # passed on as they are
    assert_attributions(model, expected)
    return model


def assert_attributions(model: Model, expected: str | Mapping[str, str]) -> None:
    """Compare every node's attribution with a table (see above), or with a mapping of key to path.

    Raises:
        AssertionError: the table with a ``-`` (expected) and a ``+`` (found) line for each difference.
    """
    __tracebackhide__ = True
    rows, open_ended = _expected(expected)
    keys = _keys(model)
    lines: list[str] = []
    listed: set[int] = set()
    wrong = False
    for row in rows:
        found = keys.get(row.key, [])
        if len(found) != 1:
            wrong = True
            several = ", ".join(f"{node.graph.scope}::{row.key}" for node in found)
            lines.append(f"- {row}" + (f"   is ambiguous: {several}" if found else "   is not in the model"))
            continue
        listed.add(id(found[0]))
        actual = _row(row.key, found[0].attribution)
        if row.matches(actual):
            lines.append(f"  {actual}")
        else:
            wrong = True
            lines += [f"- {row}", f"+ {actual}"]
    for node in model.nodes():
        if id(node) not in listed and not open_ended:
            wrong = True
            lines.append(f"+ {_row(_key(node, keys), node.attribution)}   is not in the table")
    if wrong:
        raise AssertionError("attributions differ (- expected, + found):\n" + "\n".join(lines))


def attributions(model: Model) -> str:
    """The table of a model's attributions, as :func:`assert_attributions` reads it."""
    keys = _keys(model)
    return "\n".join(str(_row(_key(node, keys), node.attribution)) for node in model.nodes())


def nodes_in_text_order(model: Model) -> Iterator[Node]:
    """Every node, each before the nodes of its bodies, as they follow each other in ONNX text."""
    stack = [node for graph in (model.main, *model.functions) for node in graph.nodes][::-1]
    while stack:
        node = stack.pop()
        yield node
        stack.extend([inner for body in node.bodies for inner in body.nodes][::-1])


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of a table; fields that are None are not compared."""

    key: str
    path: str | None
    source: str | None = None
    rule: str | None = None
    confidence: float | None = None

    def __str__(self) -> str:
        origin = "/".join(part for part in (self.source, self.rule) if part)
        confidence = "" if self.confidence is None else f"{self.confidence:.2f}"
        path = "-" if self.path is None else self.path or ROOT
        return f"{self.key:<16} {path:<24} {origin} {confidence}".rstrip()

    def matches(self, actual: _Row) -> bool:
        return (
            self.path == actual.path
            and self.source in (None, actual.source)
            and self.rule in (None, actual.rule)
            and (self.confidence is None or f"{self.confidence:.2f}" == f"{actual.confidence or 0:.2f}")
        )


def _row(key: str, attribution: Attribution | None) -> _Row:
    if attribution is None:
        return _Row(key, None)
    return _Row(key, attribution.path, str(attribution.source), attribution.rule, attribution.confidence)


def _expected(expected: str | Mapping[str, str]) -> tuple[list[_Row], bool]:
    if not isinstance(expected, str):
        return [_Row(key, path) for key, path in expected.items() if key != "..."], "..." in expected
    rows: list[_Row] = []
    open_ended = False
    for line in expected.splitlines():
        words = line.partition(" #")[0].split()
        if words == ["..."]:
            open_ended = True
        elif words and not words[0].startswith("#"):
            if len(words) < 2:
                raise ValueError(f"a table line is KEY PATH [SOURCE[/RULE]] [CONFIDENCE], not {line.strip()!r}")
            path, source, rule, confidence = _origin(words[1:], line)
            rows.append(_Row(words[0], None if path == "-" else path, source, rule, confidence))
    return rows, open_ended


def _keys(model: Model) -> dict[str, list[Node]]:
    keys: dict[str, list[Node]] = {}
    for node in model.nodes():
        for name in dict.fromkeys((shown(node.name), *map(shown, node.outputs))):
            if name:
                keys.setdefault(name, []).append(node)
                keys.setdefault(f"{node.graph.scope}::{name}", []).append(node)
    return keys


def _key(node: Node, keys: dict[str, list[Node]]) -> str:
    name = shown(node.name or node.first_output)
    return name if len(keys.get(name, ())) == 1 else f"{node.graph.scope}::{name}"


def _attribution(directive: Directive) -> Attribution:
    path, source, rule, confidence = _origin(directive.value.split(), directive.line)
    return Attribution(
        path, Source(source or Source.SCOPE), rule or GIVEN, 1.0 if confidence is None else confidence, by=GIVEN
    )


def _origin(words: list[str], line: str) -> tuple[str, str | None, str | None, float | None]:
    """PATH [SOURCE[/RULE]] [CONFIDENCE]."""
    path = "" if words[:1] == [ROOT] else "".join(words[:1])
    source = rule = confidence = None
    for word in words[1:]:
        if word[0].isdigit() and confidence is None:
            confidence = float(word)
        elif source is None:
            source, _, rule_text = word.partition("/")
            rule = rule_text or None
            if source not in set(Source):
                raise ValueError(f"{source!r} is not a source ({', '.join(Source)}): {line.strip()}")
        else:
            raise ValueError(f"expected PATH [SOURCE[/RULE]] [CONFIDENCE]: {line.strip()}")
    return path, source, rule, confidence


def _module(directive: Directive) -> Module:
    path, *words = directive.value.split()
    extras = dict(word.split("=", 1) for word in words if "=" in word)
    classes = [word for word in words if "=" not in word]
    if len(classes) > 1 or extras.keys() - {"calls", "aliases", "parameters", "same-as"}:
        raise ValueError(
            "a module is PATH CLASS [calls=N] [aliases=A,B] [parameters=N] [same-as=PATH], "
            f"not {directive.line.strip()!r}"
        )
    return Module(
        "" if path == ROOT else path,
        classes[0] if classes else "",
        calls=int(extras.get("calls", "1")),
        aliases=tuple(extras["aliases"].split(",")) if "aliases" in extras else (),
        parameters=int(extras.get("parameters", "0")),
        same_as=extras.get("same-as"),
    )
