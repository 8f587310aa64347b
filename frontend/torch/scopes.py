"""Which module every node of a TorchScript export is from, read off the exporter's own scopes.

While it traces, torch gives each node the scope of the module call it runs in, and its ONNX lowering hands the scope
on to every node it makes. The scopes are lost only when the file is written, so we stand around three functions of the
exporter (plain Python attributes) for the time of one export:

- ``_setup_trace_module_map`` names the scopes. A scope component is ``class::attribute``; node names are built from the
  attribute alone, so the class part carries a number of ours for the absolute path and the names stay torch's own.
- ``_jit_pass_onnx_function_substitution`` inlines ``@torch.jit.script`` functions and drops the scope of the call.
- ``_jit_pass_onnx_assign_scoped_names_for_node_and_value`` is the last pass before the file: there we read.

Operators of forward hooks, and of a ``_call_impl`` of its own, run outside the scope of their module. They are
recognised by a stack frame in the node's source range: modules with such are called through a function whose name
carries the module's number.
"""

from __future__ import annotations

import re
import sys
import threading
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch

from modelexport.frontend.torch.calls import Call, watch_calls
from modelexport.frontend.torch.functions import MAIN, FunctionScopes
from modelexport.frontend.trace.naming import ByIdentity, ModuleNames, has_forward
from modelexport.frontend.trace.watching import running

_TOKEN = re.compile(r"(?:^|/)htp(\d+)::")
_SCRIPT = re.compile(r"(?:^|/)htpscript(\d+)$")
_FRAME = re.compile(r": (?:htp_call_(\d+)|(_slow_forward))$")

MAP_HOOK = "_setup_trace_module_map"
NAME_HOOK = "_jit_pass_onnx_assign_scoped_names_for_node_and_value"
SCRIPT_HOOK = "_jit_pass_onnx_function_substitution"


class ScopeCapture:
    """Collects ``paths``: value name to module path, for every node output that the exporter knows a scope of.

    Of an export with functions it also collects ``functions``: by function and value the paths of all that run it.
    ``closed`` are modules that torch gives no scope, and those around them, whose scope their operators have.
    ``missing`` names the hook points that this torch does not have; without the first two nothing is collected.
    """

    def __init__(self, names: ModuleNames) -> None:
        self.names = names
        self.paths: dict[str, str] = {}
        self.functions: dict[str, dict[str, tuple[str, ...]]] = {}
        self.missing: list[str] = []
        self.closed: tuple[str, ...] = ()
        self._modules = list(names.paths)
        self._scopes: dict[str, str | None] = {}
        self._paths: list[str] = []  # by the number that stands for them in frames and scopes of ours
        self._path_numbers: dict[str, int] = {}
        self._frames: dict[str, Call] = {}  # of calls with hooks, which may be made while the model runs
        self._cut: FunctionScopes | None = None

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Stand in the exporter for one export; everything is put back afterwards."""
        from modelexport.frontend.torch import torch_internals

        utils = torch_internals.torchscript_utils()
        with ExitStack() as stack:
            if has_point(utils, MAP_HOOK) and has_point(torch._C, NAME_HOOK):
                stack.enter_context(replaced(utils, MAP_HOOK, self._map_modules))
                stack.enter_context(replaced(torch._C, NAME_HOOK, self._read_scopes))
                if has_point(torch._C, SCRIPT_HOOK):
                    stack.enter_context(replaced(torch._C, SCRIPT_HOOK, self._inline_scripted))
                stack.enter_context(watch_calls(self._framed, _has_hooks))
            self.missing = [
                name
                for owner, name in ((utils, MAP_HOOK), (torch._C, NAME_HOOK), (torch._C, SCRIPT_HOOK))
                if not has_point(owner, name)
            ]
            yield

    def _map_modules(self, original: Call, model: torch.nn.Module, as_functions: Any) -> Any:
        result = original(model, as_functions)
        import torch.jit._trace

        known = torch.jit._trace._trace_module_map or {}
        if as_functions:  # functions are named after the class part: leave it alone
            self._cut = FunctionScopes(self.names, self._each(known), self._frame_of)
        else:
            found = self._each(known)
            for number, module in enumerate(self._modules):
                if module in found:
                    found[module] = re.sub(r"^.*?::", f"htp{number}::", found[module], count=1)
            torch.jit._trace._trace_module_map = found  # type: ignore[assignment]
        return result

    def _each(self, known: Mapping[torch.nn.Module, str]) -> ByIdentity[str]:
        """The scopes of all modules: torch lists one of several that compare equal, and finds the others by it."""
        found: ByIdentity[str] = ByIdentity()
        found.update(known)
        found.update((module, known[module]) for module in self._modules if module in known)
        paths = self.names.paths
        lost = {
            path for module in self._modules if module not in found and has_forward(module) for path in paths[module]
        }
        around = {self.names.listed_above(path, found) for path in lost}
        self.closed = (*lost, *around)
        return found

    def _inline_scripted(self, original: Call, graph: Any) -> Any:
        """Give the nodes of an inlined script function a scope that names the caller."""
        calls = [node for node in _walk(graph) if node.kind() == "prim::CallFunction"]
        paths = {path for node in calls if (path := self._path(node.scopeName())) is not None}
        if not paths:
            return original(graph)
        donors = _donors({self._path_number(path) for path in paths})
        for call in calls:
            marker = graph.create("prim::htp_call", [], 0)
            marker.insertBefore(call)
            path = self._path(call.scopeName())
            if path is not None:
                marker.copyMetadata(donors[self._path_number(path)])
        result = original(graph)
        _spread(graph)
        return result

    def _read_scopes(self, original: Call, graph: Any) -> Any:
        if self._cut is not None:
            self._cut.read(graph)
            result = original(graph)
            self.functions = self._cut.paths()
            self.paths = {value: paths[0] for value, paths in self.functions.pop(MAIN).items()}
            return result
        found: list[tuple[Any, str]] = []
        blank: Any = None
        for node in _walk(graph):
            scope = node.scopeName()
            scripted = _SCRIPT.search(scope)
            if scripted:
                found.append((node, self._paths[int(scripted[1])]))
                # torch names no nodes of script functions; without our scope it will not name these either
                if blank is None:
                    blank = graph.create("prim::htp_blank", [], 0)
                node.copyMetadata(blank)
                continue
            path = self._frame_of(node)
            if path is None:
                path = self._path(scope)
            if path is not None:
                found.append((node, path))
        if blank is not None:
            blank.destroy()
        result = original(graph)
        for node, path in found:
            for output in node.outputs():
                self.paths[output.debugName()] = path
        return result

    def _framed(self, module: torch.nn.Module, proceed: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        path = self.names.called(module, self.names.of_stack(running(sys._getframe())))
        if path is None:
            return proceed(module, *args, **kwargs)
        frame = self._frames.get(path)
        if frame is None:
            frame = self._frames[path] = _named_frame(f"htp_call_{self._path_number(path)}")
        return frame(proceed, module, args, kwargs)

    def _frame_of(self, node: Any) -> str | None:
        """Path of the module whose hook made the node; None when its forward did."""
        if not self._frames:
            return None
        for line in node.sourceRange().splitlines():  # innermost frame first
            match = _FRAME.search(line)
            if match:
                return self._paths[int(match[1])] if match[1] else None
        return None

    def _path(self, scope: str) -> str | None:
        """Path of the innermost module of a scope; None where it names none."""
        if scope not in self._scopes:
            modules = [self._modules[int(match[1])] for match in _TOKEN.finditer(scope)]
            self._scopes[scope] = self.names.of_stack(modules) if modules else None
        return self._scopes[scope]

    def _path_number(self, path: str) -> int:
        number = self._path_numbers.setdefault(path, len(self._paths))
        if number == len(self._paths):
            self._paths.append(path)
        return number


def has_point(owner: Any, name: str) -> bool:
    """Whether this torch has a function to stand around."""
    return hasattr(owner, name)


def _walk(graph: Any) -> Iterator[Any]:
    """Nodes of a torch graph or block and of the blocks inside, in order."""
    for node in list(graph.nodes()):
        yield node
        for block in node.blocks():
            yield from _walk(block)


def _spread(block: Any) -> None:
    """Copy each marker's scope to the nodes behind it that have none, up to one that has; drop the markers."""
    marker: Any = None
    used: list[Any] = []
    for node in list(block.nodes()):
        if node.kind() == "prim::htp_call":
            marker = node
            used.append(node)
        elif node.scopeName():
            marker = None
            for inner in node.blocks():
                _spread(inner)
        elif marker is not None and marker.scopeName():
            for inlined in (node, *(each for inner in node.blocks() for each in _walk(inner))):
                inlined.copyMetadata(marker)
    for node in used:
        node.destroy()


