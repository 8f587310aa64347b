"""Giving the nodes of a fresh export the modules that its exporter knows, where the nodes themselves don't tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

from modelexport.frontend.torch.owners import WeightOwners
from modelexport.ir.attribution import Attribution, Source
from modelexport.ir.io.embedded_tags import NAME_SCOPES
from modelexport.ir.model import Model
from modelexport.ir.modules import ModuleTable
from modelexport.ir.node import Node
from modelexport.passes.context_inheritance import ContextInheritance
from modelexport.passes.evidence.inference.confidence import EXPORTS
from modelexport.passes.evidence.records.folded import RULE as FOLDED_RULE
from modelexport.passes.evidence.records.torch_metadata import MalformedRecord, read_stack
from modelexport.passes.pipeline.base import PassContext
from modelexport.passes.scope_attribution import ScopeAttribution

BY = "export"
SCOPE_RULE = "exporter-scope"
FUNCTION_RULE = "function-callers"
WATCHED_RULE = "watched-call"
COPY_RULE = "parameter-copy"
OWNER_RULE = "weight-holder"
DOUBTED_RULE = "unconfirmed-scope"
CONTRADICTED_RULE = "contradicted-scope"
DOUBT = EXPORTS[DOUBTED_RULE]  # the most that a tag is worth that something independent of it contradicts
_RECORDS = frozenset({NAME_SCOPES})
_FOLDING = ("Conv", "ConvTranspose", "Gemm")


class Evidence:
    """What an export knows of its nodes besides what they carry.

    Attributes:
        paths: module path by output value: TorchScript's scopes, or the calls that were watched.
        called: modules that ran where nobody could watch them.
        owners: holders of the weights; None where they are not looked at.
        watched: False where ``paths`` are records that no call confirms: scripted modules share scopes between methods
            of one type.
        functions: module paths by function and value, of an export with functions: those that a node runs as.
        scripts: modules whose parts no record tells apart, such as scripted ones that were run as one operator each.
    """

    def __init__(
        self,
        paths: Mapping[str, str],
        called: Iterable[str] = (),
        owners: WeightOwners | None = None,
        watched: bool = True,
        functions: Mapping[str, Mapping[str, tuple[str, ...]]] = MappingProxyType({}),
        scripts: Iterable[str] = (),
    ) -> None:
        self.paths, self.called, self.owners, self.watched = paths, tuple(called), owners, watched
        self.functions, self.scripts = functions, tuple(scripts)


def apply_scopes(model: Model, evidence: Evidence) -> None:
    """Attribute nodes by output value: to the scope that is known for it, and copies of parameters to their readers.

    torch merges parameters with equal values into one and keeps the others as copies: Identity nodes without scope,
    whose output has the parameter's name. A node whose own record is the same is left to the passes, as are other nodes
    without scope. A record that is contradicted by the holders of the weights it reads is worth no more than a guess.
    """
    for path in evidence.called:
        _mark_called(model.modules, path)
    work = _Work(model, evidence)
    for node in model.nodes():
        work.attribute(node)
    if not evidence.watched:
        work.without_calls(model)
    for node in work.copies:
        work.copy(node)


class _Work:
    def __init__(self, model: Model, evidence: Evidence) -> None:
        self.modules = model.modules
        self.paths, self.owners, self.watched = evidence.paths, evidence.owners, evidence.watched
        self.functions = evidence.functions
        self.scripts = () if evidence.watched else evidence.called or ("",)
        self.inside = {path: _below(path, evidence.scripts) for path in evidence.scripts if self._holds_others(path)}
        self.copies: list[Node] = []
        self.shared: dict[tuple[str, str], Attribution] = {}

    def attribute(self, node: Node) -> None:
        if self.functions and self._in_functions(node):
            return
        recorded = _recorded(node, self.modules)
        found = next((self.paths[value] for value in node.outputs if value in self.paths), None)
        path = recorded if found is None else self.modules.canonical(found)
        if not self.watched and (path is None or self._near_script(path)):
            self._by_weights(node)
            return
        if path in self.inside:
            for part in self.inside[path]:
                _mark_called(self.modules, part)
            self._by_weights(node, path)
            if node.attribution is None:
                self._set(node, path, DOUBTED_RULE, Source.SCOPE, DOUBT)
            return
        if path is None:
            if node.op_type == "Identity" and node.inputs[0] in node.graph.initializers_set:
                self.copies.append(node)
            return
        if self._judged(node, path) or path == recorded:
            return
        if recorded is None:
            self._set(node, path, SCOPE_RULE, Source.SCOPE, 1.0)
        else:
            self._set(node, path, WATCHED_RULE, Source.SCOPE, EXPORTS[WATCHED_RULE])

    def _in_functions(self, node: Node) -> bool:
        """Attribute a node of a function, or the call of one, by the modules that run it; whether it is one.

        torch names a call after what it ran last, so one that can't be told is in doubt.
        """
        home = node.graph.home
        inside = home.kind == "function"
        if not inside and f"function:{node.domain}:{node.op_type}:" not in self.functions:
            return False
        known = self.functions.get(home.scope, {})
        paths = next((known[value] for value in node.outputs if value in known), None) if inside else None
        if not inside:
            paths = next(((self.paths[value],) for value in node.outputs if value in self.paths), None)
        if paths:
            self._set(node, self.modules.common(paths), FUNCTION_RULE, Source.SCOPE, EXPORTS[FUNCTION_RULE])
        elif not inside:
            self._set(node, "", DOUBTED_RULE, Source.SCOPE, DOUBT)
        return True

    def _holds_others(self, path: str) -> bool:
        return bool(_below(path, (module.path for module in self.modules)))

    def _near_script(self, path: str) -> bool:
        """Whether a scripted module is at, above or below ``path``: operators of scripts show any of these scopes."""
        return not all(_contradict((script,), path) for script in self.scripts)

    def _by_weights(self, node: Node, within: str = "") -> None:
        """Attribute what scripts may have computed to the one holder of the weights that it reads, else to the module
        beside that whose class is named like the operator; to none outside of ``within``."""
        uses = {
            use
            for value in node.inputs
            if self.owners is not None and value in node.graph.initializers_set
            for owner in self.owners.of(value)
            for use in self.modules.uses(owner)
            if not within or f"{use}.".startswith(f"{within}.")
        }
        if len(uses) == 1 and node.op_type != "Identity":
            self._set(node, uses.pop(), OWNER_RULE, Source.PARAMETER, EXPORTS[OWNER_RULE])
            return
        like = self._named_like(node)
        if like is not None and (not within or f"{like}.".startswith(f"{within}.")):
            self._set(node, like, DOUBTED_RULE, Source.SCOPE, DOUBT)

    def without_calls(self, model: Model) -> None:
        """Attribute what weights did not decide where no call was watched: from its neighbours, else by its name.

        Over ten scripted models (bench/accuracy/fresh.py, setting torchscript-scripted) names are right for 13 % of it,
        since a method of a ModuleList's entry shows the last atom of its name alone, and neighbours for 63 %. No record
        bears them out, so they are worth no more than a guess.
        """
        ContextInheritance().run(model, PassContext())
        bare = [node for node in model.nodes() if node.attribution is None]
        ScopeAttribution().run(model, PassContext())
        for node in bare:
            if node.attribution is not None:
                self._set(node, node.attribution.path, DOUBTED_RULE, Source.SCOPE, DOUBT)
        for node in model.nodes():
            found = node.attribution
            if found is not None and found.source is Source.INHERITED and found.confidence > DOUBT:
                node.attribute_to(replace(found, confidence=DOUBT))

    def _named_like(self, node: Node) -> str | None:
        """The one module beside the maker of what the node reads whose class is named like the operator."""
        maker = node.graph.producer(node.inputs[0]) if node.inputs else None
        if maker is None or maker.attribution is None or maker.attribution.rule not in (OWNER_RULE, DOUBTED_RULE):
            return None
        above = self.modules.parent(maker.attribution.path)
        found = [
            module.path
            for module in self.modules
            if module.class_name.lower() == node.op_type.lower() and self.modules.parent(module.path) == above
        ]
        return found[0] if len(found) == 1 else None

    def _judged(self, node: Node, path: str) -> bool:
        """Give a node that is contradicted by the weights it reads its module; whether it is one."""
        weights = [value for value in node.inputs if value in node.graph.initializers_set] if self.owners else ()
        if not weights or self.owners is None or node.op_type == "Identity":
            return False
        held = {value: owners for value in weights if (owners := self.owners.of(value))}
        if not held or not all(_contradict(owners, path) for owners in held.values()):
            return False
        watched = self.watched and any(value in self.paths for value in node.outputs)
        first = next(iter(held))
        uses = {use for owner in held[first] for use in self.modules.uses(owner)}
        if node.op_type in _FOLDING and self.owners.is_norm(path) and len(uses) == 1:
            self._set(node, uses.pop(), FOLDED_RULE, Source.SCOPE, EXPORTS[FOLDED_RULE])
        elif watched:  # the call is what decides: a module may compute with the weights of another
            return False
        elif len(uses) == 1:
            self._set(node, uses.pop(), OWNER_RULE, Source.PARAMETER, EXPORTS[OWNER_RULE])
        else:
            self._set(node, path, CONTRADICTED_RULE, Source.SCOPE, EXPORTS[CONTRADICTED_RULE])
        return True

    def _set(self, node: Node, path: str, rule: str, source: Source, confidence: float) -> None:
        attribution = self.shared.get((path, rule))
        if attribution is None:
            attribution = self.shared[path, rule] = Attribution(path, source, rule, confidence, (), BY)
            _mark_called(self.modules, path)
        node.attribute_to(attribution)

    def copy(self, node: Node) -> None:
        path = _reader_or_owner(node, self.modules)
        if path is not None:
            readers = [reader.attribution for reader in node.graph.consumers(node.first_output)]
            sure = min([1.0, *(reader.confidence for reader in readers if reader is not None)])
            node.attribute_to(Attribution(path, Source.PARAMETER, COPY_RULE, sure, (node.first_output,), BY))


def _recorded(node: Node, modules: ModuleTable) -> str | None:
    """The path that torch wrote into the node of the main graph, under the caller's name; None where it wrote none."""
    if node.graph.owner is not None or not node.has_metadata(_RECORDS):
        return None
    try:
        stack = read_stack(node.metadata)
    except MalformedRecord:
        return None
    if stack is None:
        return None
    path = ""
    for name in stack.paths:
        path = name if name in modules else modules.called_by(path, name)
    return modules.canonical(path)


def _below(path: str, others: Iterable[str]) -> tuple[str, ...]:
    """Those of ``others`` that are inside of the module at ``path``."""
    return tuple(other for other in others if other != path and other.startswith(f"{path}." if path else ""))


def _contradict(owners: tuple[str, ...], path: str) -> bool:
    """Whether none of ``owners`` lies at, above or below ``path``."""
    return not any(
        not owner or not path or owner == path or owner.startswith(f"{path}.") or path.startswith(f"{owner}.")
        for owner in owners
    )


def _mark_called(modules: ModuleTable, path: str) -> None:
    """A module with a scope was called, if only while torch traced."""
    module = modules.ensure(path)
    if not module.calls:
        module.calls = 1
        modules.touch()


def _reader_or_owner(node: Node, modules: ModuleTable) -> str | None:
    """The one module that reads the copy; where several do, the one that owns the parameter."""
    readers = [reader.attribution for reader in node.graph.consumers(node.first_output)]
    paths = {reader.path for reader in readers if reader is not None}
    if len(paths) == 1:
        return paths.pop()
    owner, dot, _ = node.first_output.rpartition(".")
    uses = modules.uses(owner) if dot and owner in modules else ()
    return uses[0] if uses else None
