"""Watching module calls: one patch of ``torch.nn.Module.__call__`` that only acts in the threads that asked for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

Call = Callable[..., Any]
Around = Callable[[torch.nn.Module, Call, tuple[Any, ...], dict[str, Any]], Any]

TORCH_LOCK = threading.RLock()
"""Held while torch traces or exports: its exporters keep their state in module globals."""

_guard = threading.Lock()
_active = threading.local()
_users = 0
_original: Call | None = None


@contextmanager
def watch_calls(around: Around) -> Iterator[None]:
    """Let ``around(module, proceed, args, kwargs)`` stand around every module call of this thread.

    ``proceed(module, *args, **kwargs)`` is the call itself with its hooks, so operators of forward hooks are inside it.
    Other threads are not affected. The class attribute is put back when the last user leaves.
    """
    stack: list[Around] = _active.__dict__.setdefault("stack", [])
    _enter()
    stack.append(around)
    try:
        yield
    finally:
        stack.pop()
        _leave()


def _enter() -> None:
    global _users, _original
    with _guard:
        if _users == 0:
            _original = torch.nn.Module.__call__
            torch.nn.Module.__call__ = _dispatching(_original)  # type: ignore[method-assign]
        _users += 1


def _leave() -> None:
    global _users, _original
    with _guard:
        _users -= 1
        if _users == 0 and _original is not None:
            torch.nn.Module.__call__ = _original  # type: ignore[method-assign]
            _original = None


def _dispatching(original: Call) -> Call:
    def __call__(self: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        stack: list[Around] | None = _active.__dict__.get("stack")
        if not stack:
            return original(self, *args, **kwargs)
        return stack[-1](self, original, args, kwargs)

    return __call__
