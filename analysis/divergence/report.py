"""From two models to the module that computes something else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path

from modelexport.analysis.divergence.comparison import Comparison
from modelexport.analysis.divergence.graphs import compare_graphs
from modelexport.analysis.divergence.module_outputs import ModuleReference, compare_modules
from modelexport.analysis.divergence.result import Divergence, OutputError
from modelexport.analysis.divergence.value_pairs import candidate_feeds, fitted
from modelexport.ir.arrays import Array
from modelexport.ir.errors import InputError
from modelexport.ir.model import Model
from modelexport.ir.text import shown
from modelexport.passes.partition.members import call_of
from modelexport.passes.pipeline.attributed import attributed
from modelexport.passes.running.inputs import make_inputs, model_inputs
from modelexport.passes.running.session import CPU, Optimization, SessionSettings, as_ort_values, check_providers

Source = Model | str | PathLike[str]


def compare_values(
    reference: Source | ModuleReference,
    candidate: Source,
    *,
    inputs: Mapping[str, Array] | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    seed: int = 0,
    rtol: float | None = None,
    optimization: Optimization = "disable",
    provider: str = CPU,
    progress: Callable[[int, int], None] | None = None,
) -> Divergence:
    """Which modules of ``candidate`` compute something else than ``reference``; neither is changed.

    The candidate runs with the reference's values put in, so that an error is blamed on what makes it and not on what
    follows. The error of a value is ||candidate - reference|| / ||reference|| (Frobenius, over finite elements).

    Args:
        reference, candidate: models or files; those without attributions are attributed in memory. The reference may
            also be what the modules of an nn.Module gave out; the inputs of that run are given then.
        inputs: arrays by name of the reference's inputs (the candidate's, where the reference has no graph); others are
            generated.
        shapes: shapes of generated inputs; free dimensions are 1 otherwise.
        seed: of generated inputs.
        rtol: what counts as an error; by the precision of the candidate's arithmetic unless given.
        optimization, provider: of the candidate's run.
        progress: called with (nodes done, nodes).

    Raises:
        InputError: a file can't be read, the inputs don't correspond, or not one value is in both.
        MissingExtraError: onnxruntime is not installed.
    """
    check_providers([provider], "compare-values")
    theirs = attributed(candidate)
    settings = SessionSettings(optimization=optimization, providers=tuple(dict.fromkeys((provider, CPU))))
    if isinstance(reference, ModuleReference):
        infos = {info.name: info for info in model_inputs(theirs)}
        given = make_inputs(
            theirs, {n: fitted(a, infos[n]) for n, a in (inputs or {}).items() if n in infos}, shapes, seed
        )
        feeds = as_ort_values(given, _kinds(theirs))
        told = compare_modules(reference, theirs, feeds, rtol=rtol, settings=settings, progress=progress)
        return _told(reference.label, theirs, theirs, *told)
    mine = attributed(reference)
    arrays = make_inputs(mine, inputs, shapes, seed)
    comparison, outputs, unmatched = compare_graphs(
        mine,
        theirs,
        as_ort_values(arrays, _kinds(mine)),
        as_ort_values(candidate_feeds(mine, theirs, arrays), _kinds(theirs)),
        rtol=rtol,
        settings=settings,
        progress=progress,
    )
    return _told(label(mine), mine, theirs, comparison, outputs, unmatched)


def _told(
    name: str, graph: Model, candidate: Model, comparison: Comparison, outputs: Sequence[OutputError], unmatched: int
) -> Divergence:
    """The report over a comparison; ``graph`` is the one whose modules are named."""
    if not comparison.values:
        why = comparison.problem or "no value of both has one name and shape"
        raise InputError(f"{name} and {label(candidate)}: nothing can be compared: {why}")
    if comparison.stops and comparison.agrees:
        raise InputError(f"{label(candidate)}: can't be run to its end: {comparison.problem}")
    first = comparison.first(lambda path, value: call_of(graph, path, value))
    listed = dict.fromkeys(
        node.attribution.path
        for node in graph.main.nodes
        if node.attribution is not None and node.op_type != "Constant"
    )
    return Divergence(
        name,
        label(candidate),
        len(comparison.values),
        unmatched,
        comparison.largest_agreeing,
        first,
        tuple(comparison.modules(listed)),
        tuple(outputs),
        comparison.not_finite(),
        comparison.notes(outputs),
    )


def label(model: Model) -> str:
    """What a report calls a model."""
    return shown(str(model.path)) if isinstance(model.path, Path) else "<model>"


def _kinds(model: Model) -> dict[str, int]:
    return {info.name: info.elem_type for info in model_inputs(model)}
