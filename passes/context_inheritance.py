"""context-inheritance: give a node without a record the module that what is around it agrees on."""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass
from typing import ClassVar

from modelexport.ir.attribution import Source
from modelexport.ir.facts import Fact
from modelexport.ir.graph import Graph
from modelexport.ir.model import Model
from modelexport.ir.node import Node
from modelexport.ir.operators import Category, category
from modelexport.ir.scope import Scope
from modelexport.passes.evidence.inference.bodies import cap_bodies, limit_in
from modelexport.passes.evidence.inference.calibration import CalibrationContext
from modelexport.passes.evidence.inference.confidence import confidence, estimate
from modelexport.passes.evidence.inference.flow import Flow, Kind
from modelexport.passes.evidence.inference.idioms import between_own_products, flattened_products, normalisations
from modelexport.passes.evidence.inference.joins import joined_in_block
from modelexport.passes.evidence.inference.module_tree import ModuleTree, deepest, depth
from modelexport.passes.evidence.inference.numbered import missing_numbers, next_numbers
from modelexport.passes.evidence.inference.products import (
    behind_recurrent,
    biases_after_products,
    only_moves,
    products_before_biases,
    recurrent_without_names,
)
from modelexport.passes.evidence.inference.schemed import is_counted, weighing
from modelexport.passes.evidence.inference.situation import (
    Situation,
    Surroundings,
    fit,
    nameless_vectors,
    nameless_weights,
    twentieths,
)
from modelexport.passes.evidence.names.parameters import ParameterIndex
from modelexport.passes.evidence.names.slots import RECURRENT
from modelexport.passes.pipeline.base import Pass, PassContext, PassResult

Guess = tuple[str, str]  # path and rule
_BETWEEN = frozenset(("neighbours", "producers", "consumers"))
_WEAK = _BETWEEN | {"guessed-consumers", "constant-common", "shape-common"}
_NAMED = 3  # nodes that an attribution names as its evidence
# Bounds on the readers of a value and the modules that may have it, since all with all are compared. For values that
# several modules read, as in t5, convnext and deberta (with 1 and 1 these lose 143 right tags, 280 without names).
_READERS, _HOLDERS = 8, 6


@dataclass(frozen=True)
class ContextInheritance(Pass):
    """Attribute nodes by their consumers, else by what is around them.

    Attributes:
        max_hops: how many edges away the nearest attributed node may be for a node to be decided by it.
    """

    name: ClassVar[str] = "context-inheritance"
    requires: ClassVar[frozenset[Fact]] = frozenset({Fact.SCOPED})
    establishes: ClassVar[frozenset[Fact]] = frozenset({Fact.INHERITED})
    reads_weights: ClassVar[bool] = False

    max_hops: int = 1000

    def __post_init__(self) -> None:
        if self.max_hops < 1:
            raise ValueError(f"max-hops={self.max_hops} is below 1")

    def run(self, model: Model, ctx: PassContext) -> PassResult:
        return self.attribute(model, ctx)

    def attribute(self, model: Model, ctx: PassContext) -> PassResult:
        """What the pass does, as part of the pass that runs."""
        known = [node.attribution is not None for node in model.nodes()]
        made = _Made(ctx, sum(known), len(known))
        watched = ctx.situations if isinstance(ctx, CalibrationContext) else None
        paths = {node.attribution.path for node in model.nodes() if node.attribution is not None}
        if not paths:
            return PassResult(notes={"by rule": {}})
        parameters = ParameterIndex.of(model)
        tree = ModuleTree(model.modules, parameters.owners | weighing(model), paths)
        calls = model.callers()
        nameless: frozenset[str] | None = None
        vectors: frozenset[str] = frozenset()
        for graph in model.graphs():
            if _constants(graph, tree, made):
                flow = Flow(graph)
                if nameless is None:
                    nameless = nameless_weights(model, parameters.owner.keys())
                    vectors = nameless_vectors(model, parameters.owner.keys())
                home = _home(graph, tree, calls)
                function = home[0][0] if home and graph.kind == "function" else None
                fill = _Fill(flow, tree, self.max_hops, vectors, function)
                guesses = fill.decide()
                basis = _Basis(fill, nameless, made.support)
                for index, (node, guess) in enumerate(zip(flow.nodes, guesses, strict=True)):
                    if guess is not None:
                        situation = basis.of(index, guess)
                        made.give(node, guess, fill.deciding(index), situation, limit_in(graph))
                        if situation is not None and watched is not None:
                            watched[node] = situation
                for node in graph.nodes:
                    if home is not None and node.attribution is None:
                        made.give(node, home[0], home[1], limit=limit_in(graph))
        cap_bodies(model, ctx.running)
        return PassResult(changed=ctx.counts.total(), notes={"by rule": {}})


