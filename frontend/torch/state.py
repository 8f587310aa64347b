"""Everything an export disturbs, and putting it back: the model, torch's globals, random state, standard output."""

from __future__ import annotations

import gc
import logging
import os
import random
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch

logger = logging.getLogger("modelexport.frontend")


@contextmanager
def kept_random_state() -> Iterator[None]:
    """Put the random state of Python, numpy and torch back afterwards."""
    import numpy as np

    python, legacy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=_cuda_devices()):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)


@contextmanager
def evaluation_mode(model: torch.nn.Module) -> Iterator[None]:
    """Every module in evaluation mode; each gets its own flag back afterwards."""
    training = [module for module in model.modules() if in_training(module)]
    try:
        for module in training:
            module.training = False
        yield
    finally:
        for module in training:
            module.training = True


def in_training(module: torch.nn.Module) -> bool | None:
    """The module's training flag; None where it has none, as frozen scripts, or one that can't be read."""
    try:
        return bool(module.training)
    except Exception:  # noqa: BLE001 - a property of a user's class may raise anything
        return None


@contextmanager
def kept_model(model: torch.nn.Module) -> Iterator[None]:
    """Put training flags and an instance's own ``forward`` back afterwards, and take torch's own hooks away.

    torch itself gives all modules the root's training flag back, and ``export_modules_as_functions`` leaves hooks.
    Hooks that a model makes while it runs stay: it may know that it has them.
    """
    kept = [(module, in_training(module)) for module in model.modules()]
    forward = model.__dict__.get("forward")
    try:
        yield
    finally:
        for module, training in kept:
            if in_training(module) is not training:
                module.training = bool(training)
            for hooks in (module._forward_hooks, module._forward_pre_hooks):
                for key in [key for key, hook in hooks.items() if _is_of_exporter(hook)]:
                    del hooks[key]
            module.__dict__.pop("_onnx_attrs", None)
        if model.__dict__.get("forward") is not forward:
            if forward is None:
                del model.__dict__["forward"]
            else:
                model.__dict__["forward"] = forward


def _is_of_exporter(hook: object) -> bool:
    return str(getattr(hook, "__module__", "")).startswith("torch.onnx.")


@contextmanager
def kept_torch_state() -> Iterator[None]:
    """Put grad mode, the autocast cache and the exporters' module globals back afterwards."""
    import torch.jit._trace

    from modelexport.frontend.torch.torch_internals import torchscript_utils

    settings: Any = getattr(torchscript_utils(), "GLOBALS", None)
    before = dict(vars(settings)) if settings is not None else {}
    grad, cache = torch.is_grad_enabled(), torch.is_autocast_cache_enabled()
    module_map = torch.jit._trace._trace_module_map
    try:
        yield
    finally:
        if settings is not None:
            vars(settings).clear()
            vars(settings).update(before)
        torch.jit._trace._trace_module_map = module_map
        torch.set_autocast_cache_enabled(cache)
        torch.set_grad_enabled(grad)


@contextmanager
def rare_collection() -> Iterator[None]:
    """Let the cyclic collector run rarely: exporters build many small objects, nearly all of which live on."""
    before = gc.get_threshold()
    gc.set_threshold(max(before[0], 200_000) if before[0] else 0, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


@contextmanager
def quiet_stdout() -> Iterator[None]:
    """Hold back what is written to standard output, by C++ code too; on failure it goes to the debug log instead.

    torch prints whole graphs when an export fails. Without a usable file descriptor 1 nothing is held back.
    """
    try:
        sys.stdout.flush()
        original = os.dup(1)
    except (OSError, ValueError, AttributeError):
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 1)
        failed = True
        try:
            yield
            failed = False
        finally:
            with suppress(OSError, ValueError):
                sys.stdout.flush()
            os.dup2(original, 1)
            os.close(original)
            held.seek(0)
            if failed:
                logger.debug("output of the failed export:\n%s", held.read().decode("utf-8", "replace"))
            else:
                while chunk := held.read(1 << 20):
                    os.write(1, chunk)


def _cuda_devices() -> list[int]:
    initialized: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return list(range(torch.cuda.device_count())) if initialized else []
