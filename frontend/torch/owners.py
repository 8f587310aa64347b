"""Which modules hold a weight: evidence of where a node is from that no exporter's record has a part in."""

from __future__ import annotations

from collections import defaultdict

import torch

from modelexport.frontend.trace.naming import ModuleNames, transparent

_UNINITIALIZED = (torch.nn.parameter.UninitializedParameter, torch.nn.parameter.UninitializedBuffer)
_COMPARED = (torch.Tensor, torch.nn.Parameter, torch.nn.Buffer)


class WeightOwners:
    """Modules by the name of a parameter or buffer. Equal tensors count as one: exporters merge them under one name."""

    def __init__(self, names: ModuleNames) -> None:
        self.names = names
        self._tensors: dict[str, torch.Tensor] = {}
        self._holders: dict[int, list[str]] = defaultdict(list)
        self._alike: dict[tuple[object, ...], dict[int, torch.Tensor]] = defaultdict(dict)
        for module, paths in names.paths.items():
            for local, tensor in (*module._parameters.items(), *module._buffers.items()):
                if tensor is None or isinstance(tensor, _UNINITIALIZED):
                    continue
                self._tensors.update((f"{path}.{local}".lstrip("."), tensor) for path in paths)
                self._holders[id(tensor)] += paths
                self._alike[_key(tensor)][id(tensor)] = tensor
        self._found: dict[int, tuple[str, ...]] = {}

    def of(self, name: str) -> tuple[str, ...]:
        """Every path of every module that holds the weight ``name`` or an equal one; empty where it is no weight's."""
        tensor = self._tensors.get(transparent(name))
        if tensor is None:
            return ()
        found = self._found.get(id(tensor))
        if found is None:
            holders = [
                path
                for other in self._alike[_key(tensor)].values()
                if other is tensor or _is_equal(other, tensor)
                for path in self._holders[id(other)]
            ]
            found = self._found[id(tensor)] = tuple(dict.fromkeys(holders))
        return found

    def is_norm(self, path: str) -> bool:
        """Whether the module at ``path`` is a batch norm, which exporters fold into the product before it."""
        return isinstance(self.names.at(path), torch.nn.modules.batchnorm._NormBase)


def _key(tensor: torch.Tensor) -> tuple[object, ...]:
    """Equal for tensors that may have equal elements.

    What torch left in a model (fake tensors), what has no elements or no one shape, and classes of others, whose
    operators may do anything, are only equal to themselves.
    """
    if type(tensor) not in _COMPARED or tensor.is_nested or tensor.is_meta:
        return (id(tensor),)
    return tuple(tensor.shape), tensor.dtype, tensor.layout, tensor.device


def _is_equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    try:
        return bool(torch.equal(one, other))
    except (RuntimeError, NotImplementedError):  # no such operator for this layout or type
        return False
