"""What extract and split share: reading the whole, checking pieces, writing tags again."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelexport.cli.console import progress, say, warn

if TYPE_CHECKING:
    from modelexport.ir.model import Model
    from modelexport.passes.partition.extraction import Piece


def read_whole(path: Path) -> Model:
    """The model with its modules: its own tags, else what is found in it."""
    from modelexport.cli.options import talk
    from modelexport.passes.pipeline.attributed import attributed_model

    return attributed_model(path, say if talk().verbose else None)


def embed_again(whole: Model, pieces: Sequence[Piece]) -> None:
    """Let pieces of a file that carries tags carry theirs, written with the same options."""
    from modelexport.ir.io.embedded_tags import pipeline_of
    from modelexport.passes.pipeline.base import PassContext
    from modelexport.passes.recorded import recorded_embedding

    step = recorded_embedding(whole)
    if step is not None:
        for piece in pieces:
            step.run(piece.model, PassContext(pipeline=pipeline_of(whole.metadata) or ""))


def differs(whole: Model, pieces: Sequence[Piece], feeds: Mapping[str, Any]) -> bool:
    """Run whole and pieces; say what differs. A piece that can't be compared is a warning."""
    from modelexport.passes.partition.verification import verify

    found = verify(whole, pieces, feeds, progress if sys.stderr.isatty() else None)
    if found.unverifiable:
        warn(f"not verifiable: {found.unverifiable}")
    if found.different:
        shown = ", ".join(found.different[:3]) + (" ..." if len(found.different) > 3 else "")
        warn(f"{len(found.different)} of {found.compared} boundary values differ from the whole model's: {shown}")
    return bool(found.different)


def say_warnings(*models: Model) -> None:
    """Each warning once."""
    for line in dict.fromkeys(line for model in models for line in model.warnings):
        warn(line)


def boundary_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """``x float[batch, 8], mask bool[?]`` of boundary values."""
    return ", ".join(f"{row['name']} {row['dtype']}{_dims(row['shape'])}" for row in rows) or "none"


def _dims(shape: Sequence[object] | None) -> str:
    return "" if shape is None else f"[{', '.join('?' if dim is None else str(dim) for dim in shape)}]"
