"""value-attribution: run the graph on the traced inputs and recognise what the recorded model computed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import ClassVar

from modelexport.ir.attribution import Attribution, Source
from modelexport.ir.errors import InputError
from modelexport.ir.io.trace_file import Trace
from modelexport.ir.limits import check_memory
from modelexport.ir.model import Model
from modelexport.ir.node import Node
from modelexport.passes.evidence.values.folded_norms import weights_decide
from modelexport.passes.evidence.values.presence import lacking
from modelexport.passes.evidence.values.run_votes import Answer, answers
from modelexport.passes.evidence.values.value_classes import POOR
from modelexport.passes.evidence.values.view_building import graph_view
from modelexport.passes.pipeline.base import Pass, PassContext, PassResult
from modelexport.passes.pipeline.traces import adopt_modules, open_trace
from modelexport.passes.running.graph_values import fit_inputs

# Tags that were read from a name: strong values may contradict them. What an exporter or we recorded is never replaced.
FROM_NAMES = frozenset({"node-name", "node-name-table", "fused-name", "output-name"})

# A trace is of another model where, of at least so many tags on record, a smaller share agrees with it: traces of the
# same model agree with two thirds even after quantisation (the benchmark's int8 rows).
_ON_RECORD, _AGREED = 4, 0.5


@dataclass(frozen=True)
class ValueAttribution(Pass):
    """Attribute nodes whose computed value, or whose place between such nodes, is known from a trace of the model.

    Attributes:
        trace: the trace file; without it the one given with ``--trace``.
        chunk_mb: memory in MB that the values of one chunk of the graph may take while it is run.
        rtol: relative difference up to which two values are taken to be equal.
        examples: how many of the recorded inputs are run.
    """

    name: ClassVar[str] = "value-attribution"
    trace: str = field(default="", metadata={"path": True})
    chunk_mb: int = 256
    rtol: float = 2e-3
    examples: int = 1

    def run(self, model: Model, ctx: PassContext) -> PassResult:
        """Run the graph on the recorded inputs and compare.

        Raises:
            InputError: no trace was given, or it can't be read.
            MissingExtraError: onnxruntime is not installed.
        """
        trace = open_trace(self.trace, ctx)
        if trace is None and ctx.optional:
            return PassResult(skipped="no trace was given")
        if trace is None:
            raise InputError("value-attribution: no trace: give --trace FILE, or value-attribution{trace=FILE}")
        if not trace.views:
            raise InputError(f"{self.trace or ctx.trace}: the trace has no recorded run")
        notes: dict[str, object] = {}
        best: dict[Node, Answer] = {}
        for number in range(max(1, min(self.examples, len(trace.examples)))):
            for node, answer in self._example(model, trace, number, ctx, notes).items():
                held = best.get(node)
                if held is None or answer.confidence > held.confidence:
                    best[node] = answer
        best = weights_decide(best, model, trace.module_table())
        absent = lacking(model, trace, {answer.path for answer in best.values()})
        best = {node: answer for node, answer in best.items() if answer.path not in absent}
        tagged, agreed = agreement(best, trace)
        if not best or (tagged >= _ON_RECORD and agreed < _AGREED * tagged):
            said = f"it agrees with {agreed} of {tagged} tags on record"
            ctx.warnings.append(f"value-attribution: the trace is not used: {said}, so it is of another model")
            return PassResult(notes=notes)
        adopt_modules(model, trace)
        changed, replaced = apply(best, ctx)
        changed += follow_readers(model, replaced, ctx)
        changed += use_first_names(model, trace, ctx)
        notes |= {"by rule": {}, "answers by rule": dict(Counter(each.rule for each in best.values()))}
        notes["replaced names"] = len(replaced)
        return PassResult(changed=changed, notes=notes)

    def _example(
        self, model: Model, trace: Trace, number: int, ctx: PassContext, notes: dict[str, object]
    ) -> dict[Node, Answer]:
        feeds, problems = fit_inputs(model, trace.examples[number]) if trace.examples else ({}, ["no example"])

        def chunk_done(done: int, total: int) -> None:
            check_memory(ctx.memory_limit_mb, f"{self.name}, node {done} of {total}")
            if ctx.progress is not None:
                ctx.progress(done, total)

        builder, nodes, report = graph_view(
            model, feeds, "graph", number, chunk_bytes=self.chunk_mb << 20, progress=chunk_done
        )
        found, shares = answers(builder.build({}), trace, self.rtol)
        notes["recorded runs"] = {**shares, **runs} if isinstance(runs := notes.get("recorded runs"), dict) else shares
        if report.failures:
            notes["not run"] = report.failures
            problems += [f"{op}: {message}" for op, message in report.failures.items()]
        if problems:
            notes["problems"] = problems
            known = report.nodes - report.unknown
            ctx.warnings.append(f"value-attribution: {known} of {report.nodes} nodes computed ({problems[0]})")
        return {nodes[i]: answer for i, answer in found.items()}


def agreement(best: dict[Node, Answer], trace: Trace) -> tuple[int, int]:
    """How many nodes whose tag was read from a record have an answer, and how many of these answers are that tag.

    A tag that was read from a name may lack holders, which have no scopes, spell another name of the module, or name
    the caller of a module for what its hooks compute, or a module for what its caller computes.
    """
    table = trace.module_table()
    spelled: dict[tuple[str, str], bool] = {}
    tagged = agreed = 0
    for node, answer in best.items():
        held = node.attribution
        if held is None or held.source not in (Source.SCOPE, Source.REFERENCE):
            continue
        pair = (held.path, answer.path)
        if pair not in spelled:
            names = table.names(answer.path)
            spelled[pair] = held.path in names or (
                held.rule in FROM_NAMES and any(_is_part(held.path.split("."), name.split(".")) for name in names)
            )
        tagged += 1
        agreed += spelled[pair] or (
            held.rule in FROM_NAMES
            and answer.sure
            and answer.recognised >= POOR
            and (table.parent(answer.path) == held.path or table.parent(held.path) == answer.path)
        )
    return tagged, agreed


def _is_part(atoms: list[str], of: list[str]) -> bool:
    """Whether ``atoms`` are among those of another path, in order and to its last one."""
    rest = iter(of)
    return atoms[-1] == of[-1] and all(atom in rest for atom in atoms)


def first_names(trace: Trace) -> dict[str, str]:
    """First names of the trace's modules by the other names, under which none was called."""
    used = {module.path for module in trace.modules}
    return {alias: module.path for module in trace.modules for alias in module.aliases if alias not in used}


