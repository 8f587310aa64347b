"""What each module of a model costs: multiply-accumulates, elements, parameters and bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import Any

from modelexport.analysis.costing.call import Call, Uncountable
from modelexport.analysis.costing.operators import formula
from modelexport.analysis.costing.owners import Owners, weights
from modelexport.analysis.costing.work import Formula
from modelexport.analysis.module_rows import ModuleNumbers, ModuleRow
from modelexport.ir.arrays import Array
from modelexport.ir.identity.keys import node_keys
from modelexport.ir.limits import without_gc
from modelexport.ir.model import Model
from modelexport.ir.modules.order import first_nodes
from modelexport.ir.node import Node
from modelexport.ir.operators import Category, category
from modelexport.ir.text import shown
from modelexport.passes.pipeline.attributed import attributed
from modelexport.passes.running.shapes import Shapes, find_shapes
from modelexport.passes.running.values import Execution

NUMBERS = ("macs", "flops", "elements", "parameters", "weight_bytes", "activation_bytes")
_NCHWC = "com.microsoft.nchwc"


@dataclass(frozen=True, slots=True)
class NodeCost:
    """One node.

    Attributes:
        node: its key.
        path: its module.
        macs: multiply-accumulates of all its executions; None where they can't be told.
        charged_to: the module that owns its weight and so gets its work, where that is another one.
    """

    node: str
    op_type: str
    path: str
    macs: int | None
    charged_to: str | None = None


@dataclass(frozen=True, slots=True)
class UnknownCost:
    """A node whose work can't be counted, and why."""

    node: str
    op_type: str
    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class CostReport:
    """What ``cost`` found.

    Attributes:
        shapes: where shapes are from: ``static``, ``inferred`` or ``run``.
        inputs: the shapes counted for.
        modules: the tree, parents before children.
        operations: nodes and multiply-accumulates by operator, the largest first.
        unknown: nodes whose work can't be counted; totals above them are lower bounds.
    """

    model_path: str
    shapes: str
    inputs: dict[str, tuple[int, ...]]
    notes: tuple[str, ...]
    modules: tuple[ModuleRow, ...]
    operations: dict[str, dict[str, int]]
    unknown: tuple[UnknownCost, ...]
    nodes: tuple[NodeCost, ...] = field(repr=False)

    @property
    def total(self) -> dict[str, float]:
        """Numbers of the whole model."""
        return dict(self.modules[0].total)

    def to_dict(self, *, nodes: bool = False, modules: Sequence[ModuleRow] | None = None) -> dict[str, Any]:
        """The document that ``cost.schema.json`` describes.

        Args:
            nodes: whether it lists every node.
            modules: the rows to list; all unless given.
        """
        document: dict[str, Any] = {
            "format": "modelexport-cost",
            "schema_version": "1.0",
            "model_path": self.model_path,
            "shapes": self.shapes,
            "inputs": {shown(name): list(dims) for name, dims in self.inputs.items()},
            "notes": list(self.notes),
            "total": self.total,
            "modules": [
                {
                    "path": shown(row.path),
                    "tag": shown(row.tag),
                    "parent": None if row.parent is None else shown(row.parent),
                    "calls": row.calls,
                    "at_least": row.partial,
                    "self": dict(row.own),
                    "total": dict(row.total),
                }
                for row in (self.modules if modules is None else modules)
            ],
            "operations": self.operations,
            "unknown": [
                {"node": u.node, "op_type": u.op_type, "path": u.path, "reason": u.reason} for u in self.unknown
            ],
        }
        if nodes:
            document["nodes"] = [
                {
                    "node": n.node,
                    "op_type": n.op_type,
                    "path": n.path,
                    "macs": n.macs,
                    "charged_to": n.charged_to,
                }
                for n in self.nodes
            ]
        return document


def cost(
    model: Model | str | PathLike[str],
    inputs: Mapping[str, Array] | None = None,
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    run: bool = True,
    seed: int = 0,
) -> CostReport:
    """Count the work, parameters and bytes of every module.

    Args:
        model: a Model or a file; one without attributions is attributed on a copy, and nothing is changed.
        inputs: arrays by input name.
        shapes: shapes of inputs, where no array is given; else the model's, with 1 for free dimensions.
        run: whether the model may be run once where the file and onnx's inference leave shapes open.
        seed: of the floats that a run is fed with.

    Raises:
        InputError: the file can't be read, or an input does not fit the model.
    """
    with without_gc():
        source = attributed(model)
        found = find_shapes(source, inputs, shapes, may_run=run, seed=seed)
        return _Counter(source, found).report()


@dataclass(slots=True)
class _Sum:
    """What the executions of one node in one module add up to."""

    macs: int = 0
    elements: int = 0
    activation_bytes: int = 0
    reason: str = ""


