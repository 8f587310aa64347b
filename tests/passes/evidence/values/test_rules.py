"""One case for each rule that recognises nodes by what they compute: ``test_rule_<rule>``.

A rule's first word is what was recorded: ``twin`` an export that fits the graph well, ``other`` one that fits less,
``event`` a run of the model itself. Its second word is how well a node and an event agree.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from modelexport.ir.modules import Module, ModuleTable
from modelexport.passes.evidence.inference.confidence import CHOSEN, MEASURED
from modelexport.passes.evidence.values.run_votes import CLOSE, _answers
from modelexport.passes.evidence.values.values_match import Found

SURE = float("inf")
NAMED = Found(1, SURE, rich=True, same_op=True, named=True, alike=False)
SAME = Found(1, SURE, rich=True, same_op=True, named=False, alike=True)
VALUE = Found(1, SURE, rich=True, same_op=False, named=False, alike=False)
CONTEXT = Found(1, 1.0, rich=False, same_op=False, named=False, alike=True)
NEAR = Found(1, 1.0, rich=False, same_op=True, named=False, alike=False)
TIE = Found(1, 0.9, rich=False, same_op=True, named=False, alike=True)
AROUND = {event: Found(event, SURE, rich=True, same_op=False, named=False, alike=False) for event in (0, 2, 3)}


def vote(rule: str, found: dict[int, Found], after: tuple[int, ...] = (2,)) -> tuple[str, bool]:
    """Path of the second of four nodes, and whether it overrules names; the rule must be ``rule``.

    It reads the first one, and the nodes ``after`` read it. The events are of ``enc.a`` to ``enc.d``.
    """
    kind = rule.partition("-")[0]
    modules = tuple(Module(path, "my.Net", calls=1) for path in ("", "enc", "enc.a", "enc.b", "enc.c", "enc.d"))
    trace: Any = SimpleNamespace(modules=modules)
    view: Any = SimpleNamespace(kind="run")
    steps: dict[str, Any] = {"before": [[], [0], [1], [1]], "after": [[1], list(after), [], []]}
    events = SimpleNamespace(module=[2, 3, 4, 5], op=["relu", "exp", "neg", "abs"])
    matcher: Any = SimpleNamespace(t=SimpleNamespace(view=range(4), **steps), s=events, found=found)
    matcher.twin, matcher.recognised = kind != "event", 1.0
    share = CLOSE if kind == "twin" else CLOSE - 0.01
    answer = _answers(matcher, view, trace, ModuleTable(modules), share)[1]
    assert answer.rule == rule
    assert answer.confidence == {**CHOSEN, **MEASURED}[rule] and answer.evidence[0].startswith("run#")
    return answer.path, answer.sure


def test_rule_twin_named() -> None:
    assert vote("twin-named", {1: NAMED}) == ("enc.b", True)


def test_rule_twin_same() -> None:
    assert vote("twin-same", {1: SAME}) == ("enc.b", True)


def test_rule_twin_value() -> None:
    assert vote("twin-value", {1: VALUE}) == ("enc.b", False)


def test_rule_twin_context() -> None:
    assert vote("twin-context", {1: CONTEXT}) == ("enc.b", False)


def test_rule_twin_near() -> None:
    assert vote("twin-near", {1: NEAR}) == ("enc.b", False)


def test_rule_twin_tie() -> None:
    assert vote("twin-tie", {1: TIE}) == ("enc.b", False)


def test_rule_twin_interval() -> None:
    """Nothing agrees; all that the node leads to is of one module."""
    assert vote("twin-interval", AROUND) == ("enc.c", False)


def test_rule_twin_border() -> None:
    """Nothing agrees; the node leads to events of two modules."""
    assert vote("twin-border", AROUND, (2, 3)) == ("enc", False)


def test_rule_other_named() -> None:
    assert vote("other-named", {1: NAMED}) == ("enc.b", False)


def test_rule_other_same() -> None:
    assert vote("other-same", {1: SAME}) == ("enc.b", False)


def test_rule_other_value() -> None:
    assert vote("other-value", {1: VALUE}) == ("enc.b", False)


def test_rule_other_context() -> None:
    assert vote("other-context", {1: CONTEXT}) == ("enc.b", False)


def test_rule_other_near() -> None:
    assert vote("other-near", {1: NEAR}) == ("enc.b", False)


def test_rule_other_tie() -> None:
    assert vote("other-tie", {1: TIE}) == ("enc.b", False)


def test_rule_other_interval() -> None:
    assert vote("other-interval", AROUND) == ("enc.c", False)


def test_rule_other_border() -> None:
    assert vote("other-border", AROUND, (2, 3)) == ("enc", False)


def test_rule_event_value() -> None:
    """What a run of the model computed at one place only is sure, whatever the operator is called."""
    assert vote("event-value", {1: VALUE}) == ("enc.b", True)


def test_rule_event_context() -> None:
    assert vote("event-context", {1: CONTEXT}) == ("enc.b", False)


def test_rule_event_interval() -> None:
    """Masks and shapes are equal everywhere: what lies around says more than a near match."""
    assert vote("event-interval", AROUND | {1: NEAR}) == ("enc.c", False)
    assert vote("event-interval", AROUND | {1: TIE}) == ("enc.c", False)


def test_rule_event_border() -> None:
    assert vote("event-border", AROUND, (2, 3)) == ("enc", False)
