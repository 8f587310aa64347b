"""Giving the nodes of a fresh export the modules that its exporter knows, where the nodes themselves don't tell."""

from __future__ import annotations

from collections.abc import Mapping

from modelexport.ir.attribution import Attribution, Source
from modelexport.ir.io.embedded_tags import NAME_SCOPES
from modelexport.ir.model import Model
from modelexport.ir.modules import ModuleTable
from modelexport.ir.node import Node

BY = "export"
SCOPE_RULE = "exporter-scope"
COPY_RULE = "parameter-copy"
BRANCH_RULE = "branch-parameter"


def apply_scopes(model: Model, paths: Mapping[str, str]) -> None:
    """Attribute nodes by output value: to the scope that is known for it, and copies of parameters to their readers.

    torch merges parameters with equal values into one and keeps the others as copies: Identity nodes without scope,
    whose output has the parameter's name. Other nodes without scope are left to the passes.
    """
    _apply_to_branches(model)
    if not paths:
        return
    shared: dict[str, Attribution] = {}
    copies: list[Node] = []
    for node in model.nodes():
        path = next((paths[value] for value in node.outputs if value in paths), None)
        if path is not None:
            path = model.modules.canonical(path)
            attribution = shared.get(path)
            if attribution is None:
                attribution = shared[path] = Attribution(path, Source.SCOPE, SCOPE_RULE, 1.0, (), BY)
                _mark_called(model.modules, path)
            node.attribute_to(attribution)
        elif node.op_type == "Identity" and node.inputs[0] in node.graph.initializers_set:
            copies.append(node)
    for node in copies:
        path = _reader_or_owner(node, model.modules)
        if path is not None:
            node.attribute_to(Attribution(path, Source.PARAMETER, COPY_RULE, 1.0, (node.first_output,), BY))


def _apply_to_branches(model: Model) -> None:
    """Attribute the nodes of dynamo's branches that read the weights of one module: no scope is recorded there."""
    for graph in model.graphs():
        if graph.kind != "body":
            continue
        for node in graph.nodes:
            record = node.metadata.get(NAME_SCOPES)
            if record is None or "," in record:  # the fx node alone is no scope
                continue
            owners = {owner for value in node.inputs if (owner := _owner(value, model.modules)) is not None}
            if len(owners) == 1:
                evidence = tuple(value for value in node.inputs if _owner(value, model.modules) is not None)
                node.attribute_to(Attribution(owners.pop(), Source.PARAMETER, BRANCH_RULE, 0.97, evidence, BY))


def _owner(value: str, modules: ModuleTable) -> str | None:
    """The called module that owns the parameter of this name."""
    path, dot, _ = value.rpartition(".")
    return modules.canonical(path) if dot and modules.is_called(modules.canonical(path)) else None


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
    return owner if dot and owner in modules else None
