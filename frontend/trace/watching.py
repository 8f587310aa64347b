"""Watching module calls while torch's own exporters run a model: nothing runs that would not run without.

    with watching(model) as watch:
        torch.onnx.export(model, args, path, dynamo=...)     # or anything else that calls the model
    watch.calls         # every module call of the run, in order: path, class, instance, who called it
    watch.counts        # calls by path
    watch.operation_trace_length, watch.native_op_regions

Both exporters call modules in Python: TorchScript's trace runs the model, torch.export runs it on fake tensors. A call
is heard before it begins (``torch/calls.py`` says how), so no frame of ours lies between a module and its caller, and
stack traces in doc strings are torch's. It works inside of torch.onnx.export as well (enter it anywhere before the
model is run, in the same thread), several watches may be active at once, and other threads are not seen. Leaving it
takes everything back, also after an exception.

What dynamo compiles (bodies of torch.cond, compiled regions, ``torch.export`` in strict mode) is not called in Python:
the watch steps aside, such modules have no calls here, and the exported program's own module stacks tell of them.

While a run is on, ``watch.current`` is the innermost call that began; TorchScript asks its module map for a scope right
then, so whoever stands there learns which call a scope belongs to (``watch.latest(module)``).
"""

from __future__ import annotations

import sys
import types
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from modelexport.frontend.torch.calls import heard_calls
from modelexport.frontend.torch.operator_events import counted_events
from modelexport.frontend.trace.naming import COMPILED, ModuleNames, class_of

_CALL_CODE = torch.nn.Module._wrapped_call_impl.__code__


@dataclass(frozen=True, slots=True)
class WatchedCall:
    """One call of a module.

    Attributes:
        index: position in the run, from 0.
        path: the module's name under its caller (``naming.py`` has the rule); the caller's path where it has none.
        named: False where the module has no name, so that its operators belong to ``path``, its caller.
        cls: qualified class name.
        module: ``id`` of the instance, the same for all calls of one instance.
        parent: ``index`` of the call that made this one; -1 for the root's.
    """

    index: int
    path: str
    named: bool
    cls: str
    module: int
    parent: int


@dataclass(slots=True)
class _Open:
    """A call that may still be running."""

    module: torch.nn.Module
    call: WatchedCall | None  # None: neither it nor any caller has a name
    compiled: bool = False  # called through torch.compile's wrapper


