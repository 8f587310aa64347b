"""A copy of a model and its inputs to run apart, so that nothing of the caller's changes."""

from __future__ import annotations

import copy
import functools
import types
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import torch

from modelexport.frontend.torch.reasons import first_line
from modelexport.ir.errors import ExportError

T = TypeVar("T")


class NoCopyError(ExportError):
    """The objects can't be copied; the message says why."""


def copied(objects: T) -> T:
    """A deep copy in which nothing leads back to the original: tensors, containers, hooks, and functions that were made
    around the original's modules.

    Raises:
        NoCopyError: something in it can't be copied.
    """
    memo: dict[int, Any] = {}
    try:
        for tensor in _tensors(objects, set()):
            if (not tensor.is_leaf or _opaque(tensor)) and id(tensor) not in memo:
                memo[id(tensor)] = tensor.detach().clone().requires_grad_(tensor.requires_grad)
        return _Copier(memo).copy(objects)
    except Exception as error:  # user classes may raise anything when they are copied, and that they do is the answer
        raise NoCopyError(f"the model or its inputs can't be copied: {first_line(error)}") from error


def _opaque(tensor: torch.Tensor) -> bool:
    """Whether ``copy.deepcopy`` fails on the tensor and ``clone`` does not: there is no storage that it can reach."""
    strided = tensor.layout is torch.strided and not tensor.is_nested
    return not strided and not isinstance(tensor, torch.nn.Parameter)


class _Copier:
    """Copies with ``copy.deepcopy``, which hands functions on as they are: those with a closure are made again."""

    def __init__(self, memo: dict[int, Any]) -> None:
        self.memo = memo

    def copy(self, objects: T) -> T:
        functions = list(_functions(objects, set()))
        for function in functions:
            self.memo[id(function)] = _twin(function)
        result = copy.deepcopy(objects, self.memo)
        for function in functions:
            self._fill(function, self.memo[id(function)])
        return result

    def _fill(self, function: types.FunctionType, twin: types.FunctionType) -> None:
        for cell, own in zip(function.__closure__ or (), twin.__closure__ or (), strict=True):
            try:
                content = cell.cell_contents
            except ValueError:  # not set yet
                continue
            own.cell_contents = copy.deepcopy(content, self.memo)


def _twin(function: types.FunctionType) -> types.FunctionType:
    cells = tuple(types.CellType() for _ in function.__closure__ or ())
    twin = types.FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, cells or None
    )
    twin.__kwdefaults__ = function.__kwdefaults__
    twin.__dict__.update(function.__dict__)
    return twin


def _parts(value: Any) -> Iterator[Any]:
    """What a value holds, as far as models are made of it."""
    if isinstance(value, torch.nn.Module):
        yield from vars(value).values()
    elif isinstance(value, Mapping):
        yield from value.values()
    elif isinstance(value, (list, tuple, set, frozenset)):
        yield from value
    elif isinstance(value, functools.partial):
        yield value.func
        yield from value.args
        yield from value.keywords.values()
    elif isinstance(value, types.MethodType):
        yield value.__self__
        yield value.__func__
    elif isinstance(value, types.FunctionType):
        for cell in value.__closure__ or ():
            try:
                yield cell.cell_contents
            except ValueError:  # not set yet
                continue


def _walk(value: Any, seen: set[int]) -> Iterator[Any]:
    stack = [value]
    while stack:
        current = stack.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        stack.extend(_parts(current))


def _tensors(value: Any, seen: set[int]) -> Iterator[torch.Tensor]:
    return (each for each in _walk(value, seen) if isinstance(each, torch.Tensor))


def _functions(value: Any, seen: set[int]) -> Iterator[types.FunctionType]:
    return (each for each in _walk(value, seen) if isinstance(each, types.FunctionType) and each.__closure__)
