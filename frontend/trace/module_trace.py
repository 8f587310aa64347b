"""One eager forward of a model: which modules there are, which are called, and which operators each call runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from modelexport.frontend.torch.calls import TORCH_LOCK, Call, watch_calls
from modelexport.frontend.torch.reasons import first_line
from modelexport.frontend.torch.state import evaluation_mode, kept_random_state
from modelexport.frontend.trace.naming import ModuleNames
from modelexport.ir.errors import ExportError
from modelexport.ir.modules import ModuleTable


@dataclass(frozen=True, slots=True)
class TraceEvent:
    """One operator call at the level of torch functions (``linear``, ``view``), not of dispatched kernels.

    Attributes:
        index: position in the trace.
        op: name of the torch function.
        path: the innermost module whose call was active; ``""`` is the root.
        call: serial number of that module call, counted from 0 over the whole trace; -1 outside of any call.
    """

    index: int
    op: str
    path: str
    call: int


EventObserver = Callable[[TraceEvent, tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]], None]
"""Called after each operator with the event and the tensors it read and made. It must not keep the tensors."""


@dataclass(frozen=True, slots=True)
class ModelTrace:
    """What one forward showed.

    Attributes:
        modules: every module of the model, under each name it was called by; containers that are never called have
            ``calls`` 0.
        events: the operators in the order they ran.
        calls: path of each module call, in the order the calls began.
    """

    modules: ModuleTable
    events: tuple[TraceEvent, ...]
    calls: tuple[str, ...]

    @property
    def operation_trace_length(self) -> int:
        """Number of operator events."""
        return len(self.events)

    @property
    def native_op_regions(self) -> int:
        """Number of maximal runs of consecutive events inside one module call."""
        calls = [event.call for event in self.events]
        return sum(1 for i, call in enumerate(calls) if i == 0 or call != calls[i - 1])


def trace_model(
    model: torch.nn.Module,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    on_event: EventObserver | None = None,
) -> ModelTrace:
    """Run ``model(*args, **kwargs)`` once, in evaluation mode and without gradients, and record it.

    Training flags, random state and grad mode are as before on return, also after an exception. What else a forward may
    change is not: give a copy (``frontend/torch/copies.py``).

    Raises:
        ExportError: the forward failed; the cause is chained.
    """
    names = ModuleNames(model)
    recorder = _Recorder(names, on_event)
    with TORCH_LOCK, ExitStack() as stack:
        stack.enter_context(kept_random_state())
        stack.enter_context(evaluation_mode(model))
        stack.enter_context(torch.no_grad())
        stack.enter_context(watch_calls(recorder.around))
        stack.enter_context(recorder)
        try:
            model(*args, **(kwargs or {}))
        except Exception as error:  # user code may raise anything; it is chained and told
            raise ExportError(f"{type(model).__name__}: forward failed: {first_line(error)}") from error
    return ModelTrace(names.table(recorder.counts), tuple(recorder.events), tuple(recorder.calls))


class _Recorder(TorchFunctionMode):
    """Module stack and operator events of one forward."""

    def __init__(self, names: ModuleNames, on_event: EventObserver | None) -> None:
        super().__init__()
        self.names = names
        self.on_event = on_event
        self.events: list[TraceEvent] = []
        self.calls: list[str] = []
        self.counts: dict[str, int] = {}
        self._stack: list[tuple[str, int]] = [("", -1)]

    def around(self, module: torch.nn.Module, proceed: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        path = self.names.called(module, self._stack[-1][0])
        if path is None:  # not registered under the model: its caller runs it
            return proceed(module, *args, **kwargs)
        self.counts[path] = self.counts.get(path, 0) + 1
        self._stack.append((path, len(self.calls)))
        self.calls.append(path)
        try:
            return proceed(module, *args, **kwargs)
        finally:
            self._stack.pop()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        made = tuple(tensors_in(result))
        if made:
            path, call = self._stack[-1]
            event = TraceEvent(len(self.events), _name(func), path, call)
            self.events.append(event)
            if self.on_event is not None:
                with torch._C.DisableTorchFunction():
                    self.on_event(event, tuple(tensors_in((args, kwargs))), made)
        return result


def tensors_in(value: Any) -> Iterator[torch.Tensor]:
    """Tensors in nested tuples, lists and mappings, in order."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from tensors_in(item)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_in(item)


def _name(func: Any) -> str:
    name = getattr(func, "__name__", type(func).__name__)
    owner = getattr(func, "__self__", None)
    return str(getattr(owner, "__name__", name)) if name in ("__get__", "__set__") else str(name)
