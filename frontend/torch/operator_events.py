"""Counting the operators that torch's exporters recorded while they ran a model.

Both exporters hold the run as a graph before they lower it: TorchScript's trace, torch.export's program before its
decompositions. Each has one node for each operator call, which knows the module call it was made in. So the operators
are counted without standing at any of them.
"""

from __future__ import annotations

import operator
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

Counter = Callable[[list[object]], None]
"""Given one key for each operator, in order: equal for the operators of one module call."""

_TORCHSCRIPT = ("torch._C", "_jit_pass_onnx_lint")  # the first pass over a trace; a stand-in is not on the stack before
_DYNAMO = ("torch.onnx._internal.exporter._core", "_prepare_exported_program_for_export")
_CALLS = ("prim::PythonOp", "prim::CallFunction", "prim::CallMethod")

_guard = threading.Lock()
_users: dict[str, int] = {}
_originals: dict[str, Any] = {}


class _Active(threading.local):
    def __init__(self) -> None:
        self.counters: list[Counter] = []


_active = _Active()


@contextmanager
def counted_events(counter: Counter) -> Iterator[None]:
    """Tell ``counter`` of each run that an exporter records in this thread.

    An exporter whose module is not imported yet is not counted.
    """
    with ExitStack() as stack:
        for place, name, keys in ((*_TORCHSCRIPT, _traced), (*_DYNAMO, _exported)):
            owner = sys.modules.get(place)
            if owner is not None and hasattr(owner, name):
                stack.enter_context(_standing(owner, name, keys))
        _active.counters.append(counter)
        stack.callback(_active.counters.remove, counter)
        yield


@contextmanager
def _standing(owner: Any, name: str, keys: Callable[[tuple[Any, ...]], list[object]]) -> Iterator[None]:
    """``owner.name`` tells the thread's counters; it is put back when the last user leaves."""
    with _guard:
        if not _users.get(name):
            original = _originals[name] = getattr(owner, name)

            def standing(*args: Any, **kwargs: Any) -> Any:
                result = original(*args, **kwargs)
                if _active.counters:
                    found = keys(args)
                    for counter in tuple(_active.counters) if found else ():
                        counter(found)
                return result

            setattr(owner, name, standing)
        _users[name] = _users.get(name, 0) + 1
    try:
        yield
    finally:
        with _guard:
            _users[name] -= 1
            if not _users[name]:
                setattr(owner, name, _originals.pop(name))


def _traced(args: tuple[Any, ...]) -> list[object]:
    """Scopes of the operators in TorchScript's raw trace; none once it is lowered to ONNX."""
    found: list[object] = []
    stack = [args[0]]
    while stack:
        for node in stack.pop().nodes():
            kind = node.kind()
            if kind.startswith("onnx::"):
                return []
            if not kind.startswith("prim::") or kind in _CALLS:
                found.append(node.scopeName())
            stack.extend(node.blocks())
    return found


def _exported(args: tuple[Any, ...]) -> list[object]:
    """Innermost module calls of the operators in an exported program before its decompositions."""
    found: list[object] = []
    for module in args[0].graph_module.modules():
        for node in getattr(getattr(module, "graph", None), "nodes", ()):
            if node.op == "call_function" and node.target is not operator.getitem:
                found.append(next(reversed(node.meta.get("nn_module_stack") or {"": None})))
    return found
