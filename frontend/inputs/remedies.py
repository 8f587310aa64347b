"""What to do about exports that torch refuses for what it was given: inputs of other classes, sharded models."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from typing import Any

import torch

from modelexport.frontend.inputs.binding import bound
from modelexport.frontend.inputs.example_inputs import Inputs, tensors_of

_REFUSED = re.compile(r"unsupported type: ([\w.]+)|Unsupported input type <class '([^']+)'>|Found <class '([^']+)'>")
_NO_AXIS = re.compile(r"Dynamic shape axis|IndexError|Found the following conflicts|dynamic_shapes")
_RETURN = "wrap the model in one that returns a tensor, or a tuple, list or dict of tensors"
_SHARDED = ("FullyShardedDataParallel", "FSDPModule")
_GATHER = (
    "load the full state dict (torch.distributed.checkpoint.state_dict.get_model_state_dict with full_state_dict=True) "
    "into the module as it was before it was sharded, and export that"
)


def remedy(model: torch.nn.Module, inputs: Inputs, told: str, options: Mapping[str, Any] | None = None) -> str:
    """The cause and what to do, to put behind what torch told; an empty text where nothing is known of it."""
    beyond = _beyond(model, inputs, options or {}) if _NO_AXIS.search(told) else ""
    if beyond:
        return f"; {beyond}"
    if "translating node return" in told:
        return f"; forward returns what is no tensor: {_RETURN}"
    refused = _REFUSED.search(told)
    if refused is not None:
        return f"; {_of_class(next(filter(None, refused.groups())).rpartition('.')[2], inputs)}"
    for module in model.modules():
        kinds = type(module).__mro__
        if any(kind.__name__ in _SHARDED and kind.__module__.startswith("torch.distributed") for kind in kinds):
            return f"; {kinds[0].__name__} is sharded (FSDP): {_GATHER}"
        if any(type(parameter).__name__ == "DTensor" for parameter in module._parameters.values()):
            return f"; a parameter of {kinds[0].__name__} is a DTensor: {_GATHER}"
    if isinstance(model, torch.nn.parallel.DistributedDataParallel | torch.nn.DataParallel):
        return "; give model.module, which the wrapper holds"
    if isinstance(model, torch._dynamo.OptimizedModule):
        return "; give the module that was compiled, model._orig_mod"
    return ""


def _of_class(name: str, inputs: Inputs) -> str:
    named = {**{f"argument {at}": value for at, value in enumerate(inputs.args)}, **inputs.kwargs}
    for place, value in _leaves(named):
        if type(value).__name__ != name:
            continue
        if type(value).__module__ == "numpy":
            return f"{place} is a NumPy array: give torch.from_numpy(...)"
        if isinstance(value, set | frozenset) or hasattr(type(value), "__next__"):
            return f"{place} is a {name}: give a tuple or a list"
        what = "a dataclass" if is_dataclass(value) else "no tensor and no container of tensors"
        can = (
            " (dynamo also takes a dataclass that torch.export.register_dataclass knows)" if is_dataclass(value) else ""
        )
        return f"{place} is {name}, {what}: wrap the model in one whose forward takes its tensors and makes it{can}"
    return f"forward returns {name}: {_RETURN}"


def _beyond(model: torch.nn.Module, inputs: Inputs, options: Mapping[str, Any]) -> str:
    """Which input lacks an axis that was asked for; "" where none does."""
    asked: list[tuple[str, torch.Tensor, Any]] = []
    own = dict(zip(inputs.names(), tensors_of((inputs.args, inputs.kwargs)), strict=False))
    given = zip(options.get("input_names") or (), tensors_of((inputs.args, inputs.kwargs)), strict=False)
    axes = options.get("dynamic_axes") or {}
    asked += [(name, tensor, axes[name]) for name, tensor in {**own, **dict(given)}.items() if name in axes]
    shapes = options.get("dynamic_shapes")
    if isinstance(shapes, Mapping):
        held = bound(model, inputs)
        asked += [(name, held[name], shape) for name, shape in shapes.items() if name in held]
    elif isinstance(shapes, tuple | list):
        places = {**{f"argument {at}": value for at, value in enumerate(inputs.args)}, **inputs.kwargs}
        asked += [(name, value, shape) for (name, value), shape in zip(places.items(), shapes, strict=False)]
    for name, tensor, wanted in asked:
        for axis in wanted if isinstance(tensor, torch.Tensor) and isinstance(wanted, Mapping | tuple | list) else ():
            if isinstance(axis, int) and not -tensor.ndim <= axis < tensor.ndim:
                return f"input {name!r} has {tensor.ndim} dimensions, so there is no axis {axis}"
    return ""


def _leaves(values: Mapping[Any, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        place = f"{above}[{key!r}]" if above else str(key)
        if isinstance(value, Mapping):
            yield from _leaves(value, place)
        elif isinstance(value, tuple | list):
            yield from _leaves(dict(enumerate(value)), place)
        else:
            yield place, value
