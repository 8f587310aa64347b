"""Edits of a graph's structure, behind the methods of Graph. Each checks first and then changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx

from modelexport.ir.editing.indexes import (
    all_names,
    changed,
    nested,
    readers_of,
    start_reading,
    stop_reading,
)
from modelexport.ir.editing.inheritance import inherit as inherit_from
from modelexport.ir.editing.ordering import annotated, check_edge, edits_of, mark_backward, place, rank
from modelexport.ir.editing.view import relink
from modelexport.ir.errors import GraphError
from modelexport.ir.node import Node
from modelexport.ir.proto import surgeon
from modelexport.ir.proto.building import read_bodies
from modelexport.ir.scope import Scope
from modelexport.ir.text import shown, text


def insert(
    graph: Scope,
    op_type: str,
    inputs: Sequence[str],
    outputs: Sequence[str],
    name: str,
    domain: str,
    attributes: Mapping[str, Any],
    inherit: tuple[Node, ...],
) -> Node:
    """Add a node behind the producers of its inputs.

    Args:
        inputs: values that are defined in this scope or around it; "" for an absent one.
        outputs: new value names; "" for an absent one.
        attributes: Python values, numpy arrays, protos, or an AttributeProto where the kind can't be told from the
            value (an empty list for an operator onnx does not know, a reference to a function's attribute).
        inherit: nodes that the new one stands for: it takes the attribution and the metadata they agree on.

    Raises:
        GraphError: an input is unknown, an output is already defined or hides another value, an attribute has no
            ONNX form.
    """
    if isinstance(inputs, str) or isinstance(outputs, str):
        raise GraphError(f"{graph.scope}: inputs and outputs of {op_type} are sequences of names, not one name")
    inputs, outputs = tuple(inputs), tuple(outputs)
    _check_inputs(graph, inputs, op_type)
    _check_outputs(graph, outputs, op_type)
    if any(source.graph.model is not graph.model for source in inherit):
        raise GraphError(f"{graph.scope}: {op_type} can't inherit from a node of another model")
    proto = None
    if attributes:
        proto = surgeon.node_proto(graph, op_type, domain, name, inputs, outputs, attributes)
    edits = edits_of(graph)
    node = Node(graph, edits.next_id, proto, op_type, domain, name, inputs, outputs)
    if proto is not None:
        _read_bodies(graph, node, proto)
    try:
        backward = _backward_captures(graph, node)
    except GraphError:
        graph.bodies.pop(node.id, None)
        raise
    edits.next_id += 1
    place(graph, node)
    graph.index.by_id[node.id] = node
    if graph.index.view is not None:
        graph.index.view.add_node(node.id, payload=node)
    for value in filter(None, outputs):
        graph.index.producers[value] = node
    all_names(graph).update(outputs)
    start_reading(graph, node, (*inputs, *node.captures))
    for value in backward:
        mark_backward(graph, value)
    inherit_from(node, inherit)
    changed(graph)
    return node


def forget_shapes(graph: Scope) -> int:
    """Let the value_info of the file go. Returns the number of its entries."""
    known = {text(entry.name) for entry in graph.proto.value_info}
    known -= graph.edits.forgotten if graph.edits is not None else set()
    if known:
        edits_of(graph).forgotten |= known
        changed(graph)
    return len(known)


def remove(graph: Scope, node: Node) -> None:
    """Remove a node.

    Raises:
        GraphError: one of its outputs is still read: by a node, a body, the graph's outputs, a quantization annotation.
    """
    _check_live(graph, node)
    for value in filter(None, node.outputs):
        if _is_read(graph, value, {node.id}):
            raise GraphError(
                f"{graph.scope}: {node.op_type} can't be removed, its output {shown(value)!r} is still read"
            )
    _detach(graph, node)
    changed(graph)


def replace(graph: Scope, nodes: tuple[Node, ...], by: tuple[Node, ...], inherit: tuple[Node, ...] | None) -> None:
    """Let the nodes ``by``, which are in the graph already, take the place of ``nodes``.

    Outputs of ``nodes`` that something else reads are matched, in order, to the outputs of ``by`` that nothing reads,
    and these take over the old names, so that readers, the graph's interface and value_info stay as they are.

    Args:
        inherit: nodes whose common attribution and metadata every node of ``by`` gets. By default those of ``by`` that
            have no attribution yet get those of ``nodes``.

    Raises:
        GraphError: the numbers of outputs differ, or ``by`` depends on what it replaces.
    """
    gone = {node.id for node in nodes}
    for node in (*nodes, *by):
        _check_live(graph, node)
    if any(node.id in gone for node in by):
        raise GraphError(f"{graph.scope}: a node can't replace itself")
    old = [value for node in nodes for value in node.outputs if value and _is_read(graph, value, gone)]
    new = [(node, value) for node in by for value in node.outputs if value and not _is_read(graph, value, set())]
    if len(old) != len(new):
        raise GraphError(
            f"{graph.scope}: {len(old)} outputs of the replaced nodes are read ({', '.join(map(shown, old[:3]))}), "
            f"and the new ones have {len(new)} that nothing reads"
        )
    _check_takeover(graph, old, by)
    for node in by if inherit is not None else [node for node in by if node.attribution is None]:
        inherit_from(node, nodes if inherit is None else inherit)
    for node in nodes:
        _detach(graph, node)
    edits = edits_of(graph)
    for value, (node, spare) in zip(old, new, strict=True):
        node.outputs = tuple(value if name == spare else name for name in node.outputs)
        edits.touched.add(node.id)
        edits.forgotten.add(edits.source_of(spare))
        del graph.index.producers[spare]
        graph.index.producers[value] = node
        for reader in readers_of(graph, value):
            relink(graph, reader)
            if rank(graph, node) >= rank(graph, reader):
                edits.stale()
    changed(graph)


def rename_value(graph: Scope, old: str, new: str) -> None:
    """Rename a value of this scope: where it is made, where it is read, here and in bodies, and in the interface.

    Raises:
        GraphError: this scope does not define ``old``, or ``new`` is taken here, outside or in a body.
    """
    if not graph.defines(old):
        raise GraphError(f"{graph.scope}: there is no value {shown(old)!r} to rename")
    if old == new:
        return
    if not new:
        raise GraphError(f"{graph.scope}: {shown(old)!r} can't be renamed to an empty name")
    _check_free(graph, new, f"{shown(old)!r} can't be renamed")
    producers = [graph.index.producers[old]] if old in graph.index.producers else []
    if old in graph.defined_twice:
        producers = [node for node in graph.index.by_id.values() if old in node.outputs]
        graph.defined_twice.add(new)
    edits = edits_of(graph)
    all_names(graph).add(new)
    for node in producers:
        node.outputs = tuple(new if name == old else name for name in node.outputs)
        edits.touched.add(node.id)
    if old in graph.index.producers:
        graph.index.producers[new] = graph.index.producers.pop(old)
    if old in graph.index.given:
        graph.index.given.remove(old)
        graph.index.given.add(new)
        graph.index.inputs = graph.index.initializers = None
        _rename_in(graph.inputs, old, new)
        _rename_in(graph.initializers, old, new)
    _rename_reads(graph, old, new)


def rewire(graph: Scope, node: Node, slot: int, value: str) -> None:
    """Let an input of a node read another value; "" leaves an optional input absent.

    Raises:
        GraphError: the slot or the value is unknown, or the value depends on the node.
    """
    _check_live(graph, node)
    if not 0 <= slot < len(node.inputs):
        raise GraphError(f"{graph.scope}: {node.op_type} has no input {slot}, it has {len(node.inputs)}")
    old = node.inputs[slot]
    if old == value:
        return
    _check_inputs(graph, (value,), node.op_type)
    backward = bool(value) and check_edge(graph, value, node)
    node.inputs = (*node.inputs[:slot], value, *node.inputs[slot + 1 :])
    edits_of(graph).touched.add(node.id)
    stop_reading(graph, node, (old,))
    start_reading(graph, node, (value,))
    if backward:
        mark_backward(graph, value)
    changed(graph)


def _check_live(graph: Scope, node: Node) -> None:
    if graph.index.by_id.get(node.id) is not node:
        raise GraphError(f"{graph.scope}: {node.op_type} {shown(node.name or node.first_output)!r} is not a node of it")


def _check_inputs(graph: Scope, inputs: Sequence[str], op_type: str) -> None:
    for value in inputs:
        if value and graph.find(value) is None:
            raise GraphError(f"{graph.scope}: {op_type} can't read {shown(value)!r}, nothing defines it")


def _check_outputs(graph: Scope, outputs: Sequence[str], op_type: str) -> None:
    named = [value for value in outputs if value]
    if len(set(named)) < len(named):
        raise GraphError(f"{graph.scope}: {op_type} defines an output twice")
    for value in named:
        _check_free(graph, value, f"{op_type} can't define it")


def _check_free(graph: Scope, value: str, what: str) -> None:
    home = graph.find(value)
    if home is None and value in graph.index.consumers:
        raise GraphError(f"{graph.scope}: {what}: {shown(value)!r} is read already though nothing defines it")
    if home is None and value in all_names(graph):
        home = next((body for body in nested(graph) if body.defines(value)), None)
    if home is not None:
        raise GraphError(f"{graph.scope}: {what}: {home.scope} already has a value {shown(value)!r}")


def _check_takeover(graph: Scope, old: list[str], by: tuple[Node, ...]) -> None:
    """Refuse when a node of ``by`` would come to depend on a value it takes over."""
    if not old:
        return
    values = set(old)
    bound = min(rank(graph, graph.index.producers[value]) for value in old)
    seen: set[int] = set()
    stack = list(by)
    while stack:
        node = stack.pop()
        for value in (*node.inputs, *node.captures):
            if value in values:
                raise GraphError(f"{graph.scope}: the new nodes depend on {shown(value)!r}, which they are to replace")
            producer = graph.index.producers.get(value)
            if producer is not None and producer.id not in seen and rank(graph, producer) > bound:
                seen.add(producer.id)
                stack.append(producer)


def _is_read(graph: Scope, value: str, ignored: set[int]) -> bool:
    if value in graph.outputs or any(reader.id not in ignored for reader in readers_of(graph, value)):
        return True
    return edits_of(graph).source_of(value) in annotated(graph)


def _detach(graph: Scope, node: Node) -> None:
    edits = edits_of(graph)
    read = (*node.inputs, *node.captures)
    node.inputs, kept = (), node.inputs
    captures, node.captures = node.captures, ()
    graph.bodies.pop(node.id, None)
    stop_reading(graph, node, read)
    node.inputs, node.captures = kept, captures  # what it was stays readable
    del graph.index.by_id[node.id]
    if graph.index.view is not None:
        graph.index.view.remove_node(node.id)
    for value in node.outputs:
        if graph.index.producers.get(value) is node:
            del graph.index.producers[value]
            others = graph.index.by_id.values() if graph.defined_twice else ()
            other = next((n for n in others if value in n.outputs), None)
            if other is not None:
                graph.index.producers[value] = other
    if edits.order.pop(node.id, None) is None:
        edits.removed[node.id] = node.proto


def _backward_captures(graph: Scope, node: Node) -> list[str]:
    """Outer values that a new node reads and that are made after the node whose body this is."""
    owner = graph.owner
    if owner is None:
        return []
    outer = [value for value in (*node.inputs, *node.captures) if value and not graph.defines(value)]
    return [value for value in outer if check_edge(owner.graph, value, owner)]


def _read_bodies(graph: Scope, node: Node, proto: onnx.NodeProto) -> None:
    """Read the bodies of a new node; what they capture must be there."""
    read_bodies(graph, node, proto)
    for value in node.captures:
        if graph.find(value) is None:
            del graph.bodies[node.id]
            raise GraphError(f"{graph.scope}: a body of {node.op_type} reads {shown(value)!r}, nothing defines it")


def _rename_reads(graph: Scope, old: str, new: str) -> None:
    """Rename the reads of a value in ``graph``, which defines it or captures it, and in the bodies that capture it."""
    edits = edits_of(graph)
    edits.rename(old, new)
    _rename_in(graph.outputs, old, new)
    readers = graph.index.consumers.pop(old, None)
    if readers is not None:
        graph.index.consumers[new] = readers
    for node in readers_of(graph, new):
        if old in node.inputs:
            node.inputs = tuple(new if name == old else name for name in node.inputs)
            edits.touched.add(node.id)
        if old in node.captures:
            edits.captured.setdefault(node.id, node.captures)
            node.captures = tuple(new if name == old else name for name in node.captures)
            for body in node.bodies:
                if not body.defines(old) and (old in body.index.consumers or old in body.outputs):
                    _rename_reads(body, old, new)
    changed(graph)


def _rename_in(names: list[str], old: str, new: str) -> None:
    for index, name in enumerate(names):
        if name == old:
            names[index] = new