class Watch:
    """What was called. A model that is run several times (torch.export retries) is told of by its longest run.

    Attributes:
        stepped_aside: whether dynamo compiled parts of the model, whose calls are missing.
        operation_trace_length: number of operators that the exporter recorded while it ran the model.
        native_op_regions: number of maximal runs of consecutive operators inside one module call.
    """

    def __init__(self, model: Any) -> None:
        self._base = bare(model) if isinstance(model, torch.nn.Module) else None
        self._names: ModuleNames | None = None
        self._runs: list[list[WatchedCall]] = []
        self._open: list[_Open] = []
        self.stepped_aside = False
        self.operation_trace_length = 0
        self.native_op_regions = 0

    @property
    def calls(self) -> tuple[WatchedCall, ...]:
        """The calls of named modules and of those without a name, in the order they began."""
        longest: list[WatchedCall] = []
        for run in self._runs:
            longest = run if len(run) >= len(longest) else longest
        return tuple(longest)

    @property
    def counts(self) -> dict[str, int]:
        """Number of calls by path, of modules that have a name."""
        found: dict[str, int] = {}
        for call in self.calls:
            if call.named:
                found[call.path] = found.get(call.path, 0) + 1
        return found

    @property
    def current(self) -> WatchedCall | None:
        """The call that began last and that may still be running."""
        return self._open[-1].call if self._open else None

    def latest(self, module: torch.nn.Module) -> WatchedCall | None:
        """The innermost open call of ``module``."""
        wanted = bare(module)
        return next((entry.call for entry in reversed(self._open) if entry.module is wanted), None)

    def began(self, module: torch.nn.Module, frame: types.FrameType) -> None:
        """A listener for ``heard_calls``."""
        callers = running(frame)
        kept = 0
        while kept < min(len(callers), len(self._open)) and self._open[kept].module is callers[kept]:
            kept += 1
        del self._open[kept:]
        for caller in callers[kept:]:  # called by a bound method that was made before: not heard
            self._push(caller)
        called = bare(module)
        if self._open and self._open[-1].module is called and self._open[-1].compiled:
            return  # a compiled module calls the one it was made of
        self._push(called, _is_compiled(module))

    def count(self, regions: Iterable[object]) -> None:
        """The operators of a run, in order: one key for each, equal for those of one module call."""
        keys = list(regions)
        self.operation_trace_length = len(keys)
        self.native_op_regions = sum(1 for i, key in enumerate(keys) if i == 0 or key != keys[i - 1])

    def close(self) -> None:
        """Forget the modules; the calls stay."""
        self._open.clear()
        self._names = self._base = None

    def _push(self, module: torch.nn.Module, compiled: bool = False) -> None:
        above = next((entry.call for entry in reversed(self._open) if entry.call is not None), None)
        if module is self._base and above is None:
            self._runs.append([])
            self._names = ModuleNames(module)
        self._open.append(_Open(module, self._made(module, above), compiled))

    def _made(self, module: torch.nn.Module, above: WatchedCall | None) -> WatchedCall | None:
        name = self._name(module, above.path if above is not None else "")
        if name is None and isinstance(module, torch.fx.GraphModule):  # dynamo compiled it
            self.stepped_aside = self.stepped_aside or above is not None
            return None
        if name is None and above is None:
            return None
        run = self._runs[-1]
        path = name if name is not None else above.path if above is not None else ""
        parent = above.index if above is not None else -1
        run.append(WatchedCall(len(run), path, name is not None, class_of(module)[0], id(module), parent))
        return run[-1]

    def _name(self, module: torch.nn.Module, caller: str) -> str | None:
        if self._names is None or self._base is None:
            return None
        if module not in self._names.paths and any(each is module for each in self._base.modules()):
            self._names = ModuleNames(self._base)  # it was registered while the model ran
        return self._names.called(module, caller)


@contextmanager
def watching(model: Any, *, operators: bool = True) -> Iterator[Watch]:
    """Watch the calls of ``model`` and of its modules in this thread; see the head of this file.

    Args:
        model: the root of all paths, as it is given to torch. What is no nn.Module is not watched, but it may be given.
        operators: whether the operators that the exporter records are counted too.
    """
    watch = Watch(model)
    with ExitStack() as stack:
        stack.callback(watch.close)
        if operators:
            stack.enter_context(counted_events(watch.count))
        stack.enter_context(heard_calls(watch.began))
        yield watch


def bare(module: torch.nn.Module) -> torch.nn.Module:
    """The module itself: not torch.compile's wrapper around it, nor the stand-in that torch.export makes of one."""
    proxies = sys.modules.get("torch.fx.experimental.proxy_tensor")
    while True:
        if proxies is not None and isinstance(module, proxies._AttrProxy):
            module = module.get_base()
        elif _is_compiled(module):
            module = module.__dict__["_modules"][COMPILED]
        else:
            return module


def _is_compiled(module: torch.nn.Module) -> bool:
    compiled = sys.modules.get("torch._dynamo.eval_frame")
    return compiled is not None and isinstance(module, compiled.OptimizedModule)


def running(frame: types.FrameType | None) -> list[torch.nn.Module]:
    """The modules whose calls are running, outermost first; compiled ones once."""
    found: list[torch.nn.Module] = []
    inner: torch.nn.Module | None = None
    while frame is not None:
        if frame.f_code is _CALL_CODE:
            module = frame.f_locals["self"]
            base = bare(module)
            if not (base is not module and inner is base):
                found.append(base)
            inner = base
        frame = frame.f_back
    found.reverse()
    return found
