"""What a pass is: a frozen dataclass whose fields are its options."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from modelexport.ir.facts import Fact
from modelexport.ir.model import Model


@dataclass(slots=True)
class PassContext:
    """What a run gives its passes besides the model.

    Attributes:
        reference: file given with --reference, or None.
        trace: file given with --trace, or None.
        pipeline: canonical text of the pipeline that runs, without file names.
        progress: called with (done, total) during long work.
        warnings: what a user should see; the manager hands them to the model at the end.
        memory_limit_mb: resident memory bound, or None.
    """

    reference: Path | None = None
    trace: Path | None = None
    pipeline: str = ""
    progress: Callable[[int, int], None] | None = None
    warnings: list[str] = field(default_factory=list)
    memory_limit_mb: int | None = None


@dataclass(frozen=True, slots=True)
class PassResult:
    """What a pass did.

    Attributes:
        changed: number of nodes whose attribution, metadata or structure it changed.
        structure_changed: whether it edited nodes or values.
        notes: findings as data: counts and short texts by name. Never printed by the pass.
        skipped: why it did nothing, or "".
    """

    changed: int = 0
    structure_changed: bool = False
    notes: dict[str, object] = field(default_factory=dict)
    skipped: str = ""


@dataclass(frozen=True)
class Pass(ABC):
    """Base of passes. A subclass is a frozen dataclass; its fields are the options of the pipeline text.

    Field types may be bool, int, float, str, ``X | None`` of those, Literal of str, or tuple[X, ...].
    """

    name: ClassVar[str]
    requires: ClassVar[frozenset[Fact]] = frozenset()
    establishes: ClassVar[frozenset[Fact]] = frozenset()
    invalidates: ClassVar[frozenset[Fact]] = frozenset()
    metadata_only: ClassVar[bool] = True

    @abstractmethod
    def run(self, model: Model, ctx: PassContext) -> PassResult:
        """Work on ``model`` in place."""
