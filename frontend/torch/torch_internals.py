"""The parts of torch's exporters that have moved between versions."""

from __future__ import annotations

import inspect
from contextlib import suppress
from functools import cache
from importlib import import_module
from types import ModuleType

import torch

_UTILS = ("torch.onnx._internal.torchscript_exporter.utils", "torch.onnx.utils")


def torchscript_utils() -> ModuleType:
    """The module of the TorchScript exporter."""
    for name in _UTILS:
        try:
            module = import_module(name)
        except ImportError:
            continue
        if hasattr(module, "_export"):
            return module
    raise ImportError("this torch has no TorchScript-based ONNX exporter")


@cache
def export_parameters() -> dict[str, inspect.Parameter]:
    """Parameters of the installed ``torch.onnx.export``, by name."""
    return dict(inspect.signature(torch.onnx.export).parameters)


@cache
def default_is_dynamo() -> bool:
    """Whether the installed torch exports through torch.export unless told otherwise."""
    parameter = export_parameters().get("dynamo")
    return parameter is not None and parameter.default is True


def ready(exporter: str) -> None:
    """Import what the exporter (``torchscript`` or ``dynamo``) is made of; torch does it when it exports."""
    if exporter == "torchscript":
        torchscript_utils()
    else:
        with suppress(ImportError):  # a torch that keeps it elsewhere
            import_module("torch.onnx._internal.exporter._core")
