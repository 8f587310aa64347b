"""scope-attribution: apply every readable record of where a node is from; guess nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from modelexport.ir.attribution import Attribution, Source
from modelexport.ir.facts import Fact
from modelexport.ir.graph import Graph
from modelexport.ir.identity.tables import Tables
from modelexport.ir.io import embedded_tags
from modelexport.ir.io.embedded_tags import NAME_SCOPES, NAMESPACE, WINML_TAG, Record, tag_in_doc
from modelexport.ir.io.merged_tags import carriers, parts_of
from modelexport.ir.model import Model
from modelexport.ir.modules import Module, common_path
from modelexport.ir.modules.module import is_path
from modelexport.ir.node import Node
from modelexport.ir.operators import Category, category
from modelexport.ir.scope import Scope
from modelexport.passes.evidence.inference.confidence import UNMEASURED, confidence
from modelexport.passes.evidence.names.anchors import SHARED, anchors, is_read_elsewhere, is_used_above, weights_read
from modelexport.passes.evidence.names.functions import Arguments
from modelexport.passes.evidence.names.merged_scopes import told_apart
from modelexport.passes.evidence.names.parameters import ParameterIndex, Weights
from modelexport.passes.evidence.names.prefixes import Prefixes
from modelexport.passes.evidence.names.schemes.reading import Reading
from modelexport.passes.evidence.names.scoped import BY_NAME, BY_VALUE, ScopedNodes
from modelexport.passes.evidence.names.scopes import ScopeWalk
from modelexport.passes.evidence.names.tied import borrowed
from modelexport.passes.evidence.records.folded import REWRITES, folded_into
from modelexport.passes.evidence.records.folded import RULE as FOLDED
from modelexport.passes.evidence.records.node_names import name_decides
from modelexport.passes.evidence.records.owners import place_owners, widen_owners
from modelexport.passes.evidence.records.reference_index import cast_from, made_of
from modelexport.passes.evidence.records.torch_metadata import (
    SCRIPT_SCOPES,
    MalformedRecord,
    Stack,
    declare,
    read_namespace,
    read_stack,
    stack_key,
)
from modelexport.passes.pipeline.base import Pass, PassContext, PassResult

OWN_TAG = "own tag"  # how tags that the file itself has are counted
_EVIDENCE = 8  # weights that an attribution names
_SCOPES_PER_NODE = 4  # more than any exporter makes
_READ = frozenset((*embedded_tags.NODE_KEYS, NAME_SCOPES, SCRIPT_SCOPES, NAMESPACE, WINML_TAG))
_NOTHING: Mapping[str, str] = {}
_IN_DOC = "doc_string"
_COUNTED = "call-number"


@dataclass(frozen=True)
class ScopeAttribution(Pass):
    """Attribute every node whose origin is on record: own tags, exporter metadata, node names, parameter names."""

    name: ClassVar[str] = "scope-attribution"
    establishes: ClassVar[frozenset[Fact]] = frozenset({Fact.SCOPED})
    reads_weights: ClassVar[bool] = False

    def run(self, model: Model, ctx: PassContext) -> PassResult:
        """Damaged records are ignored with one warning per kind."""
        return _Run(model, ctx).go()


class _Run:
    """One run over one model."""

    def __init__(self, model: Model, ctx: PassContext) -> None:
        self.model = model
        self.ctx = ctx
        self.damaged: Counter[str] = Counter()
        self.exact = len(model.modules) > 0 and all(module.cls for module in model.modules)
        self.prefixes = Prefixes.of(model)
        self.parameters = ParameterIndex.of(model)
        self.weights = Weights(model)
        self.initializers = {*self.parameters.owner, *(name for graph in model.graphs() for name in graph.initializers)}
        limit = 1024 + _SCOPES_PER_NODE * sum(len(graph) for graph in model.graphs())
        self.walk = ScopeWalk(
            self._index(),
            self.exact,
            self.parameters.owner,
            self.weights.fingerprint,
            limit,
            model.modules.called_by,
        )
        self.kept: dict[tuple[Record, str], Attribution] = {}
        self.by_stack: dict[tuple[int, str], Attribution] = {}  # by identity: ``stacks`` keeps them
        self.placed: dict[tuple[int, str], Stack] = {}
        self.stacks: dict[str, Stack | None] = {}
        self.scoped: dict[Node, tuple[str, str]] = {}
        self.by_scope: dict[tuple[str, str], Attribution] = {}  # what nodes of one scope and rule share
        self.winml: dict[str, str] = {}

    def _index(self) -> ParameterIndex:
        index = ParameterIndex(())
        named = (name for module in self.model.modules for name in (module.path, *module.aliases))
        for path in named if self.exact else self.parameters.known:
            index.add(path)
        return index

    def go(self) -> PassResult:
        ctx = self.ctx
        tables = self._tables(ctx)
        # A tool made the nodes of a tagged file that have no tag of their own: no exporter recorded these.
        self.read_as = Source.REFERENCE if self.parts.parts else Source.SCOPE
        names = ScopedNodes(self.walk, self.prefixes, self.initializers)
        names.look(self.model)
        self.scoped = names.scoped
        if names.damaged:
            self.damaged["name"] = names.damaged
        self.callers = self.model.callers()
        self.apart = told_apart(self.scoped, self.walk)
        # Where there is nothing but names, nodes of one scope get what the first of them got, and others nothing.
        alone = tables is None and not self.apart and next(carriers(self.model, _READ), None) is None
        for graph in self._callers_first():
            bases = self._bases(graph)
            for node in graph.nodes:
                if node.attribution is None:
                    said = self.scoped.get(node) if alone else None
                    attribution = None if said is None else self.by_scope.get(said)
                    if attribution is not None:
                        ctx.attribute_as(node, attribution)
                    elif said is not None or not alone:
                        self._attribute(node, tables, bases)
        self._apply_schemes()
        self._apply_parameter_names()
        if tables is not None:
            widen_owners(self.model, ctx, "table-output", "table-prefix")
        if self.parts.parts:
            place_owners(self.model, ctx)
        self._name_modules()
        for kind, count in self.damaged.items():
            ctx.warnings.append(f"ignored {count} damaged {kind} record(s)")
        return PassResult(changed=ctx.counts.total(), notes={"by rule": {}})

    def _tables(self, ctx: PassContext) -> Tables | None:
        self.parts = parts_of(self.model, ctx.warnings)
        tables = self.parts.tables()
        if tables is not None:
            for module in tables.modules:
                if module.path not in self.model.modules:
                    self.model.modules.add(module)
                self.walk.parameters.add(module.path)
        for module in self.parts.told():
            if module.path not in self.model.modules:
                self.model.modules.add(module)
        return tables

    def _callers_first(self) -> Iterator[Graph]:
        """Every scope, a local function and its bodies after all scopes that call it."""
        groups: dict[Graph, list[Graph]] = {}
        home = self.model.main
        for graph in self.model.graphs():
            home = graph if graph.kind != "body" else home
            groups.setdefault(home, []).append(graph)
        for home in (self.model.main, *self.model.functions_callers_first()):
            yield from groups[home]

    def _bases(self, graph: Scope) -> str:
        """Path that scopes relative to ``graph`` are joined to."""
        if graph.owner is not None:
            owner = graph.owner.attribution
            return owner.path if owner is not None else self._bases(graph.owner.graph)
        if graph.kind == "function":
            paths = [node.attribution.path for node in self.callers[graph] if node.attribution is not None]
            return common_path(paths) if paths else ""
        return ""

    def _attribute(self, node: Node, tables: Tables | None, base: str) -> None:
        metadata = node.metadata if node.has_metadata(_READ) else _NOTHING
        if node.proto is not None and node.proto.doc_string:
            carried = tag_in_doc(node.doc_string)
            record = (
                embedded_tags.read_node(carried) if carried is not None and embedded_tags.PATH not in metadata else None
            )
            if record is not None:
                return self._keep(node, self.parts.own(node, record, carried or {}), _IN_DOC)
        if metadata:
            record = embedded_tags.read_node(metadata)
            if record is not None:
                return self._keep(node, self.parts.own(node, record, metadata), embedded_tags.PATH)
            if embedded_tags.PATH in metadata:
                self.damaged["htp"] += 1
        if tables is not None:
            found = tables.find(node)
            if found is not None and found[1]:
                return self._keep(node, found[0], embedded_tags.NODES)
            decides = found is None or name_decides(node.name, node.first_output)
            made = (cast_from if found is None else made_of)(tables, node) if decides else None
            if made is not None:
                evidence = (embedded_tags.NODES, node.name or node.first_output)
                return self._set(node, made.path, "table-prefix", evidence, Source.REFERENCE)
            if found is not None:
                evidence = (embedded_tags.NODES, node.first_output)
                return self._set(node, found[0].path, "table-output", evidence, Source.REFERENCE)
        if metadata:
            stack = self._stack(metadata)
            if stack is not None:
                if self.prefixes and not base:
                    stack = self._below(self.prefixes.segment(node.name, node.first_output), stack)
                known = self.by_stack.get((id(stack), base))
                if known is not None and REWRITES not in metadata:
                    return self.ctx.attribute_as(node, known)
                path = self.model.modules.canonical(self._declared(stack, base))
                folded = folded_into(node, metadata, path, self.parameters.owner)
                if folded is not None:
                    return self._set(node, folded, FOLDED, (stack.key, path))
                known = self.ctx.attribute(node, path, Source.SCOPE, stack.rule, (stack.key, stack.path or "."))
                self.by_stack[id(stack), base] = known
                return None
            if self._winml(node, metadata):
                return None
        scoped = self.scoped.get(node)
        if scoped is not None:
            if node in self.apart:
                return self._set(node, self.apart[node], scoped[1], _read(*scoped), self.read_as)
            attribution = self.by_scope.get(scoped)
            if attribution is not None:
                return self.ctx.attribute_as(node, attribution)
            scope, rule = scoped
            path = self.walk.path(scope)
            if scope in self.walk.counted:
                rule = _COUNTED
            if self.exact and rule == BY_NAME and path in self.model.modules:
                rule = "node-name-table"
            if is_path(path):
                self._set(node, path, rule, _read(*scoped), self.read_as)
                assert node.attribution is not None
                self.by_scope[scoped] = node.attribution
                return None
        record = made_of(tables, node) if tables is not None else None
        if record is not None:
            evidence = (embedded_tags.NODES, node.name or node.first_output)
            self._set(node, record.path, "table-prefix", evidence, Source.REFERENCE)
        return None

    def _apply_schemes(self) -> None:
        """Names as other exporters make them, for what has no record."""
        if all(n.attribution is not None or category(n.op_type) is Category.CONSTANT for n in self.model.nodes()):
            return
        reading = Reading(self.model, self.weights.fingerprint)
        for node, (path, rule, by_weight) in reading.placed.items():
            if not path:
                path = self._bases(node.graph)  # names in a body may be relative to it
            if is_path(path):
                evidence: tuple[str, ...] = ("name", node.name or node.first_output)
                if by_weight:
                    evidence = weights_read(node, self.parameters, path) or evidence
                source = Source.PARAMETER if by_weight else self.read_as
                share = confidence(rule, default=UNMEASURED)
                self.ctx.attribute(node, self.model.modules.canonical(path), source, rule, evidence, confidence=share)

    def _apply_parameter_names(self) -> None:
        """The weakest record: a node without any other is from the module whose parameters it computes with."""
        arguments = Arguments(self.model, self.parameters.owner) if self.model.functions else None
        for call, path, rule, weights in arguments.calls() if arguments is not None else ():
            if call.attribution is None:
                self._set(call, path, rule, tuple(weights[:_EVIDENCE]), Source.PARAMETER)
        for graph in self.model.graphs():
            if all(node.attribution is not None or not node.inputs for node in graph.nodes):
                continue
            owners = self.parameters if arguments is None else arguments.index(graph, self.parameters)
            lookups = borrowed(graph, owners.owner, self.weights, self.prefixes.segments)
            for node, path, rule in anchors(graph, owners):
                if node in lookups:  # the weight is called after the product, which may read a copy without a name
                    product = lookups[node]
                    if product is not None and product.attribution is None:
                        self._set(product, path, SHARED, (node.inputs[0],), Source.PARAMETER)
                    continue
                uses = self.model.modules.uses(path)
                if node.attribution is not None or len(uses) != 1:
                    continue
                if not is_used_above(node, uses[0]) and not is_read_elsewhere(node, uses[0]):
                    self._set(node, uses[0], rule, weights_read(node, owners, path), Source.PARAMETER)

    def _keep(self, node: Node, record: Record, key: str) -> None:
        """Take a tag of our own over as it is; ``key`` says where it stood."""
        attribution = self.kept.get((record, key))
        if attribution is not None:
            return self.ctx.attribute_as(node, attribution, OWN_TAG)
        module = self.model.modules.get(record.path)
        if module is None:
            self.model.modules.add(Module(record.path, tag=record.tag))
        elif record.tag and not module.tag and not module.cls:
            module.tag = record.tag
            self.model.modules.touch()
        self.kept[record, key] = self.ctx.attribute(
            node,
            record.path,
            record.source,
            record.rule,
            (key, record.tag),
            confidence=record.confidence,
            counted=OWN_TAG,
        )
        return None

    def _set(self, node: Node, path: str, rule: str, evidence: tuple[str, ...], source: Source = Source.SCOPE) -> None:
        self.ctx.attribute(node, self.model.modules.canonical(path), source, rule, evidence)

    def _stack(self, metadata: Mapping[str, str]) -> Stack | None:
        key, namespace = stack_key(metadata), None
        if key is None:
            namespace = key = metadata.get(NAMESPACE)
            if key is None or NAMESPACE in metadata.get(embedded_tags.ADDED, ""):
                return None
        if key in self.stacks:
            return self.stacks[key]
        stack: Stack | None = None
        try:
            stack = read_stack(metadata) if namespace is None else read_namespace(namespace)
        except MalformedRecord:
            self.damaged["exporter"] += 1
        self.stacks[key] = stack
        return stack

    def _below(self, segment: str, stack: Stack) -> Stack:
        """The stack of one of several models, each of which hangs under a segment."""
        if not segment:
            return stack
        found = self.placed.get((id(stack), segment))
        if found is None:
            paths = tuple(f"{segment}.{path}" if path else segment for path in stack.paths)
            found = self.placed[id(stack), segment] = replace(stack, paths=paths)
        return found

    def _declared(self, stack: Stack, base: str) -> str:
        """The path that ``stack`` gives a node of a scope that ``base`` runs; its modules are declared."""
        modules = self.model.modules
        path = caller = base
        for local, cls in zip(stack.paths, stack.classes, strict=True):
            path = local
            if base and local != base and not local.startswith(base + "."):
                path = f"{base}.{local}" if local else base
                cls = cls if local else ""
            if path not in modules:
                path = modules.called_by(caller, path)
            caller = path
            declare(modules, path, cls)
        return path

    def _winml(self, node: Node, metadata: Mapping[str, str]) -> bool:
        tag = metadata.get(WINML_TAG)
        if not tag or WINML_TAG in metadata.get(embedded_tags.ADDED, ""):
            return False
        path = self.winml.get(tag)
        if path is None:
            segments = [segment for segment in tag.split("/") if segment]
            path = ".".join(segments[1:])
            if len(segments) > 64 or not is_path(path):
                self.damaged["winml"] += 1
                return False
            for depth in range(len(segments)):
                declare(self.model.modules, ".".join(segments[1 : depth + 1]), segments[depth].split(".")[0])
            self.winml[tag] = path
        self._set(node, path, "winml-tag", (WINML_TAG, tag))
        return True

    def _name_modules(self) -> None:
        """Record every scope that was seen as a module that is called."""
        modules = self.model.modules
        if self.exact or not self.ctx.counts:
            return
        for path in self.walk.called().values() if self.scoped and not self.parts.parts else ():
            if path not in modules and is_path(path):
                modules.add(Module(path))
        if self.scoped or len(modules):
            modules.ensure("")


def _read(scope: str, rule: str) -> tuple[str, str]:
    """Where a scope was read, and the scope.

    A copy of it: attributions live on, and the string itself would keep the allocator from giving back what the walk
    used around it (56 MB of 100,000 nodes).
    """
    return ("output" if rule == BY_VALUE else "name", f"{scope[:1]}{scope[1:]}")
