"""What a pass is: a frozen dataclass whose fields are its options."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from modelexport.ir.facts import Fact
from modelexport.ir.model import Model
from modelexport.ir.node import Node
from modelexport.passes.pipeline.options import element_text


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
        optional: whether the pass that runs now came from a named pipeline, so that a file which was not given is a
            reason to return ``PassResult(skipped="...")`` and not an error.
        done: the passes that have run, in order.
        scratch: folder for temporary files of tools, that of the output; None is the system's.
        allow_outside_data: whether weights outside the model's folder may be read.
        situations: where it is a dictionary, passes that infer put there what each guess rests on, for the script that
            calibrates confidence.
    """

    reference: Path | None = None
    trace: Path | None = None
    pipeline: str = ""
    progress: Callable[[int, int], None] | None = None
    warnings: list[str] = field(default_factory=list)
    memory_limit_mb: int | None = None
    optional: bool = False
    done: list[Pass] = field(default_factory=list)
    scratch: Path | None = None
    allow_outside_data: bool = False
    situations: dict[Node, tuple[object, ...]] | None = None


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

    Field types may be bool, int, float, str, Path, Literal, ``X | None`` of those, or tuple[X, ...]. A file is given as
    a Path, or as a str with ``field(metadata={"path": True})``: recorded pipelines then show its base name only.
    A ValueError in ``__post_init__`` becomes a message with a caret under the option it names.
    """

    name: ClassVar[str]
    requires: ClassVar[frozenset[Fact]] = frozenset()
    establishes: ClassVar[frozenset[Fact]] = frozenset()
    invalidates: ClassVar[frozenset[Fact]] = frozenset()
    metadata_only: ClassVar[bool] = True

    def __str__(self) -> str:
        """The pipeline element that makes an equal pass: the name and the options that differ from their defaults."""
        return element_text(self)

    def check_ready(self) -> None:  # noqa: B027 - most passes are always ready
        """Raise what keeps the pass from running, such as a MissingExtraError; called before any work."""

    @abstractmethod
    def run(self, model: Model, ctx: PassContext) -> PassResult:
        """Work on ``model`` in place."""
