"""A model as a chain of stages: each a model of its own, run one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike

from modelexport.ir.errors import ConfigError
from modelexport.ir.io.subgraph import is_inside
from modelexport.ir.model import Model
from modelexport.ir.node import Node
from modelexport.passes.partition.boundary import Cut, Dataflow
from modelexport.passes.partition.extraction import Piece, make_piece, module_paths
from modelexport.passes.partition.members import members_of, spelled
from modelexport.passes.pipeline.attributed import attributed

INPUT = "input"
Source = int | str  # the number of the stage that makes a value, or INPUT


@dataclass(frozen=True, slots=True)
class Chain:
    """Stages in the order in which they run.

    Attributes:
        stages: stage 0 is what comes before the first cut.
        sources: of each stage, by input: ``input`` for an input of the whole, else the stage that makes the value.
        outputs: of each output of the whole, in its order: its name and where it comes from.
    """

    stages: tuple[Piece, ...]
    sources: tuple[dict[str, Source], ...]
    outputs: tuple[tuple[str, Source], ...]


def split(model: Model | str | PathLike[str], at: str | Sequence[str]) -> list[Model]:
    """The model cut before each of these modules; ``model`` is not changed.

    Stage k holds what depends on the k-th module, itself included, and on no later one; everything else is in the
    earliest stage it can be in. Constants are copied to where they are read. Running the stages in order gives, bit for
    bit, the outputs of the whole.

    Args:
        model: a model or a file; one without attributions is attributed in memory.
        at: dotted paths in execution order, or one of them.

    Raises:
        ConfigError: a path is unknown, the order is not that of execution, or a stage would be empty.
        InputError: the file can't be read, or the element type of a boundary value is not known.
    """
    return [piece.model for piece in split_chain(attributed(model), at).stages]


def split_chain(whole: Model, at: str | Sequence[str]) -> Chain:
    """As :func:`split`, with what is known of the stages. The nodes of ``whole`` have attributions."""
    if not at:
        raise ConfigError("nothing to split at: name at least one module")
    flow = Dataflow(whole)
    paths = module_paths(at)
    members = [set(members_of(whole, path, flow.order, flow.constants)) for path in paths]
    level = _levels(flow, members)
    _refuse_wrong_order(flow, paths, members, level)
    cuts = [_stage_cut(flow, level, number) for number in range(len(paths) + 1)]
    for number, cut in enumerate(cuts):
        if not any(level.get(node) == number for node in cut.nodes):
            where = f"before {spelled(paths[0])}" if not number else f"at {spelled(paths[number - 1])}"
            raise ConfigError(f"the stage {where} would be empty: nothing computes there that is not in another stage")
    made = {value: number for number, cut in enumerate(cuts) for value in cut.outputs}
    return Chain(
        tuple(make_piece(flow, cut, below=[path for path in paths if path]) for cut in cuts),
        tuple({value: made.get(value, INPUT) for value in cut.inputs} for cut in cuts),
        tuple((value, made.get(value, INPUT)) for value in flow.graph.outputs),
    )


def _levels(flow: Dataflow, members: Sequence[set[Node]]) -> dict[Node, int]:
    """The stage of every node that is no constant."""
    own: dict[Node, int] = {}
    for number, nodes in enumerate(members, 1):
        own.update(dict.fromkeys(nodes, number))  # of nested modules the later counts
    level: dict[Node, int] = {}
    for node in flow.order:
        if node not in flow.constants:
            level[node] = max([own.get(node, 0), *(level[p] for p in flow.makers[node] if p in level)])
    return level


def _refuse_wrong_order(
    flow: Dataflow, paths: Sequence[str], members: Sequence[set[Node]], level: dict[Node, int]
) -> None:
    """Modules that read each other are in order unless nothing of the first can be before the second."""
    behind = [flow.behind(nodes) for nodes in members]
    for number, nodes in enumerate(members, 1):
        for later in range(number + 1, len(paths) + 1):
            inner = members[later - 1]
            if is_inside(paths[later - 1], paths[number - 1]):
                continue  # cut inside the module: what follows the inner one is in the later stage
            reads = not behind[later - 1].isdisjoint(nodes - inner) and behind[number - 1].isdisjoint(inner - nodes)
            if reads or all(level[node] >= later for node in nodes - inner):
                first, second = spelled(paths[number - 1]), spelled(paths[later - 1])
                raise ConfigError(
                    f"{first} depends on {second}: name them in the order in which they run "
                    f"(--at {second} --at {first}), or one of them only"
                )


def _stage_cut(flow: Dataflow, level: dict[Node, int], number: int) -> Cut:
    own = [node for node, stage in level.items() if stage == number]
    cut = flow.cut(own, close=False)
    given = set(flow.graph.outputs)
    if number:
        return cut
    # Outputs of the whole that no stage computes: constants and initializers are given by the first stage.
    computed = {value for node in level for value in node.outputs}
    makers = {p for value in given - computed if (p := flow.graph.producer(value)) is not None}
    fixed = [v for v in dict.fromkeys(flow.graph.outputs) if v not in computed and v not in flow.graph.inputs_set]
    nodes = {*cut.nodes, *makers, *flow.constants_of(makers)}
    outputs = [v for v in dict.fromkeys(flow.graph.outputs) if v in cut.outputs or v in fixed]
    crossing = [value for value in cut.outputs if value not in given]
    return Cut(tuple(n for n in flow.order if n in nodes), cut.absorbed, cut.inputs, (*outputs, *crossing))