class _Operator:
    """What is to be counted of the executions of one operator."""

    def __init__(self, op_type: str, domain: str) -> None:
        self.shown = shown(op_type)
        self.is_constant = op_type == "Constant" and domain in ("", "ai.onnx")
        self.computes = category(op_type, domain) is Category.COMPUTE
        self.formula: Formula | None = None
        self.reason = ""
        try:
            self.formula = formula(op_type, domain)
        except Uncountable as error:
            self.reason = str(error)


class _Counter:
    def __init__(self, model: Model, shapes: Shapes) -> None:
        self.model, self.shapes = model, shapes
        self.owners = Owners(model)
        self.numbers = ModuleNumbers(NUMBERS)
        self.keys = {node: key for key, node in node_keys(model)}
        self.operators: dict[tuple[str, str], _Operator] = {}
        self.sums: dict[tuple[Node, str], _Sum] = {}
        self.padded = False

    def report(self) -> CostReport:
        self._count_nodes()
        self._count_weights()
        operations: dict[str, Counter[str]] = {}
        nodes: list[NodeCost] = []
        unknown: list[UnknownCost] = []
        seen: set[Node] = set()
        told: dict[str, str] = {"": ""}
        for (node, path), each in self.sums.items():
            op_type, key = self._operator(node).shown, self.keys[node]
            if path not in told:
                told[path] = shown(path)
            charged = self.owners.charged(node) if each.macs else None
            row = self.numbers.of(path)
            row["elements"] += each.elements
            row["activation_bytes"] += each.activation_bytes
            if each.macs:
                home = row if charged is None else self.numbers.of(charged)
                home["macs"] += each.macs
                home["flops"] += 2 * each.macs
            if each.reason:
                self.numbers.incomplete(path)
                unknown.append(UnknownCost(key, op_type, told[path], each.reason))
            macs = None if each.reason and not each.macs else each.macs
            nodes.append(NodeCost(key, op_type, told[path], macs, None if charged is None else shown(charged)))
            counts = operations.get(op_type)
            if counts is None:
                counts = operations[op_type] = Counter(nodes=0, macs=0)
            counts["macs"] += each.macs
            if node not in seen:
                seen.add(node)
                counts["nodes"] += 1
        ordered = sorted(operations.items(), key=lambda item: (-item[1]["macs"], -item[1]["nodes"], item[0]))
        return CostReport(
            model_path=str(self.model.path or ""),
            shapes=self.shapes.source,
            inputs=dict(self.shapes.inputs),
            notes=tuple(self._notes()),
            modules=tuple(self.numbers.rows(self.model.modules, first_nodes(self.model.nodes()))),
            operations={name: {"nodes": counts["nodes"], "macs": counts["macs"]} for name, counts in ordered},
            unknown=tuple(unknown),
            nodes=tuple(nodes),
        )

    def _operator(self, node: Node) -> _Operator:
        kind = node.op_type, node.domain
        found = self.operators.get(kind)
        if found is None:
            found = self.operators[kind] = _Operator(*kind)
        return found

    def _count_nodes(self) -> None:
        executed, sums = self.shapes.executions, self.sums
        for name, instance in self.shapes.instances.items():
            node = instance.node
            attribution = instance.attribution if instance.calls else node.attribution
            key = node, attribution.path if attribution is not None else ""
            each = sums.get(key)
            if each is None:
                each = sums[key] = _Sum()
            operator = self._operator(node)
            if operator.is_constant:
                continue
            for execution in executed.get(name, ()):  # a call of a local function has none: what is in it counts
                self._count(operator, name, execution, each)
                self.padded = self.padded or (operator.formula is not None and node.domain == _NCHWC)

    def _count(self, operator: _Operator, name: str, execution: Execution, each: _Sum) -> None:
        times = execution.count
        if times is None:
            each.reason = each.reason or execution.reason
            return
        elements, slot = 0, 0
        for value in execution.outputs:
            if value is None:
                continue
            nbytes = value.nbytes
            if nbytes is not None:
                each.activation_bytes += nbytes * times
            elif value.dims is None and value.is_tensor:
                each.reason = each.reason or f"shape of output {slot} is not known"
            elements += value.elements or 0
            slot += 1
        if operator.formula is not None:
            try:
                each.macs += operator.formula(Call(self.shapes.nodes[name], execution)) * times
            except Uncountable as error:
                each.reason = str(error)
        elif operator.reason:
            each.reason = operator.reason
        elif operator.computes:
            each.elements += elements * times

    def _count_weights(self) -> None:
        for graph in self.model.graphs():
            for name, elements, nbytes in weights(graph):
                row = self.numbers.of(self.owners.of(graph, name))
                row["parameters"] += elements
                row["weight_bytes"] += nbytes or 0

    def _notes(self) -> list[str]:
        notes = list(self.shapes.problems)
        if self.padded:
            notes.append(
                "NCHWc convolutions count what runs: with the channels that onnxruntime pads, more than the model asks"
            )
        return notes
