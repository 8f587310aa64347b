"""What a comparison of values found, as data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

Status = Literal["diverges", "carries", "agrees", "not compared"]


@dataclass(frozen=True, slots=True)
class First:
    """The first value, in execution order, that goes wrong by itself.

    Attributes:
        path: the module at fault: the suspect whose weight changed where exactly one has such, else the one that makes
            the value.
        call: which call of the module, from 1.
        suspects: all modules between this value and the compared values before it; the truth is among them.
        changed_weights: names of weights of the suspects whose values differ between the two models.
    """

    path: str
    tag: str
    call: int
    suspects: tuple[str, ...]
    value: str
    introduced: float
    accumulated: float | None
    max_abs: float
    changed_weights: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The JSON of it."""
        return {
            "path": self.path,
            "tag": self.tag,
            "call": self.call,
            "suspects": list(self.suspects),
            "value": self.value,
            "introduced": number(self.introduced),
            "accumulated": number(self.accumulated),
            "max_abs": number(self.max_abs),
            "changed_weights": list(self.changed_weights),
        }


@dataclass(slots=True)
class ModuleError:
    """The errors of the values that one module's own nodes make.

    Attributes:
        introduced: the largest error of a value when everything before it is the reference's; None: not compared.
        accumulated: the largest error in a plain run.
        max_abs: largest absolute difference, with the reference's values put in.
        values: number of compared values.
    """

    path: str
    tag: str
    introduced: float | None = None
    accumulated: float | None = None
    max_abs: float | None = None
    values: int = 0
    status: Status = "not compared"

    def to_dict(self) -> dict[str, Any]:
        """The JSON of it."""
        return {
            "path": self.path,
            "tag": self.tag,
            "introduced": number(self.introduced),
            "accumulated": number(self.accumulated),
            "max_abs": number(self.max_abs),
            "values": self.values,
            "status": self.status,
        }


@dataclass(frozen=True, slots=True)
class OutputError:
    """An output of the graph in a plain run; None where it can't be compared."""

    name: str
    error: float | None
    max_abs: float | None

    def to_dict(self) -> dict[str, Any]:
        """The JSON of it."""
        return {"name": self.name, "error": number(self.error), "max_abs": number(self.max_abs)}


@dataclass(frozen=True, slots=True)
class NotFinite:
    """The first value with NaN or infinity whose inputs have none; ``kind`` is nan or inf."""

    path: str
    value: str
    kind: str
    in_reference: bool

    def to_dict(self) -> dict[str, Any]:
        """The JSON of it."""
        return {"path": self.path, "value": self.value, "kind": self.kind, "in_reference": self.in_reference}


@dataclass(frozen=True, slots=True)
class Divergence:
    """Everything that :func:`compare_values` found. ``to_dict()`` is the JSON, ``selector()`` a selector.

    Attributes:
        modules: the one with the largest introduced error first.
        largest_agreeing: the largest introduced error that is within its tolerance.
        notes: what a user should know, one line each.
    """

    reference: str
    candidate: str
    compared_values: int
    unmatched_values: int
    largest_agreeing: float
    first: First | None
    modules: tuple[ModuleError, ...]
    outputs: tuple[OutputError, ...]
    not_finite: NotFinite | None
    notes: tuple[str, ...] = ()

    @property
    def agree(self) -> bool:
        """Whether no value goes wrong by itself."""
        return self.first is None

    @property
    def diverging(self) -> list[str]:
        """Paths of the modules that go wrong by themselves, the worst first."""
        return [module.path for module in self.modules if module.status == "diverges"]

    def selector(self) -> str:
        """The diverging modules as one selector, for ``exclude=`` of the quantisers; "" where there are none."""
        return " or ".join(f"at:{_quoted(path or '.')}" for path in self.diverging)

    def to_dict(self) -> dict[str, Any]:
        """The document that ``compare_values.schema.json`` describes."""
        return {
            "format": "modelexport-divergence",
            "schema_version": "1.0",
            "reference": self.reference,
            "candidate": self.candidate,
            "agree": self.agree,
            "compared_values": self.compared_values,
            "unmatched_values": self.unmatched_values,
            "largest_agreeing": number(self.largest_agreeing),
            "first": self.first.to_dict() if self.first is not None else None,
            "modules": [module.to_dict() for module in self.modules],
            "outputs": [output.to_dict() for output in self.outputs],
            "not_finite": self.not_finite.to_dict() if self.not_finite is not None else None,
        }


def number(value: float | None) -> float | None:
    """A number for JSON: null for what is unknown or infinite."""
    return value if value is not None and math.isfinite(value) else None


def _quoted(path: str) -> str:
    special = any(character in path for character in ' ()"*?[]\\') or path in ("and", "or", "not")
    escaped = path.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"' if special else path