def _donors(numbers: set[int]) -> dict[int, Any]:
    """Nodes whose scopes name the given paths. Scopes are only made while torch traces, so a tiny trace makes them."""

    def sums(value: torch.Tensor) -> torch.Tensor:
        state: Any = torch._C._get_tracing_state()
        for number in numbers:
            state.push_scope(f"htpscript{number}")
            value = value + value
            state.pop_scope()
        return value

    from torch.jit import _trace

    graph = _trace._get_trace_graph(sums, (torch.zeros(1),))[0]  # type: ignore[no-untyped-call]
    return {int(match[1]): node for node in graph.nodes() if (match := _SCRIPT.search(node.scopeName()))}


def _named_frame(name: str) -> Call:
    def frame(proceed: Call, module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return proceed(module, *args, **kwargs)

    return types.FunctionType(frame.__code__.replace(co_name=name, co_qualname=name), globals(), name)


def _has_hooks(module: torch.nn.Module) -> bool:
    """Whether operators may run in a call of ``module`` that are not in its scope: in hooks, or around them."""
    if module._forward_hooks or module._forward_pre_hooks or _has_global_hooks():
        return True
    return "_call_impl" in module.__dict__ or type(module)._call_impl is not torch.nn.Module._call_impl


def _has_global_hooks() -> bool:
    from torch.nn.modules import module

    return bool(module._global_forward_hooks or module._global_forward_pre_hooks)


_replacing = threading.Lock()
_standing: dict[tuple[int, str], tuple[Any, list[Callable[..., Any]]]] = {}


@contextmanager
def replaced(owner: Any, name: str, wrapper: Callable[..., Any]) -> Iterator[None]:
    """``owner.name`` calls ``wrapper(original, ...)`` meanwhile, in every thread.

    Several may stand at one function and leave in any order; the last one out puts the function back.
    """
    key = (id(owner), name)
    with _replacing:
        if key not in _standing:
            original, wrappers = _standing[key] = (getattr(owner, name), [])

            def replacement(*args: Any, **kwargs: Any) -> Any:
                call = original
                for each in tuple(wrappers):
                    call = partial(each, call)
                return call(*args, **kwargs)

            setattr(owner, name, replacement)
        _standing[key][1].append(wrapper)
    try:
        yield
    finally:
        with _replacing:
            original, wrappers = _standing[key]
            wrappers.remove(wrapper)
            if not wrappers:
                del _standing[key]
                setattr(owner, name, original)