def apply(best: dict[Node, Answer], ctx: PassContext) -> tuple[int, dict[Node, str]]:
    """Set attributions where there is none, or one that the answer beats: (nodes changed, paths read from names that
    were replaced)."""
    changed = 0
    replaced: dict[Node, str] = {}
    for node, answer in best.items():
        held = node.attribution
        if held is not None:
            if held.path == answer.path or not _beats(answer, held):
                continue
            if held.rule in FROM_NAMES:
                replaced[node] = held.path
        evidence = answer.evidence or (node.first_output,)
        ctx.attribute(node, answer.path, Source.VALUE, answer.rule, evidence, confidence=answer.confidence)
        changed += 1
    return changed, replaced


def follow_readers(model: Model, replaced: dict[Node, str], ctx: PassContext) -> int:
    """A constant named like its readers goes with them where all their names were found wrong in one way.

    Their values are told apart less often: 23 of 849 nodes of models with hooks (bench/hooks.py).

    Args:
        replaced: the paths that were read from names of nodes, and replaced.
    """
    changed = 0
    for graph in model.graphs() if replaced else ():
        for node in graph.nodes:
            held = node.attribution
            if node.inputs or node.bodies or held is None or not (node in replaced or held.rule in FROM_NAMES):
                continue
            named = replaced.get(node, held.path)
            readers = [reader for value in node.outputs for reader in graph.consumers(value)]
            found = {reader.attribution.path for reader in readers if reader.attribution is not None}
            if len(found) != 1 or held.path in found or any(replaced.get(reader) != named for reader in readers):
                continue
            evidence = tuple(reader.first_output for reader in readers[:2])
            ctx.attribute(node, found.pop(), Source.VALUE, "value-readers", evidence)
            changed += 1
    return changed


def use_first_names(model: Model, trace: Trace, ctx: PassContext) -> int:
    """Nodes tagged with another name of a module that the trace knows get its first name."""
    first = first_names(trace)
    changed = 0
    for node in model.nodes() if first else ():
        held = node.attribution
        if held is not None and held.path in first:
            evidence = held.evidence or (held.path,)
            ctx.attribute(node, first[held.path], held.source, held.rule, evidence, confidence=held.confidence)
            changed += 1
    return changed


def _beats(answer: Answer, held: Attribution) -> bool:
    if held.source in (Source.PARAMETER, Source.INHERITED, Source.FALLBACK):
        return answer.sure or answer.confidence > held.confidence
    return held.rule in FROM_NAMES and answer.sure
