"""From matches to modules: what each recorded run says about each node, and which run is believed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from modelexport.ir.io.trace_file import Trace, View
from modelexport.ir.modules import ModuleTable
from modelexport.passes.evidence.inference.confidence import confidence
from modelexport.passes.evidence.values.values_match import Found, Matcher, nearest

# Chosen on the benchmark's rows with a trace. A recorded run has the graph's own exporter (twin-*) where so great a
# share of the nodes has an equal in it, else another's (other-*): the rules differ in how often they are right.
CLOSE = 0.8
# Below it the answer of a run that fits the graph less may be taken instead, for convolutions with a folded norm, whose
# value TorchScript's run gives to another module than torch.export's (resnet).
DOUBT = 0.95


@dataclass(frozen=True, slots=True)
class Answer:
    """What one run says: the module's path, the rule that says so, and its measured share of right answers.

    Attributes:
        sure: whether value and neighbourhood both identify the event, so that a name that says otherwise is wrong.
        recognised: share of the graph's telling values that the run has too.
    """

    path: str
    rule: str
    confidence: float
    evidence: tuple[str, ...] = ()
    sure: bool = False
    recognised: float = 0.0


def answers(target: View, trace: Trace, rtol: float) -> tuple[dict[int, Answer], dict[str, float]]:
    """(best answer by node, share of nodes that each recorded run has an equal for)."""
    table = trace.module_table()
    best: dict[int, Answer] = {}
    shares: dict[str, float] = {}
    runs: list[tuple[float, Matcher, View]] = []
    for number, view in enumerate(trace.views):
        if view.example != _example(target, trace):
            continue
        matcher = Matcher(target, view, rtol)
        matched = matcher.run()
        same = sum(hit.same_op and (hit.alike or hit.named) for hit in matched.values())
        size = max(1, sum(map(bool, matcher.t.makes)))
        share = (same if matcher.twin else 0.5 * len(matched)) / size + _common_names(target, view)
        runs.append((share, matcher, view))
        shares[f"{view.kind} {number}"] = round(share, 4)
    shared: set[int] = set()
    for share, matcher, view in sorted(runs, key=lambda run: -run[0]):
        found = _answers(matcher, view, trace, table, share)
        for node, answer in found.items():
            held = best.get(node)
            if node in shared and not answer.sure:
                continue
            if held is None or (held.confidence < DOUBT and answer.confidence > held.confidence):
                best[node] = answer
        if share >= CLOSE and view.kind == "torchscript":  # what it left open was made for several modules
            shared |= {node for node, hit in matcher.found.items() if node not in found and _is_same(hit)}
    return best, shares


def _is_same(hit: Found) -> bool:
    return _strength(hit) in ("named", "same")


def _common_names(target: View, view: View) -> float:
    """Share of the target's value names that the view has too: the same exporter gives the same names."""
    return len(set(target.names) & set(view.names) - {""}) / max(1, len(target.names))


def _example(target: View, trace: Trace) -> int:
    return target.example


def _answers(matcher: Matcher, view: View, trace: Trace, table: ModuleTable, share: float) -> dict[int, Answer]:
    paths = [module.path for module in trace.modules]
    kind = ("twin-" if share >= CLOSE else "other-") if matcher.twin else "event-"
    found = matcher.found
    result: dict[int, Answer] = {}
    rules = Counter[str]()
    for node in range(len(matcher.t.view)):
        hit = found.get(node)
        if hit is not None and not matcher.twin and not hit.rich and _strength(hit) in ("near", "tie"):
            hit = None  # equal masks and shapes are everywhere: what lies around says more
        if hit is not None:
            module = matcher.s.module[hit.event]
            if module < 0:
                continue
            path, strength = paths[module], _strength(hit)
            sure = (kind == "twin-" and strength in ("same", "named")) or (kind == "event-" and strength == "value")
            evidence: tuple[str, ...] = (f"{view.kind}#{hit.event} {matcher.s.op[hit.event]}",)
        else:
            events = _between(matcher, node)
            modules = {paths[matcher.s.module[e]] for e in events}
            if not modules:
                continue
            strength = "interval" if len(modules) == 1 else "border"
            path, sure = table.common(modules), False
            evidence = tuple(f"{view.kind}#{e} {matcher.s.op[e]}" for e in events[:2])
        rule = kind + strength
        rules[rule] += 1
        result[node] = Answer(path, rule, confidence(rule), evidence, sure, matcher.recognised)
    return result


def _strength(hit: Found) -> str:
    """Short name of how well a node and its event agree."""
    if hit.named and (hit.same_op or hit.rich):
        return "named"
    if hit.rich:
        return "same" if hit.same_op and hit.alike else "value"
    if hit.alike and hit.lead >= 1.0:
        return "same" if hit.same_op else "context"
    return "near" if hit.lead >= 1.0 else "tie"


def _between(matcher: Matcher, node: int) -> list[int]:
    """Events of known module that bound an unmatched node: the nearest ones it leads to, not before what it reads."""
    module = matcher.s.module
    down = [e for e in nearest(matcher.t, node, matcher.found, forward=True) if module[e] >= 0]
    up = [e for e in nearest(matcher.t, node, matcher.found, forward=False) if module[e] >= 0]
    low = max(up, default=-1)
    return [e for e in down if e >= low] or down or up[-1:]
