"""Example inputs: as a model is called with them, as files describe them, and as a model suggests them."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass
from typing import Any

import torch

from modelexport.frontend.inputs.names import hint
from modelexport.frontend.torch.reasons import first_line
from modelexport.ir.errors import ConfigError, InputError

DEFAULT_INTEGER_SHAPE = (1, 16)
NAMED_DIMENSION = 2  # size of an axis that a specification only names

_DTYPES: dict[str, torch.dtype] = {
    "int": torch.int64,
    "long": torch.int64,
    "int64": torch.int64,
    "int32": torch.int32,
    "int16": torch.int16,
    "int8": torch.int8,
    "uint8": torch.uint8,
    "bool": torch.bool,
    "float": torch.float32,
    "float32": torch.float32,
    "float16": torch.float16,
    "half": torch.float16,
    "bfloat16": torch.bfloat16,
    "double": torch.float64,
    "float64": torch.float64,
}
_MOST = sys.float_info.max
_SPEC_KEYS = ("dtype", "shape", "range")


@dataclass(frozen=True, slots=True)
class Inputs:
    """The arguments of one call of a model.

    Attributes:
        args: positional arguments.
        kwargs: keyword arguments, in the order they were given.
        dynamic_axes: axes that a specification named, ``{input: {axis: name}}``; empty unless it did.
    """

    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    dynamic_axes: dict[str, dict[int, str]] = field(default_factory=dict)

    def names(self) -> list[str]:
        """ONNX names for keyword tensors, in order; a tensor inside a structure is ``key.position``. Empty when there
        are positional arguments, whose names torch chooses."""
        if self.args:
            return []
        names: list[str] = []
        for key, value in self.kwargs.items():
            count = sum(1 for _ in tensors_of(value))
            if isinstance(value, torch.Tensor):
                names.append(key)
            else:
                names.extend(f"{key}.{position}" for position in range(count))
        return names


def normalise(
    example_inputs: object, keywords: Mapping[str, Any] | None = None, model: torch.nn.Module | None = None
) -> Inputs:
    """What the caller gave as one call: a tensor, tuple or list is positional, any Mapping is keyword arguments.

    As with torch.onnx.export a dict at the end of a tuple holds keyword arguments, unless the forward of
    ``model`` lacks one of them; ``keywords`` come on top.

    Raises:
        InputError: neither, or nothing was given.
    """
    if isinstance(example_inputs, Inputs):
        return example_inputs
    extra = dict(keywords or {})
    if isinstance(example_inputs, torch.Tensor):
        return Inputs((example_inputs,), extra)
    if isinstance(example_inputs, Mapping):
        bad = next((key for key in example_inputs if not isinstance(key, str)), None)
        if bad is not None:
            raise InputError(f"example_inputs: {bad!r} is not the name of an argument")
        return Inputs((), {**dict(example_inputs), **extra})
    if isinstance(example_inputs, (tuple, list)):
        args = tuple(example_inputs)
        if args and isinstance(args[-1], Mapping) and _fits(args[-1], model):
            return Inputs(args[:-1], {**dict(args[-1]), **extra})
        return Inputs(args, extra)
    if example_inputs is None and extra:
        return Inputs((), extra)
    fields = ""
    if is_dataclass(example_inputs):
        name = type(example_inputs).__name__
        fields = (
            f"; give its fields as a mapping, vars(example_inputs), or (example_inputs,) where forward takes a {name}"
        )
    raise InputError(
        f"example_inputs is {type(example_inputs).__name__}: give a tensor, a tuple or list of arguments, or a "
        f"mapping{fields}"
    )


def _fits(keywords: Mapping[str, Any], model: torch.nn.Module | None) -> bool:
    accepted = parameters_of(model) if model is not None else None
    return accepted is None or all(key in accepted for key in keywords)


def from_specs(specs: Mapping[str, Mapping[str, Any]], model: torch.nn.Module | None = None) -> Inputs:
    """Random tensors for ``{parameter: {dtype, shape, range}}``.

    Without a shape an integer input is [1, 16]; a float input needs one. ``range`` is half-open, as in torch.randint.
    A shape may name an axis; the name makes it dynamic.

    Raises:
        ConfigError: an unknown key, type or parameter, or a value that can't be used.
    """
    accepted = parameters_of(model) if model is not None else None
    values: dict[str, Any] = {}
    dynamic: dict[str, dict[int, str]] = {}
    for name, spec in specs.items():
        where = f"input_specs.{name}"
        if accepted is not None and name not in accepted:
            raise ConfigError(f"{where}: forward has no such parameter{hint(name, accepted)}")
        if not isinstance(spec, Mapping):
            raise ConfigError(f"{where}: expected a mapping of {', '.join(_SPEC_KEYS)}")
        unknown = next((key for key in spec if key not in _SPEC_KEYS), None)
        if unknown is not None:
            raise ConfigError(f"{where}: unknown key {unknown!r}; the keys are {', '.join(_SPEC_KEYS)}")
        shape, axes = _shape(where, spec)
        values[name] = _tensor(where, spec, shape)
        if axes:
            dynamic[name] = axes
    return Inputs((), values, dynamic)


def from_shapes(shapes: Mapping[str, Sequence[int | str]], model: torch.nn.Module | None = None) -> Inputs:
    """Float tensors of the given shapes (integers where an embedding of the model is fed by that parameter is not
    knowable here: say so with ``input_specs``)."""
    return from_specs({name: {"dtype": "float", "shape": list(shape)} for name, shape in shapes.items()}, model)


def infer(model: torch.nn.Module) -> Inputs | None:
    """Inputs that the model itself suggests, by its ``dummy_inputs`` or its configuration (transformers models have
    both), or None."""
    try:
        dummy = getattr(model, "dummy_inputs", None)
    except (AttributeError, KeyError, ValueError, NotImplementedError, TypeError):
        dummy = None
    if not isinstance(dummy, Mapping):
        dummy = {}
    accepted = parameters_of(model)
    main = getattr(model, "main_input_name", None)
    values = {
        key: value
        for key, value in dummy.items()
        if isinstance(value, torch.Tensor) and (not accepted or key in accepted)
    }
    if main is not None and main not in values:
        config = getattr(model, "config", None)
        tensor = _from_config(config, str(main))
        if tensor is None:
            return None
        values = {str(main): tensor}
        if getattr(config, "is_encoder_decoder", False) and "decoder_input_ids" in (accepted or ("decoder_input_ids",)):
            start = getattr(config, "decoder_start_token_id", None) or 0
            values["decoder_input_ids"] = torch.full((1, 2), int(start))
        return Inputs((), values)
    return Inputs((), values) if values else None


def _from_config(config: Any, main: str) -> torch.Tensor | None:
    """The main input of a transformers model, as its configuration describes it; None where it does not."""

    def size(*names: str, default: int = 0) -> int:
        found = next((getattr(config, name) for name in names if isinstance(getattr(config, name, None), int)), default)
        return int(found)

    if config is None:
        return None
    if main == "pixel_values":
        side = getattr(config, "image_size", None) or 224
        height, width = (side, side) if isinstance(side, int) else tuple(side)[-2:]
        return torch.randn(1, size("num_channels", default=3), int(height), int(width))
    if main == "input_features" and size("num_mel_bins") and size("max_source_positions"):
        return torch.randn(1, size("num_mel_bins"), 2 * size("max_source_positions"))
    if main == "input_values":
        return torch.randn(1, 16000)
    if main == "input_ids" and size("vocab_size"):
        return torch.randint(0, size("vocab_size"), DEFAULT_INTEGER_SHAPE)
    return None


def tensors_of(value: Any) -> Iterator[torch.Tensor]:
    """Tensors in nested tuples, lists and mappings, in order."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from tensors_of(item)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_of(item)


