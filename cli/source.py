"""MODEL and its inputs, as export and trace take them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from modelexport.cli.parameters import ParamType

if TYPE_CHECKING:
    import torch

    from modelexport.frontend.inputs.example_inputs import Inputs

_Function = TypeVar("_Function", bound=Callable[..., Any])
Shapes = dict[str, list[int]]


class InputShape(ParamType[tuple[str, list[int]]]):
    """``NAME:1,3,224,224``."""

    name = "NAME:DIM,DIM,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, list[int]]:
        if isinstance(value, tuple):
            return value
        name, separator, sizes = str(value).rpartition(":")
        try:
            shape = [int(size) for size in sizes.split(",")] if sizes.strip() else []
        except ValueError:
            self.fail(f"{value!r}: sizes are integers, as in NAME:1,3,224,224", param, ctx)
        if not separator or not name:
            self.fail(f"{value!r}: expected NAME:1,3,224,224", param, ctx)
        if any(size < 0 for size in shape):
            self.fail(f"{value!r}: a size can't be negative", param, ctx)
        if any(size >= 2**63 for size in shape):
            self.fail(f"{value!r}: a size has 63 bits at most", param, ctx)
        return name, shape


def source_options(function: _Function) -> _Function:
    """MODEL, --config, --input-shape and the two permissions."""
    decorators = (
        click.argument("model"),
        click.option("--config", type=click.Path(dir_okay=False, path_type=Path), help="JSON or TOML file with the keys"
                     " of export's configuration."),
        click.option("--input-shape", type=InputShape(), multiple=True, help="Shape of one input; repeat it."),
        click.option("--trust-remote-code", is_flag=True, help="Run Python code that a checkpoint brings along."),
        click.option("--allow-pickle", is_flag=True, help="Load weights that are pickles, which can run any code."),
    )  # fmt: skip
    for decorate in reversed(decorators):
        function = decorate(function)
    return function


def shapes_of(given: tuple[tuple[str, list[int]], ...]) -> Shapes:
    """``--input-shape`` options by name; a name given twice is an error."""
    shapes: Shapes = {}
    for name, shape in given:
        if name in shapes:
            raise click.UsageError(f"--input-shape names {name!r} twice")
        shapes[name] = shape
    return shapes


def check_output(output: Path, *inputs: str | Path | None) -> None:
    """Say before any work what keeps ``output`` from being written. Raises OutputError."""
    from modelexport.ir.errors import OutputError
    from modelexport.ir.io.atomic import check_writable

    check_writable(output)
    for given in inputs:
        path = Path(str(given).partition(".py:")[0] + ".py" if ".py:" in str(given) else str(given))
        if given is not None and output.exists() and path.exists() and output.samefile(path):
            raise OutputError(f"{output}: is an input; nothing is written over it")


def require_torch() -> None:
    """Raises MissingExtraError where torch is not installed, ConfigError where it can't be imported."""
    from modelexport.frontend.needed import need_torch

    need_torch("this command")


def open_source(
    model: str,
    *,
    input_specs: Mapping[str, Mapping[str, Any]] | None = None,
    input_shape: Mapping[str, list[int]] | None = None,
    trust_remote_code: bool = False,
    allow_pickle: bool = False,
) -> tuple[torch.nn.Module, Inputs]:
    """The model that MODEL names, and example inputs for it.

    Specifications and shapes win over what the file has, which wins over what the model suggests.

    Raises:
        InputError: MODEL can't be loaded, or there are no inputs; the message says what to pass.
        ConfigError: a specification or a shape does not fit.
    """
    require_torch()
    from modelexport.frontend.inputs import example_inputs as inputs
    from modelexport.frontend.inputs import models
    from modelexport.ir.errors import InputError

    source = models.load_source(model, trust_remote_code=trust_remote_code, allow_pickle=allow_pickle)
    found = source.inputs if source.inputs is not None else inputs.infer(source.model)
    specs: dict[str, dict[str, Any]] = {name: dict(spec) for name, spec in (input_specs or {}).items()}
    for name, shape in (input_shape or {}).items():
        specs.setdefault(name, {})["shape"] = shape
    for name, spec in specs.items():
        spec.setdefault("dtype", _dtype_of(name, found, source.model))
    if specs:
        return source.model, inputs.from_specs(specs, source.model)
    if found is None:
        raise InputError(f"{model}: no example inputs: {_what_to_pass(source.model)}")
    return source.model, found


def _dtype_of(name: str, found: Inputs | None, model: torch.nn.Module) -> str:
    """Element type of the input of that name among those the model or its file suggests; float where there is none."""
    from modelexport.frontend.inputs.example_inputs import parameters_of

    if found is None:
        return "float"
    named = {**dict(zip(parameters_of(model) or (), found.args, strict=False)), **found.kwargs}
    return str(getattr(named.get(name), "dtype", "float"))


def _what_to_pass(model: torch.nn.Module) -> str:
    import inspect

    parameters = inspect.signature(model.forward).parameters.values()
    needed = [
        p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ] or ["NAME"]
    shapes = " ".join(f"--input-shape {name}:1,..." for name in needed)
    return f"give {shapes}, input_specs for {', '.join(needed)} in --config, or define get_inputs() in the file"
