"""What the script that calibrates confidence asks of a run, besides its tags."""

from __future__ import annotations

from dataclasses import dataclass, field

from modelexport.ir.node import Node
from modelexport.passes.evidence.inference.situation import Situation
from modelexport.passes.pipeline.base import PassContext


@dataclass(slots=True)
class CalibrationContext(PassContext):
    """A context that gathers what each guess of context-inheritance rests on, by node."""

    situations: dict[Node, Situation] = field(default_factory=dict)
