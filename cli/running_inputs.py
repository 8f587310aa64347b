"""The inputs that a command runs a model on: ``--inputs``, ``--input-shape`` and ``--seed``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from modelexport.cli.source import InputShape, shapes_of

if TYPE_CHECKING:
    from modelexport.ir.model import Model

_Function = TypeVar("_Function", bound=Callable[..., Any])


def input_options(function: _Function) -> _Function:
    """The three options, as ``inputs``, ``input_shape`` and ``seed``."""
    decorators = (
        click.option("--inputs", type=click.Path(dir_okay=False, path_type=Path), help="npz file with an array for each"
                     " input, by name; what is not in it is generated."),
        click.option("--input-shape", type=InputShape(), multiple=True, help="Shape of a generated input; repeat it."
                     " Free dimensions are 1 otherwise."),
        click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of what is generated."),
    )  # fmt: skip
    for decorate in reversed(decorators):
        function = decorate(function)
    return function


def given_inputs(
    inputs: Path | None, input_shape: tuple[tuple[str, list[int]], ...]
) -> tuple[Mapping[str, Any], dict[str, list[int]]]:
    """Arrays and shapes as they were given, by name. Raises InputError for a file that can't be read."""
    from modelexport.passes.running.inputs import read_npz

    shapes = shapes_of(input_shape)
    return (read_npz(inputs) if inputs is not None else {}), shapes


def feeds_of(
    model: Model, inputs: Path | None, input_shape: tuple[tuple[str, list[int]], ...], seed: int
) -> Mapping[str, Any]:
    """A value for every input of ``model``, as onnxruntime takes them.

    Raises:
        InputError: the file can't be read, or an array or shape does not fit the model.
        MissingExtraError: onnxruntime is not installed.
    """
    from modelexport.passes.running.inputs import make_inputs, model_inputs
    from modelexport.passes.running.session import as_ort_values

    arrays, shapes = given_inputs(inputs, input_shape)
    made = make_inputs(model, arrays, shapes, seed)
    return as_ort_values(made, {info.name: info.elem_type for info in model_inputs(model)})