def parameters_of(model: torch.nn.Module) -> list[str] | None:
    """Names of forward's parameters; None where it takes any keyword."""
    try:
        parameters = inspect.signature(model.forward).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return [p.name for p in parameters if p.kind is not inspect.Parameter.VAR_POSITIONAL]


def _shape(where: str, spec: Mapping[str, Any]) -> tuple[tuple[int, ...], dict[int, str]]:
    given = spec.get("shape")
    if given is None:
        if _dtype(where, spec).is_floating_point:
            raise ConfigError(f"{where}: a float input needs a shape")
        return DEFAULT_INTEGER_SHAPE, {}
    if isinstance(given, (str, int)) or not isinstance(given, Sequence):
        raise ConfigError(f"{where}: shape {given!r} is not a list")
    shape: list[int] = []
    names: dict[int, str] = {}
    for axis, size in enumerate(given):
        if isinstance(size, str) and size.isidentifier():
            names[axis] = size
            shape.append(NAMED_DIMENSION)
        elif isinstance(size, int) and not isinstance(size, bool) and size >= 0:
            shape.append(size)
        else:
            raise ConfigError(f"{where}: {size!r} in shape is neither a size nor a name")
    return tuple(shape), names


def _dtype(where: str, spec: Mapping[str, Any]) -> torch.dtype:
    name = str(spec.get("dtype", "float")).removeprefix("torch.")
    if name not in _DTYPES:
        raise ConfigError(f"{where}: unknown dtype {name!r}; known are {', '.join(_DTYPES)}")
    return _DTYPES[name]


def _tensor(where: str, spec: Mapping[str, Any], shape: tuple[int, ...]) -> torch.Tensor:
    dtype = _dtype(where, spec)
    bounds = spec.get("range")
    if bounds is not None and (
        not isinstance(bounds, Sequence)
        or len(bounds) != 2
        or not all(isinstance(bound, (int, float)) and not isinstance(bound, bool) for bound in bounds)
        or not -_MOST <= bounds[0] < bounds[1] <= _MOST
    ):
        raise ConfigError(f"{where}: range {bounds!r:.60} is not [low, high) with low < high, both finite")
    try:
        return _made(where, dtype, shape, bounds)
    except (RuntimeError, TypeError, OverflowError, MemoryError) as error:  # more elements than fit, and the like
        raise ConfigError(f"{where}: torch can't make it: {first_line(error)}") from error


def _made(where: str, dtype: torch.dtype, shape: tuple[int, ...], bounds: Sequence[float] | None) -> torch.Tensor:
    if dtype.is_floating_point:
        if bounds is None:
            return torch.randn(shape).to(dtype)
        return torch.empty(shape).uniform_(float(bounds[0]), float(bounds[1])).to(dtype)
    low, high = bounds if bounds is not None else (0, 2)
    if int(low) != low or int(high) != high:
        raise ConfigError(f"{where}: range {bounds!r:.60} of an integer input is not of integers")
    info = torch.iinfo(dtype) if dtype is not torch.bool else None
    if info is not None and (low < info.min or high - 1 > info.max):
        raise ConfigError(f"{where}: range {bounds!r:.60} does not fit {dtype}")
    return torch.randint(int(low), int(high), shape).to(dtype)
