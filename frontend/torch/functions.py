"""Which module every node of an export with functions is from (``export_modules_as_functions``).

torch cuts the calls of a class out of the graph and keeps one body of those that are equal. The node of a call has the
scope of what it ran last, and a body has the scopes of the one call that it was made of. So scopes are read along the
calls: a call is the outermost module in its scope, below the module whose body it is in, that is of the function's
class; what else is in a body is as far below each module that runs the body as it is below the one it was made of.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from modelexport.frontend.trace.naming import ModuleNames

MAIN = "main"
_DEFINITION = "onnx::LocalFunctionDef"
_OVERLOAD = re.compile(r"\.\d+$")
_COMPONENT = re.compile(r"^(?P<cls>.*?)::(?P<attribute>.*)$")


class Step(NamedTuple):
    """One module call of a scope."""

    cls: str
    path: str


class _Item(NamedTuple):
    """A node: torch's own, the function that it calls (its scope's name, else ""), and its scope."""

    node: Any
    calls: str
    stack: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class _Cut:
    """A function: the class whose calls became it, and its nodes."""

    cls: str
    items: list[_Item]


class FunctionScopes:
    """The modules of nodes, by graph (``main`` or ``function:<domain>:<name>:``) and output value.

    Call ``read`` before torch names the values, and ``paths`` when it has.

    Args:
        scopes: what torch calls each module in scopes.
        hooked: the path of the module whose hook made a node; None where its forward did.
    """

    def __init__(
        self, names: ModuleNames, scopes: Mapping[torch.nn.Module, str], hooked: Callable[[Any], str | None]
    ) -> None:
        self.names = names
        self._hooked = hooked
        self._named: dict[str, list[torch.nn.Module]] = defaultdict(list)
        for module, scope in scopes.items():
            self._named[scope].append(module)
        self._stacks: dict[str, tuple[Step, ...]] = {}
        self._functions: dict[str, _Cut] = {}

    def read(self, graph: Any) -> None:
        """Take the scopes of all nodes of a torch graph and of its functions."""
        main: list[Any] = []
        cut: list[tuple[str, str, list[Any]]] = []
        for node in graph.nodes():
            if node.kind() == _DEFINITION:
                domain, name = node.s("domain"), node.s("name")
                cls = f"{domain}.{_OVERLOAD.sub('', name)}"
                cut.append((f"function:{domain}:{name}:", cls, list(_nodes(node.g("graph")))))
            else:
                main += [node, *(inner for block in node.blocks() for inner in _nodes(block))]
        known = {scope for scope, _, _ in cut}
        self._functions = {scope: _Cut(cls, [self._item(node, known) for node in nodes]) for scope, cls, nodes in cut}
        self._functions[MAIN] = _Cut("", [self._item(node, known) for node in main])

    def paths(self) -> dict[str, dict[str, tuple[str, ...]]]:
        """The paths that a node runs as, one for each module that runs the graph it is in, without repetition."""
        found: dict[str, dict[str, tuple[str, ...]]] = {}
        runs: dict[str, set[str]] = {MAIN: {""}}
        below: dict[str, list[str]] = {}  # classes from a function's module to what it ran last
        for scope in self._callers_first():
            base = self._base(self._functions[scope], below.get(scope, []))
            made = found[scope] = {}
            for item in self._functions[scope].items:
                local = self._local(item, base)
                if local is None:
                    continue
                if item.calls:
                    called = next(at for at, step in enumerate(item.stack) if at > base and step.path == local)
                    below[item.calls] = [step.cls for step in item.stack[called:]]
                above = item.stack[base].path if base >= 0 else ""
                paths = tuple(sorted({_moved(local, above, run) for run in runs.get(scope, ())}))
                for output in item.node.outputs():
                    made[output.debugName()] = paths
                if item.calls:
                    runs.setdefault(item.calls, set()).update(paths)
        return found

    def _item(self, node: Any, known: set[str]) -> _Item:
        domain, _, name = node.kind().rpartition("::")
        scope = f"function:{domain}:{name}:"
        stack = self._stack(node.scopeName())
        path = self._hooked(node)
        if path is not None and stack and stack[-1].path != path:
            stack = (*stack, Step("", path))
        return _Item(node, scope if scope in known else "", stack)

    def _local(self, item: _Item, base: int) -> str | None:
        """The path of the module that the node is from, as its scope tells; None where it does not."""
        if not item.calls:
            return item.stack[-1].path if item.stack else None
        called = _called(item.stack, base, self._functions[item.calls].cls)
        return item.stack[called].path if called is not None else None

    def _base(self, function: _Cut, below: Sequence[str]) -> int:
        """Where in all its scopes the module is whose body a function is; -1 for the main graph, or if there is none.

        It is as far above what the body runs last as it is in the scope of a call. Where that is another one it is
        the innermost module of the class that all scopes share and that is above all that the body calls.
        """
        stacks = [item.stack for item in function.items if item.stack]
        if not function.cls or not stacks:
            return -1
        shared = 0
        while all(len(stack) > shared and stack[shared] == stacks[0][shared] for stack in stacks):
            shared += 1
        at = len(stacks[-1]) - len(below)
        if below and 0 <= at < shared and [step.cls for step in stacks[-1][at:]] == below:
            return at
        calls = [(each.stack, self._functions[each.calls].cls) for each in function.items if each.calls and each.stack]
        for at in reversed(range(shared)):
            if stacks[0][at].cls == function.cls and all(_called(stack, at, cls) is not None for stack, cls in calls):
                return at
        return -1

    def _callers_first(self) -> list[str]:
        """All graphs, each after those that call it."""
        order: list[str] = []
        done: set[str] = set()

        def visit(scope: str) -> None:
            if scope not in done:
                done.add(scope)
                for item in self._functions[scope].items:
                    if item.calls:
                        visit(item.calls)
                order.append(scope)

        for scope in (MAIN, *self._functions):
            visit(scope)
        return order[::-1]

    def _stack(self, scope: str) -> tuple[Step, ...]:
        """The modules of a scope, outermost first; empty where one of them can't be told."""
        found = self._stacks.get(scope)
        if found is None:
            found = self._stacks[scope] = tuple(self._steps(scope))
        return found

    def _steps(self, scope: str) -> Sequence[Step]:
        steps: list[Step] = []
        parts = scope.split("/")
        while parts:
            end = next((end for end in range(1, len(parts) + 1) if "/".join(parts[:end]) in self._named), None)
            component = _COMPONENT.match("/".join(parts[:end])) if end else None
            path = self._child("/".join(parts[:end]), steps[-1].path if steps else "") if component else None
            if component is None or path is None:
                return ()
            steps.append(Step(component["cls"], path))
            parts = parts[end:]
        return steps

    def _child(self, component: str, caller: str) -> str | None:
        """Path of the module that ``caller`` runs under this scope; None where several may be meant."""
        paths = [path for module in self._named[component] if (path := self.names.called(module, caller)) is not None]
        below = [path for path in paths if not caller or path == caller or path.startswith(f"{caller}.")] or paths
        if len(below) > 1:  # the nearest: what is further down is called by another
            nearest = min(path.count(".") for path in below)
            below = [path for path in below if path.count(".") == nearest]
        return below[0] if len(below) == 1 else None


def _nodes(block: Any) -> Iterator[Any]:
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from _nodes(inner)


def _called(stack: Sequence[Step], base: int, cls: str) -> int | None:
    """Where in ``stack`` the module is that a function of ``cls`` is a call of, below the one at ``base``."""
    return next((at for at in range(base + 1, len(stack)) if stack[at].cls == cls), None)


def _moved(path: str, above: str, run: str) -> str:
    """``path``, which is below ``above``, as it is below ``run``; what is elsewhere stays."""
    if path == above:
        return run
    start = f"{above}." if above else ""
    if not path.startswith(start):
        return path
    return f"{run}.{path[len(start) :]}" if run else path[len(start) :]
