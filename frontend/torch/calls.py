"""Standing at module calls, in the threads that asked for it, without a frame of ours on the stack of what is called.

``torch.nn.Module.__call__`` becomes a descriptor for the time: Python asks it for the bound method when a module is
called, that is where listeners are told, and what it hands out is torch's own method. So the stack traces that
exporters write, the recursion limit and dynamo's comparison of ``__call__`` with torch's own function are as without
it. ``torch.fx`` keeps its own reference to the function, which torch.export calls; it is replaced too.
"""

from __future__ import annotations

import sys
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

Call = Callable[..., Any]
Around = Callable[[torch.nn.Module, Call, tuple[Any, ...], dict[str, Any]], Any]
Wants = Callable[[torch.nn.Module], bool]
Listener = Callable[[torch.nn.Module, types.FrameType], None]
"""Told that a module is about to be called, and by which frame. It must neither raise nor keep the frame."""

TORCH_LOCK = threading.RLock()
"""Held while torch traces or exports: its exporters keep their state in module globals."""

_FX = "torch.fx._symbolic_trace"
_FX_CALL = "_orig_module_call"
_DYNAMO = "torch._dynamo"

_guard = threading.Lock()
_users = 0


class _Active(threading.local):
    """Who stands at the calls of this thread."""

    def __init__(self) -> None:
        self.listeners: list[Listener] = []
        self.arounds: list[tuple[Around, Wants]] = []


_active = _Active()


class _CallPoint:
    """Stands in the place of ``torch.nn.Module.__call__``."""

    def __init__(self, original: Call) -> None:
        self.original = original
        self.fx_original: Call | None = None
        self.__doc__ = original.__doc__

    def __get__(self, module: torch.nn.Module | None, owner: type | None = None) -> Any:
        if module is None:
            return self.original
        if _active.listeners:
            _tell(module, sys._getframe(1))
        if _around(module) is not None:
            return types.MethodType(self.call_around, module)
        return types.MethodType(self.original, module)

    def call_around(self, module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        """The call with the innermost of the thread's arounds around it that want it."""
        around = _around(module)
        if around is None:
            return self.original(module, *args, **kwargs)
        return around(module, self.original, args, kwargs)

    def called_by_fx(self, module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        """What torch.fx calls while it traces; by then its own function stands at ``torch.nn.Module.__call__``."""
        if _active.listeners:
            _tell(module, sys._getframe(1))
        return self.call_around(module, *args, **kwargs)


_point: _CallPoint | None = None


@contextmanager
def heard_calls(listener: Listener) -> Iterator[None]:
    """Tell ``listener`` of every module call of this thread before it begins, whatever hooks the module has.

    What dynamo compiles is not called in Python and not heard. Other threads are not affected.
    """
    _enter()
    _active.listeners.append(listener)
    try:
        yield
    finally:
        _active.listeners.remove(listener)
        _leave()


@contextmanager
def watch_calls(around: Around, wants: Wants = lambda module: True) -> Iterator[None]:
    """Let ``around(module, proceed, args, kwargs)`` stand around every module call of this thread that it ``wants``.

    ``wants`` is asked at each call, and the others have no frame of ours on their stack.
    ``proceed(module, *args, **kwargs)`` is the call itself with its hooks, so operators of forward hooks are inside it.
    Other threads are not affected. The class attribute is put back when the last user leaves.
    """
    _enter()
    _active.arounds.append((around, wants))
    try:
        yield
    finally:
        _active.arounds.pop()
        _leave()


def _around(module: torch.nn.Module) -> Around | None:
    return next((around for around, wants in reversed(_active.arounds) if wants(module)), None)


def _tell(module: torch.nn.Module, frame: types.FrameType) -> None:
    if not str(frame.f_globals.get("__name__", "")).startswith(_DYNAMO):  # dynamo looks at methods it does not call
        for listener in tuple(_active.listeners):
            listener(module, frame)


def _torch_call(fx: types.ModuleType) -> Call:
    """What stands at ``torch.nn.Module.__call__`` when nothing traces; fx's stand-in for a trace, be it of another
    thread, would call itself for ever."""
    found: Call = torch.nn.Module.__dict__["__call__"]
    code = getattr(found, "__code__", None)  # its name and module say that it is the function it wraps
    if code is not None and code.co_filename == fx.__file__:
        found = getattr(fx, _FX_CALL)
    return found


def _enter() -> None:
    global _users, _point
    import torch.fx._symbolic_trace as fx

    with _guard:
        if _point is None:
            _point = _CallPoint(_torch_call(fx))
        if torch.nn.Module.__dict__["__call__"] is _point.original:  # fx takes the descriptor away when it has traced
            torch.nn.Module.__call__ = _point  # type: ignore[assignment, method-assign]
        if _users == 0 and hasattr(fx, _FX_CALL):
            _point.fx_original = getattr(fx, _FX_CALL)
            setattr(fx, _FX_CALL, _point.called_by_fx)
        _users += 1


def _leave() -> None:
    global _users, _point
    import torch.fx._symbolic_trace as fx

    with _guard:
        _users -= 1
        if _users == 0 and _point is not None:
            if torch.nn.Module.__dict__["__call__"] is _point:
                torch.nn.Module.__call__ = _point.original  # type: ignore[method-assign]
            if _point.fx_original is not None:
                setattr(fx, _FX_CALL, _point.fx_original)
            _point = None
