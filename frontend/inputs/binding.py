"""Which input goes by which name: keyword inputs are bound by name, for both exporters and whatever their order.

torch binds names and axes by position: TorchScript in the order of forward's parameters, dynamo in the order of the
keywords, except with ``dynamic_axes``, where it makes them positional and forgets the parameters that were left out.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.utils import _pytree

from modelexport.frontend.inputs.example_inputs import Inputs, tensors_of


def onnx_names(inputs: Inputs, input_names: Sequence[str] | None) -> dict[str, str]:
    """ONNX name by the own name of each keyword tensor (``Inputs.names``), in the order of the inputs.

    Names that are all keywords of the call name those; others are given out in the order of the inputs. Tensors beyond
    the last name keep their own.
    """
    own = inputs.names()
    given = list(input_names or ())
    if set(given) <= {*own}:
        return {name: name for name in own}
    return dict(zip(own, [*given, *own[len(given) :]], strict=False))


def in_signature_order(model: torch.nn.Module, inputs: Inputs) -> Inputs:
    """The same call with its keywords in the order of forward's parameters; those of ``**kwargs`` at the end."""
    try:
        parameters = list(inspect.signature(model.forward).parameters)
    except (TypeError, ValueError):
        return inputs
    known = {name: inputs.kwargs[name] for name in parameters if name in inputs.kwargs}
    return Inputs(inputs.args, {**known, **inputs.kwargs}, inputs.dynamic_axes)


def for_torchscript(inputs: Inputs, options: Mapping[str, Any]) -> dict[str, Any]:
    """``options`` with the names of keyword inputs, in the order of the inputs. Names beyond them are for weights."""
    given = dict(options)
    if inputs.kwargs and not inputs.args:
        own, asked = inputs.names(), list(given.get("input_names") or ())
        names = onnx_names(inputs, asked)
        given["input_names"] = [*(names[name] for name in own), *asked[len(own) :]]
    return given


def for_dynamo(model: torch.nn.Module, inputs: Inputs, options: Mapping[str, Any]) -> tuple[Inputs, dict[str, Any]]:
    """Inputs as torch.export takes them, and ``options`` with names and shapes that belong to them.

    ``dynamic_axes`` become ``dynamic_shapes`` where there are keywords.
    """
    given = dict(options)
    if not inputs.kwargs:
        return inputs, given
    names = onnx_names(inputs, given.get("input_names"))
    shapes, axes = given.get("dynamic_shapes"), given.pop("dynamic_axes", None)
    if axes or isinstance(shapes, Mapping):
        inputs = in_signature_order(model, inputs)
    if given.get("input_names") and not inputs.args:
        given["input_names"] = [names[own] for own in inputs.names()]
    if axes:
        given["dynamic_shapes"] = _shapes(model, inputs, axes, names, given.get("input_names") or ())
    elif isinstance(shapes, Mapping):
        order = [name for name in bound(model, inputs) if name in shapes]
        given["dynamic_shapes"] = {**{name: shapes[name] for name in order}, **shapes}
    return inputs, given


def _shapes(
    model: torch.nn.Module, inputs: Inputs, axes: Mapping[str, Any], names: Mapping[str, str], given: Sequence[str]
) -> dict[str, Any]:
    """Shapes by parameter, in the structure of its value, from axes by ONNX name."""
    onnx = iter(given) if inputs.args else iter(())
    found: dict[str, Any] = {}
    for parameter, value in bound(model, inputs).items():
        own = _leaf_names(parameter, value, inputs)

        def entry(own: Iterator[str] = own, parameter: str = parameter) -> Any:
            name = next(own, parameter)
            return axes.get(next(onnx, None) or names.get(name, name), axes.get(name))

        found[parameter] = _shape(value, entry)
    return found


def _shape(value: Any, entry: Callable[[], Any]) -> Any:
    """Dynamic shapes in the structure of ``value``: torch wants classes of others in their flat form."""
    if isinstance(value, torch.Tensor):
        axes = entry()
        if axes is None:
            return None
        return dict(axes) if isinstance(axes, Mapping) else dict.fromkeys(axes, torch.export.Dim.DYNAMIC)
    if type(value) is dict:
        return {key: _shape(inner, entry) for key, inner in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_shape(inner, entry) for inner in value)
    registered = _pytree.SUPPORTED_NODES.get(type(value))
    return [_shape(inner, entry) for inner in registered.flatten_fn(value)[0]] if registered is not None else None


def _leaf_names(parameter: str, value: Any, inputs: Inputs) -> Iterator[str]:
    """Own names of a value's tensors; what ``**kwargs`` takes has the names of its keywords."""
    if parameter not in inputs.kwargs and isinstance(value, Mapping) and value.keys() <= inputs.kwargs.keys():
        for key, inner in value.items():
            yield from _leaf_names(key, inner, inputs)
    elif isinstance(value, torch.Tensor):
        yield parameter
    else:
        yield from (f"{parameter}.{position}" for position, _ in enumerate(tensors_of(value)))


def bound(model: torch.nn.Module, inputs: Inputs) -> dict[str, Any]:
    """Values by parameter of forward, in its order; what ``*args`` and ``**kwargs`` take is under their names."""
    try:
        return dict(inspect.signature(model.forward).bind_partial(*inputs.args, **inputs.kwargs).arguments)
    except (TypeError, ValueError):
        return {**{f"arg{i}": value for i, value in enumerate(inputs.args)}, **inputs.kwargs}
