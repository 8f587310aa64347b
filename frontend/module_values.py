"""What the modules of an nn.Module give out when it runs: path, call and outputs, in execution order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from modelexport.frontend.inputs.example_inputs import Inputs, parameters_of, tensors_of
from modelexport.frontend.torch.state import kept_model
from modelexport.frontend.trace.watching import watching
from modelexport.ir.arrays import Array
from modelexport.ir.errors import InputError
from modelexport.ir.text import shown

OnOutput = Callable[[str, int, list[Array]], None]


def run_modules(module: torch.nn.Module, inputs: Inputs, on_output: OnOutput) -> None:
    """Run ``module`` once, as exporters do: in evaluation mode, without gradients. Its training flags are put back.

    Args:
        on_output: called when a module call ends, with its dotted path (as its caller names it), the number of the call
            from 1, and its tensors in order, bfloat16 and smaller floats as float32. Modules without a name are left
            out.
    """
    numbers: dict[int, int] = {}
    counts: dict[str, int] = {}
    with kept_model(module), watching(module) as watch, torch.no_grad():

        def heard(called: torch.nn.Module, args: Any, output: Any) -> None:
            call = watch.latest(called)
            if call is None or not call.named:
                return
            for each in watch.calls[len(numbers) :]:
                if each.named:
                    counts[each.path] = counts.get(each.path, 0) + 1
                numbers[each.index] = counts.get(each.path, 0)
            on_output(call.path, numbers[call.index], [as_array(tensor) for tensor in tensors_of(output)])

        handle = torch.nn.modules.module.register_module_forward_hook(heard)
        try:
            module.eval()
            module(*inputs.args, **inputs.kwargs)
        finally:
            handle.remove()


def as_array(tensor: torch.Tensor) -> Array:
    """A tensor as an array of its own; floats that NumPy lacks as float32."""
    found = tensor.detach().cpu()
    if found.dtype.is_floating_point and found.dtype not in (torch.float16, torch.float32, torch.float64):
        found = found.float()
    return np.array(found.resolve_conj().resolve_neg().numpy())


def named_arrays(module: torch.nn.Module, inputs: Inputs, wanted: list[str]) -> dict[str, Array]:
    """The tensors of a call as arrays under the names of a graph's inputs: by name, else in order.

    Raises:
        InputError: the tensors and the names don't correspond.
    """
    by_name = _by_name(module, inputs)
    if all(name in by_name for name in wanted):
        return {name: as_array(by_name[name]) for name in wanted}
    tensors = list(_all_tensors(inputs))
    if len(tensors) == len(wanted):
        return {name: as_array(tensor) for name, tensor in zip(wanted, tensors, strict=True)}
    listed = ", ".join(map(shown, wanted)) or "none"
    raise InputError(f"the inputs don't correspond: the model takes {len(tensors)} tensors, the candidate has {listed}")


def with_arrays(module: torch.nn.Module, inputs: Inputs, arrays: Mapping[str, Array], wanted: list[str]) -> Inputs:
    """``inputs`` with given arrays in the place of the tensors of these names.

    Args:
        wanted: the graph's inputs, in order; an array goes by a name of theirs or by one of a forward parameter.

    Raises:
        InputError: a name that is no input, or an array of another type.
    """
    if not arrays:
        return inputs
    by_name = _by_name(module, inputs)
    tensors = list(_all_tensors(inputs))
    if len(tensors) == len(wanted):
        by_name = {**dict(zip(wanted, tensors, strict=True)), **by_name}
    replaced: dict[int, torch.Tensor] = {}
    for name, array in arrays.items():
        old = by_name.get(name)
        if old is None:
            raise InputError(f"no input {shown(name)!r}; inputs: {', '.join(map(shown, by_name)) or 'none'}")
        new = torch.from_numpy(np.ascontiguousarray(array).reshape(array.shape))
        if new.dtype.is_floating_point != old.dtype.is_floating_point:
            raise InputError(f"input {shown(name)!r} is {old.dtype}, not {array.dtype}")
        replaced[id(old)] = new.to(old.dtype)
    args = tuple(_replace(value, replaced) for value in inputs.args)
    kwargs = {key: _replace(value, replaced) for key, value in inputs.kwargs.items()}
    return Inputs(args, kwargs, inputs.dynamic_axes)


def _by_name(module: torch.nn.Module, inputs: Inputs) -> dict[str, torch.Tensor]:
    named = {**dict(zip(parameters_of(module) or (), inputs.args, strict=False)), **inputs.kwargs}
    found: dict[str, torch.Tensor] = {}
    for name, value in named.items():
        if isinstance(value, torch.Tensor):
            found[name] = value
        else:
            found.update((f"{name}.{number}", tensor) for number, tensor in enumerate(tensors_of(value)))
    return found


def _all_tensors(inputs: Inputs) -> list[torch.Tensor]:
    return [tensor for value in (*inputs.args, *inputs.kwargs.values()) for tensor in tensors_of(value)]


def _replace(value: Any, replaced: Mapping[int, torch.Tensor]) -> Any:
    if isinstance(value, torch.Tensor):
        return replaced.get(id(value), value)
    if isinstance(value, tuple) and type(value) is tuple:
        return tuple(_replace(each, replaced) for each in value)
    if type(value) is list:
        return [_replace(each, replaced) for each in value]
    if type(value) is dict:
        return {key: _replace(each, replaced) for key, each in value.items()}
    return value
