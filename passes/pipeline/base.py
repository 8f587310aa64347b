"""What a pass is: a frozen dataclass whose fields are its options."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Self

from modelexport.ir.attribution import Attribution, Source
from modelexport.ir.facts import Fact
from modelexport.ir.model import Model
from modelexport.ir.node import Node
from modelexport.passes.evidence.inference.confidence import confidence as rule_confidence
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
        running: name of the pass that runs now.
        counts: how many nodes it has attributed, by rule; they become the note ``by rule`` of its result.
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
    running: str = ""
    counts: Counter[str] = field(default_factory=Counter)
    _shared: dict[tuple[object, ...], Attribution] = field(default_factory=dict, repr=False)

    def attribute(
        self,
        node: Node,
        path: str,
        source: Source,
        rule: str,
        evidence: tuple[str, ...] = (),
        *,
        confidence: float | None = None,
        counted: str = "",
    ) -> Attribution:
        """Say that ``node`` is from the module at ``path``. Equal attributions of one pass are one object.

        Args:
            path: dotted path; the module is added to the model's table where it is not there yet.
            source: the kind of evidence.
            rule: short id of the rule inside that kind.
            evidence: what was read: a record and its key, values, nodes or parameters.
            confidence: share of such tags that are right, 0..1; by default the number of the rule.
            counted: under which name to count the node, if not under the rule's.

        Raises:
            ConfigError: no confidence was given, and the rule has no number.
        """
        key = (path, source, rule, confidence, evidence)
        found = self._shared.get(key)
        if found is None:
            share = rule_confidence(rule) if confidence is None else confidence
            node.graph.model.modules.ensure(path)
            found = self._shared[key] = Attribution(path, source, rule, share, evidence, self.running)
        self.attribute_as(node, found, counted)
        return found

    @contextmanager
    def whose(self, name: str) -> Iterator[Counter[str]]:
        """While the pass of this name runs; yields its counts."""
        before = self.running, self.counts, self._shared
        self.running, self.counts, self._shared = name, Counter(), {}
        try:
            yield self.counts
        finally:
            self.running, self.counts, self._shared = before

    def attribute_as(self, node: Node, attribution: Attribution, counted: str = "") -> None:
        """Give ``node`` an attribution that :meth:`attribute` has made for another one."""
        node.attribute_to(attribution)
        self.counts[counted or attribution.rule] += 1


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

    ``metadata_only`` says that it edits no structure, ``reads_weights`` that it looks at the values of initializers: an
    export whose passes don't is quicker.
    """

    name: ClassVar[str]
    requires: ClassVar[frozenset[Fact]] = frozenset()
    establishes: ClassVar[frozenset[Fact]] = frozenset()
    invalidates: ClassVar[frozenset[Fact]] = frozenset()
    metadata_only: ClassVar[bool] = True
    reads_weights: ClassVar[bool] = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Let the context know, while ``run`` runs, whose attributions are made."""
        super().__init_subclass__(**kwargs)
        if "run" in cls.__dict__:
            cls.run = _as_itself(cls.run)  # type: ignore[assignment]

    def __str__(self) -> str:
        """The pipeline element that makes an equal pass: the name and the options that differ from their defaults."""
        return element_text(self)

    def check_ready(self) -> None:  # noqa: B027 - most passes are always ready
        """Raise what keeps the pass from running, such as a MissingExtraError; called before any work."""

    def fitted(self, *, torch_nn: bool) -> Self:
        """The pass as an export wants it. ``torch_nn`` False asks for tags that stop at the user's own modules."""
        return self

    @abstractmethod
    def run(self, model: Model, ctx: PassContext) -> PassResult:
        """Work on ``model`` in place."""


def _as_itself(run: Callable[[Any, Model, PassContext], PassResult]) -> Callable[[Any, Model, PassContext], PassResult]:
    @functools.wraps(run)
    def named(self: Pass, model: Model, ctx: PassContext) -> PassResult:
        if ctx.running == self.name:  # a run that calls the one it overrides
            return run(self, model, ctx)
        with ctx.whose(self.name) as counts:
            result = run(self, model, ctx)
            if counts and isinstance(result, PassResult):
                result = replace(result, notes={**result.notes, "by rule": dict(counts)})
        return result

    return named
