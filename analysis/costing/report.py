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
    source = attributed(model)
    with without_gc():
        found = find_shapes(source, inputs, shapes, may_run=run, seed=seed)
        return _Counter(source, found).report()


@dataclass(slots=True)
class _Sum:
    """What the executions of one node in one module add up to."""

    macs: int = 0
    elements: int = 0
    activation_bytes: int = 0
    reason: str = ""


class _Counter:
    def __init__(self, model: Model, shapes: Shapes) -> None:
        self.model, self.shapes = model, shapes
        self.owners = Owners(model)
        self.numbers = ModuleNumbers(NUMBERS)
        self.keys = {node: key for key, node in node_keys(model)}
        self.sums: dict[tuple[Node, str], _Sum] = {}
        self.padded = False

    def report(self) -> CostReport:
        self._count_nodes()
        self._count_weights()
        operations: dict[str, Counter[str]] = {}
        nodes: list[NodeCost] = []
        unknown: list[UnknownCost] = []
        seen: set[Node] = set()
        for (node, path), each in self.sums.items():
            op_type, key = shown(node.op_type), self.keys[node]
            charged = self.owners.charged(node) if each.macs else None
            home = path if charged is None else charged
            self.numbers.add(home, macs=each.macs, flops=2 * each.macs)
            self.numbers.add(path, elements=each.elements, activation_bytes=each.activation_bytes)
            if each.reason:
                self.numbers.incomplete(path)
                unknown.append(UnknownCost(key, op_type, shown(path), each.reason))
            macs = None if each.reason and not each.macs else each.macs
            nodes.append(NodeCost(key, op_type, shown(path), macs, None if charged is None else shown(charged)))
            counts = operations.setdefault(op_type, Counter(nodes=0, macs=0))
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

    def _count_nodes(self) -> None:
        for name, instance in self.shapes.instances.items():
            node = instance.node
            attribution = instance.attribution
            path = attribution.path if attribution is not None else ""
            each = self.sums.setdefault((node, path), _Sum())
            if name not in self.shapes.executions:
                continue  # a call of a local function: what is in it counts
            for execution in self.shapes.executions[name]:
                self._count(node, name, execution, each)

    def _count(self, node: Node, name: str, execution: Execution, each: _Sum) -> None:
        if node.op_type == "Constant" and node.domain in ("", "ai.onnx"):
            return
        if execution.count is None:
            each.reason = each.reason or execution.reason
            return
        made = [value for value in execution.outputs if value is not None]
        elements = 0
        for slot, value in enumerate(made):
            if value.nbytes is None and value.is_tensor:
                if value.dims is None:
                    each.reason = each.reason or f"shape of output {slot} is not known"
            else:
                each.activation_bytes += (value.nbytes or 0) * execution.count
            elements += value.elements or 0
        try:
            work = formula(node.op_type, node.domain)
            if work is not None:
                each.macs += work(Call(self.shapes.nodes[name], execution)) * execution.count
                self.padded = self.padded or node.domain == _NCHWC
            elif category(node.op_type, node.domain) is Category.COMPUTE:
                each.elements += elements * execution.count
        except Uncountable as error:
            each.reason = str(error)

    def _count_weights(self) -> None:
        for graph in self.model.graphs():
            for name, elements, nbytes in weights(graph):
                self.numbers.add(self.owners.of(graph, name), parameters=elements, weight_bytes=nbytes or 0)

    def _notes(self) -> list[str]:
        notes = list(self.shapes.problems)
        if self.padded:
            notes.append(
                "NCHWc convolutions count what runs: with the channels that onnxruntime pads, more than the model asks"
            )
        return notes