def _home(graph: Graph, tree: ModuleTree, calls: dict[Scope, list[Node]]) -> tuple[Guess, tuple[str, ...]] | None:
    """Where the nodes of a body or of a local function are from when nothing inside says more, and who says so."""
    if graph.owner is not None:
        owner = graph.owner.attribution
        return None if owner is None else ((owner.path, "owner"), (graph.owner.described,))
    callers = [node for node in calls.get(graph, ()) if node.attribution is not None]
    paths = dict.fromkeys(node.attribution.path for node in callers if node.attribution is not None)
    named = tuple(node.described for node in callers[:_NAMED])
    return ((_agreed(tree, paths, "shape")[0], "caller"), named) if callers else None


class _Made:
    """The attributions this run makes, each with its confidence."""

    def __init__(self, ctx: PassContext, known: int, count: int) -> None:
        self.ctx, self.known = ctx, known / max(1, count)
        self.support = twentieths(known, count)
        self.estimates: dict[Situation, float] = {}

    def give(
        self, node: Node, guess: Guess, evidence: tuple[str, ...], situation: Situation | None = None, limit: float = 1
    ) -> None:
        path, rule = guess
        if situation is None:
            sure = confidence(rule, self.known)
        else:
            found = self.estimates.get(situation)
            sure = self.estimates[situation] = estimate(situation) if found is None else found
        self.ctx.attribute(node, path, Source.INHERITED, rule, evidence, confidence=min(sure, limit))


def _constants(graph: Graph, tree: ModuleTree, made: _Made) -> bool:
    """Attribute constants all of whose readers are attributed; whether any node stays open."""
    any_open = False
    for node in graph.nodes:
        if node.attribution is not None:
            continue
        readers: dict[str, None] | None = None
        if category(node.op_type) is Category.CONSTANT:
            readers = {}
            for value in node.outputs:
                for reader in graph.consumers(value):
                    if reader.attribution is None:
                        readers = None
                        break
                    if readers is not None:
                        readers[reader.attribution.path] = None
        if readers:
            named = [reader.first_output for value in node.outputs for reader in graph.consumers(value)[:_NAMED]]
            made.give(node, _agreed(tree, readers, "constant"), tuple(named[:_NAMED]), limit=limit_in(graph))
        else:
            any_open = True
    return any_open


def _agreed(tree: ModuleTree, readers: Iterable[str], kind: str) -> Guess:
    path, *others = readers
    for other in others:
        path = tree.common(path, other)
    if others and kind != "constant" and tree.only_loops(path):
        path = tree.lift(path.rpartition(".")[0])
    return path, f"{kind}-common" if others else f"{kind}-consumers"


