"""What differs between two models, by module."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from modelexport.analysis.difference.text import table

Pair = tuple[Any, Any]
Status = Literal["added", "removed", "changed"]


@dataclass(frozen=True, slots=True)
class NodeRef:
    """A node as reports name it."""

    key: str
    name: str
    op_type: str
    domain: str

    def to_dict(self) -> dict[str, str]:
        """The JSON of it."""
        return {"key": self.key, "name": self.name, "op_type": self.op_type, "domain": self.domain}


@dataclass(frozen=True, slots=True)
class NodeChange:
    """A node that is in both models and not the same.

    Attributes:
        attributes: name to the two values; None where one side lacks it.
        inputs: slot and the two value names, where the value comes from another aligned node or slot.
        version: the versions of the operator where the two opsets define it differently.
    """

    a: NodeRef
    b: NodeRef
    attributes: dict[str, Pair] = field(default_factory=dict)
    inputs: tuple[tuple[int, str, str], ...] = ()
    version: tuple[int, int] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The JSON of it."""
        return {
            "a": self.a.to_dict(),
            "b": self.b.to_dict(),
            "attributes": {name: list(pair) for name, pair in self.attributes.items()},
            "inputs": [{"slot": slot, "a": a, "b": b} for slot, a, b in self.inputs],
            "version": list(self.version) if self.version is not None else None,
        }


@dataclass(frozen=True, slots=True)
class WeightChange:
    """A weight or constant that aligned nodes read at one slot, with other values, shape or element type.

    Attributes:
        a, b: names of the two.
        node: the reader in the first model.
        differing: elements outside the tolerance; None where shapes or types differ.
        max_abs, rel_l2: largest absolute difference, and norm of the difference over the norm of the first; None where
            they can't be told or are infinite.
    """

    a: str
    b: str
    node: NodeRef
    slot: int
    shape: tuple[tuple[int, ...], tuple[int, ...]]
    dtype: tuple[str, str]
    elements: int
    differing: int | None
    max_abs: float | None
    rel_l2: float | None

    def to_dict(self) -> dict[str, Any]:
        """The JSON of it."""
        return {
            "a": self.a,
            "b": self.b,
            "node": self.node.to_dict(),
            "slot": self.slot,
            "shape": [list(shape) for shape in self.shape],
            "dtype": list(self.dtype),
            "elements": self.elements,
            "differing": self.differing,
            "max_abs": _finite(self.max_abs),
            "rel_l2": _finite(self.rel_l2),
        }


@dataclass(frozen=True, slots=True)
class ShapeChange:
    """A value of aligned nodes whose type or shape both files know, and know differently."""

    a: str
    b: str
    type: tuple[str, str]

    def to_dict(self) -> dict[str, Any]:
        """The JSON of it."""
        return {"a": self.a, "b": self.b, "type": list(self.type)}


@dataclass(slots=True)
class ModuleDiff:
    """What differs in one module's own nodes and weights.

    Attributes:
        path: the path in the second model, in the first for a removed module.
        classes: bare class names on both sides; None where unknown or where the module is not there.
        same: number of aligned nodes without a difference.
    """

    path: str
    classes: tuple[str | None, str | None] = (None, None)
    status: Status = "changed"
    same: int = 0
    added: list[NodeRef] = field(default_factory=list)
    removed: list[NodeRef] = field(default_factory=list)
    changed: list[NodeChange] = field(default_factory=list)
    weights: list[WeightChange] = field(default_factory=list)
    shapes: list[ShapeChange] = field(default_factory=list)

    @property
    def differs(self) -> bool:
        """Whether there is anything to report."""
        known = None not in self.classes and self.classes[0] != self.classes[1]
        found = self.added or self.removed or self.changed or self.weights or self.shapes
        return self.status != "changed" or known or bool(found)

    def to_dict(self) -> dict[str, Any]:
        """The JSON of it."""
        return {
            "path": self.path,
            "class": list(self.classes),
            "status": self.status,
            "nodes": {
                "same": self.same,
                "added": [node.to_dict() for node in self.added],
                "removed": [node.to_dict() for node in self.removed],
                "changed": [node.to_dict() for node in self.changed],
            },
            "weights": [weight.to_dict() for weight in self.weights],
            "shapes": [shape.to_dict() for shape in self.shapes],
        }


@dataclass(frozen=True, slots=True)
class ModelChange:
    """A difference of the models themselves: ``what`` is opset, ir_version, input, output or function."""

    what: str
    key: str
    a: Any
    b: Any

    def to_dict(self) -> dict[str, Any]:
        """The JSON of it."""
        return {"what": self.what, "key": self.key, "a": self.a, "b": self.b}


@dataclass(frozen=True, slots=True)
class ModelDiff:
    """Everything that differs between two models. ``str()`` is the table, ``to_dict()`` the JSON.

    Attributes:
        paths: the files, or "" for a model in memory.
        nodes, module_counts: numbers of nodes and modules of both.
        model: differences of the models themselves.
        modules: the modules that differ, in file order.
        same_modules, same_nodes, same_weights: what does not differ.
    """

    paths: tuple[str, str]
    nodes: tuple[int, int]
    module_counts: tuple[int, int]
    model: tuple[ModelChange, ...]
    modules: tuple[ModuleDiff, ...]
    same_modules: int
    same_nodes: int
    same_weights: int

    @property
    def identical(self) -> bool:
        """Whether nothing differs."""
        return not self.model and not self.modules

    def count(self, status: Status) -> int:
        """Number of modules of a status."""
        return sum(module.status == status for module in self.modules)

    @property
    def node_counts(self) -> dict[str, int]:
        """Nodes added, removed, changed and same."""
        return {
            "added": sum(len(module.added) for module in self.modules),
            "removed": sum(len(module.removed) for module in self.modules),
            "changed": sum(len(module.changed) for module in self.modules),
            "same": self.same_nodes,
        }

    @property
    def weight_counts(self) -> dict[str, int]:
        """Weights changed and same."""
        return {"changed": sum(len(module.weights) for module in self.modules), "same": self.same_weights}

    def to_dict(self) -> dict[str, Any]:
        """The document that ``diff.schema.json`` describes."""
        sides = [
            {"path": path, "nodes": nodes, "modules": modules}
            for path, nodes, modules in zip(self.paths, self.nodes, self.module_counts, strict=True)
        ]
        statuses: Sequence[Status] = ("added", "removed", "changed")
        return {
            "format": "modelexport-diff",
            "schema_version": "1.0",
            "identical": self.identical,
            "a": sides[0],
            "b": sides[1],
            "summary": {
                "modules": {**{status: self.count(status) for status in statuses}, "same": self.same_modules},
                "nodes": self.node_counts,
                "weights": self.weight_counts,
            },
            "model": [change.to_dict() for change in self.model],
            "modules": [module.to_dict() for module in self.modules],
        }

    def __str__(self) -> str:
        return table(self.to_dict())


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
