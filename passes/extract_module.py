"""extract-module: keep modules and leave the rest of the model away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from modelexport.ir.facts import Fact
from modelexport.ir.model import Model
from modelexport.passes.partition.extraction import extract_piece
from modelexport.passes.partition.members import Call
from modelexport.passes.pipeline.base import Pass, PassContext, PassResult


@dataclass(frozen=True)
class ExtractModule(Pass):
    """Keep the modules at these paths, with what lies between them and the constants they read; leave the rest away.

    Values that cross the boundary become inputs and outputs and keep their names. Weights, functions and opset imports
    that nothing uses any more are left out.

    Attributes:
        paths: dotted paths of modules; a single dot is the root.
        call: which call of a module that runs several times: a number from 1, or ``all``; ``none`` where it runs once.
    """

    name: ClassVar[str] = "extract-module"
    requires: ClassVar[frozenset[Fact]] = frozenset({Fact.TAGGED})
    invalidates: ClassVar[frozenset[Fact]] = frozenset({Fact.EMBEDDED})
    metadata_only: ClassVar[bool] = False

    paths: tuple[str, ...] = ()
    call: str = "none"

    def __post_init__(self) -> None:
        if not self.paths:
            raise ValueError("paths: name at least one module, as in extract-module{paths=features.0}")
        if self.call not in ("none", "all") and not (self.call.isdecimal() and int(self.call)):
            raise ValueError("call: a number from 1, all or none")

    def _call(self) -> Call:
        return None if self.call == "none" else "all" if self.call == "all" else int(self.call)

    def run(self, model: Model, ctx: PassContext) -> PassResult:
        before = sum(1 for _ in model.nodes())
        piece = extract_piece(model, self.paths, call=self._call())
        notes: dict[str, object] = {"absorbed": len(piece.cut.absorbed), "inputs": list(piece.cut.inputs)}
        notes["outputs"] = list(piece.cut.outputs)
        model.become(piece.model)
        kept = sum(1 for _ in model.nodes())
        return PassResult(changed=before - kept, structure_changed=True, notes={"nodes": [before, kept], **notes})
