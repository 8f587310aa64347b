"""Whether pieces compute, bit for bit, what the whole computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelexport.ir.model import Model
from modelexport.passes.partition.extraction import Piece
from modelexport.passes.running.outputs import compute, rounded_values, same_bits


@dataclass(frozen=True, slots=True)
class Verification:
    """What a comparison found.

    Attributes:
        compared: number of boundary values that were compared.
        different: names of those that differ.
        unverifiable: why nothing can be compared, or "".
    """

    compared: int = 0
    different: tuple[str, ...] = ()
    unverifiable: str = ""


def verify(
    whole: Model,
    pieces: Sequence[Piece],
    feeds: Mapping[str, Any],
    progress: Callable[[int, int], None] | None = None,
) -> Verification:
    """Run the whole once and every piece on the whole's boundary values, without optimisations, and compare bits.

    Args:
        feeds: the whole's inputs as ``session.as_ort_values`` makes them.
        progress: called with (pieces done, pieces).

    Raises:
        InputError: the whole or a piece can't be run.
        MissingExtraError: onnxruntime is not installed.
    """
    if any(piece.random for piece in pieces):
        return Verification(unverifiable="a node draws random numbers")
    values = dict.fromkeys(value for piece in pieces for value in (*piece.cut.inputs, *piece.cut.outputs))
    rounded = rounded_values(whole)
    expected = compute(whole, feeds, list(values), "the whole model", rounded)
    different: list[str] = []
    compared = 0
    for number, piece in enumerate(pieces):
        given = {value: expected[value] for value in piece.cut.inputs}
        made = compute(piece.model, given, piece.cut.outputs, "the piece", rounded)
        compared += len(made)
        different += [value for value in piece.cut.outputs if not same_bits(made[value], expected[value])]
        if progress is not None:
            progress(number + 1, len(pieces))
    return Verification(compared, tuple(dict.fromkeys(different)))