class _Fill:
    """The open nodes of one graph, decided from the strongest evidence to the weakest."""

    def __init__(self, flow: Flow, tree: ModuleTree, max_hops: int, vectors: Set[str], function: str | None) -> None:
        self.flow = flow
        self.function = function  # the module of a local function, whose own code has its arguments
        self.vectors = vectors
        self.tree = tree
        self.max_hops = max_hops
        self.given = [node.attribution.path if node.attribution is not None else None for node in flow.nodes]
        self.paths: list[str | None] = list(self.given)
        self.is_anchor: list[bool] = []
        self.strong: list[str | None] = []
        self.guesses: list[Guess | None] = [None] * len(self.paths)
        self.deciders: dict[int, int] = {}  # whose guess a guess was taken from
        self.up: list[tuple[str, ...]] = []
        self.down: list[tuple[str, ...]] = []

    def decide(self) -> list[Guess | None]:
        """The guess for every node that was open; None for those that were not, and where nothing is known."""
        flow = self.flow
        self._take(products_before_biases(flow, self.paths), "bias-product")
        is_vector = self.vectors.__contains__
        self._take(biases_after_products(flow, self.paths, self._is_placed, is_vector), "bias-of-product")
        given = [node.attribution for node in flow.nodes]
        parameters = [at for at, each in enumerate(given) if each is not None and each.source is Source.PARAMETER]
        self._take(normalisations(flow, self.paths, parameters), "norm-growth")
        counted = [at for at, node in enumerate(flow.nodes) if is_counted(node)]
        self._take(normalisations(flow, self.paths, counted), "norm-order")
        self._take(flattened_products(flow, self.paths), "flattened-product")
        leaves = {
            path for path in {self.paths[at] for at in parameters} if path is not None and self.tree.is_leaf(path)
        }
        self._take(between_own_products(flow, self.paths, parameters, leaves), "own-products")
        self._recurrent()
        self.is_anchor = [self._by_parameter(index) for index in range(len(self.paths))]
        anchors = self.strong = list(self.paths)
        up = self.up = flow.upstream(anchors, self.max_hops)
        down = self.down = flow.downstream(anchors, self.max_hops)
        for index, anchor in enumerate(anchors):
            if anchor is None and flow.kind[index] == Kind.DATA and up[index]:
                self._between(index, up[index], down[index])
        missing = list(missing_numbers(flow, self.tree, anchors, up, down))
        self._take(missing, "missing-number")
        self._take(next_numbers(flow, self.tree, anchors, up, missing), "next-number")
        self._draw_in()
        self._from_consumers()
        return self.guesses

    def _recurrent(self) -> None:
        """A recurrent layer that nothing names is a module of its own: somewhere in what holds all around it."""
        lone = recurrent_without_names(self.flow, self.paths, RECURRENT)
        if not lone:
            return
        up, down = self.flow.upstream(self.paths, self.max_hops), self.flow.downstream(self.paths, self.max_hops)
        for index in lone:
            around = (*up[index], *down[index]) if up[index] and down[index] else ()
            path, *others = map(self.tree.site, around or ("",))
            for other in others:
                path = self.tree.common(path, other)
            near = up[index][0] if len(up[index]) == 1 else None
            rule = "recurrent"
            if near is not None and only_moves(self.flow, self.paths, near):
                path, rule = near, "recurrent-scope"
            for each in (index, *behind_recurrent(self.flow, self.paths, index)):
                self._set(each, path, rule)

    def _is_placed(self, index: int) -> bool:
        attribution = self.flow.nodes[index].attribution
        return attribution is not None and attribution.source in (Source.PARAMETER, Source.SCOPE, Source.REFERENCE)

    def deciding(self, index: int) -> tuple[str, ...]:
        """First outputs of the neighbours that decided a guess: those in its module, else all, else the nearest."""
        guess, flow, paths = self.guesses[index], self.flow, self.paths
        assert guess is not None
        inside = guess[0] + "." if guess[0] else ""
        decider = self.deciders.get(index)
        if decider is not None:
            return (flow.nodes[decider].first_output,)
        near = (*flow.after[index], *flow.before[index])
        decided = [(at, path) for at in near if (path := paths[at]) is not None]
        chosen = [at for at, path in decided if path == guess[0] or path.startswith(inside)]
        if not chosen:
            chosen = [at for at, _ in decided] or list(near)
        return tuple(dict.fromkeys(flow.nodes[at].first_output for at in chosen[:_NAMED]))

    def _take(self, found: Iterable[tuple[int, str]], rule: str) -> None:
        for index, path in found:
            self._set(index, path, rule)

    def _set(self, index: int, path: str, rule: str) -> None:
        self.paths[index] = path
        self.guesses[index] = path, rule

    def _between(self, index: int, up: tuple[str, ...], down: tuple[str, ...]) -> None:
        """Data on its way from some modules to others is in the deepest module that two of them share."""
        tree = self.tree
        inner = self._inside(index, up)
        across = deepest(tree.common(one, other) for one in up for other in down)
        outer = tree.site(down[0]) if len(down) == 1 else None  # what several read is rather made outside of them
        path = deepest((inner, across, outer))
        block = joined_in_block(self.flow, tree, self.strong, index, up)
        if block is not None:
            across = path = block
        if path is not None:
            self._set(index, path, "neighbours" if path == across else "producers" if path == inner else "consumers")

    def _inside(self, index: int, up: tuple[str, ...]) -> str | None:
        """The deepest module whose code can have all data that the node reads: it made it, or hands it to others."""
        flow, tree = self.flow, self.tree
        sources = [maker for maker in flow.before[index] if flow.kind[maker] >= Kind.DATA]
        if self.function is not None and not flow.graph.inputs_set.isdisjoint(flow.nodes[index].inputs):
            return self.function
        if len(sources) < 2:
            return tree.site(up[0]) if len(up) == 1 else deepest(_pairs(tree, up))
        meeting: set[str] | None = None
        for maker in sources:
            near = {self.paths[maker], *(self.paths[at] for at in flow.after[maker][:_READERS] if at != index)}
            holders = {tree.site(path) for path in near if path is not None}
            if not holders:
                continue
            if meeting is None:
                meeting = holders
            else:
                met = {tree.common(one, other) for one in meeting for other in holders}
                meeting = set(sorted(met, key=depth, reverse=True)[:_HOLDERS])
        return deepest((*sorted(meeting or ()), deepest(_pairs(tree, up))))

    def _draw_in(self) -> None:
        """Data that only goes to one inner module is prepared by that module's own code (178 right tags of qwen3)."""
        flow = self.flow
        for index in range(len(flow.nodes) - 1, -1, -1):
            guess = self.guesses[index]
            if guess is None or guess[1] not in _BETWEEN:
                continue
            readers = {self.paths[reader] for reader in flow.after[index]}
            path = readers.pop() if len(readers) == 1 else None
            if path is None or path == guess[0] or not (path + ".").startswith(guess[0] + "." if guess[0] else ""):
                continue
            if all((other := self.guesses[reader]) and other[1] in _BETWEEN for reader in flow.after[index]):
                self._set(index, path, "consumers")

    def _from_consumers(self) -> None:
        flow, tree = self.flow, self.tree
        hops = [0] * len(flow.nodes)  # how far the node is that decided a node here
        for index in range(len(flow.nodes) - 1, -1, -1):
            if self.paths[index] is not None:
                continue
            decided = (hops[reader] for reader in flow.after[index] if self.paths[reader] is not None)
            hops[index] = 1 + min(decided, default=0)
            if hops[index] > self.max_hops:
                continue
            kind = flow.kind[index]
            readers: dict[str, None] = {}
            for reader in flow.after[index]:
                path = self.paths[reader]
                if path is not None:
                    own = not self.is_anchor[reader] or (kind == Kind.SHAPE and self._is_grown(reader))
                    readers[path if kind == Kind.CONSTANT or own else tree.site(path)] = None
            if readers:
                path, rule = _agreed(tree, readers, "constant" if kind == Kind.CONSTANT else "shape")
                weak = next((reader for reader in flow.after[index] if self._is_weak(reader)), None)
                if weak is not None:
                    self.deciders[index] = self.deciders.get(weak, weak)
                self._set(index, path, rule if weak is None else "guessed-consumers")

    def _by_parameter(self, index: int) -> bool:
        """Whether a node is where its parameters are, or grown from such a node."""
        guess, attribution = self.guesses[index], self.flow.nodes[index].attribution
        if guess is not None:
            return guess[1] not in ("flattened-product", "recurrent", "recurrent-scope")
        return attribution is not None and attribution.source is Source.PARAMETER

    def _is_grown(self, index: int) -> bool:
        """Whether a node is the inside of a normalisation, whose own are the shapes it gives (42 tags of denoiser)."""
        guess = self.guesses[index]
        return guess is not None and guess[1] == "norm-growth"

    def _is_weak(self, index: int) -> bool:
        """Whether the path of a node is itself no more than what lies around it."""
        guess = self.guesses[index]
        return guess is not None and guess[1] in _WEAK


class _Basis:
    """What the guesses of one graph rest on."""

    def __init__(self, fill: _Fill, nameless: Set[str], support: int) -> None:
        self.fill, self.support = fill, support
        self.around = Surroundings(fill.flow, fill.strong, nameless)

    def of(self, index: int, guess: Guess) -> Situation | None:
        """None where the guess rests on what the node itself computes."""
        path, rule = guess
        if self.fill.strong[index] is not None:
            return None
        place = self.around.place(index)
        decider = self.fill.deciders.get(index, index)
        decided = self.fill.guesses[decider]
        up, down = self.fill.up[index], self.fill.down[index]
        return Situation(
            rule,
            place,
            decided[1] if decided is not None else rule,
            self.around.place(decider) if decider != index else place,
            self.around.placed,
            self.support,
            len(up),
            len(down),
            fit(path, up),
            fit(path, down),
            min(6, path.count(".") + 1 if path else 0),
        )


def _pairs(tree: ModuleTree, paths: tuple[str, ...]) -> list[str]:
    return [tree.common(one, other) for position, one in enumerate(paths) for other in paths[:position]]
