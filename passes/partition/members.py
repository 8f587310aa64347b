"""Which nodes are of a module, and of which of its calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from modelexport.ir.editing.topology import in_order
from modelexport.ir.errors import ConfigError
from modelexport.ir.io.subgraph import is_inside
from modelexport.ir.model import Model
from modelexport.ir.modules.table import nearest_path
from modelexport.ir.node import Node
from modelexport.ir.scope import Scope
from modelexport.ir.text import shown

Call = int | Literal["all"] | None


def spelled(path: str) -> str:
    """A module's path for people: the root is a dot."""
    return shown(path) or "."


def members_of(model: Model, path: str, order: Sequence[Node], constants: Iterable[Node]) -> list[Node]:
    """Nodes of the main graph, in ``order``, that are attributed to ``path`` or to a module below it; no constants.

    Raises:
        ConfigError: no such module, it runs inside a body or a function, or it has no operator that computes.
    """
    found = [node for node in order if node.attribution is not None and is_inside(node.attribution.path, path)]
    _refuse_inner(model, path, set(found))
    if not found:
        _refuse_unknown(model, path)
        raise ConfigError(f"{spelled(path)}: the module has no operator in the graph, so there is nothing to cut out")
    computed = set(constants)
    kept = [node for node in found if node not in computed]
    if not kept:
        raise ConfigError(f"{spelled(path)}: all operators of the module are constant; no value goes in")
    return kept


def known_paths(model: Model) -> dict[str, None]:
    """Every path that the table or a node names, and all that lie above them."""
    paths = [module.path for module in model.modules]
    paths += [node.attribution.path for node in model.nodes() if node.attribution is not None]
    found: dict[str, None] = {"": None}
    for path in dict.fromkeys(paths):
        while path and path not in found:
            found[path] = None
            path = path.rpartition(".")[0]
    return found


def _refuse_unknown(model: Model, path: str) -> None:
    known = known_paths(model)
    if path in known:
        return
    raise ConfigError(
        f"no module {shown(path)!r}; the nearest path is {spelled(nearest_path(path, [one for one in known if one]))}"
    )


def _refuse_inner(model: Model, path: str, members: set[Node]) -> None:
    """Nodes in a body or a function can only come along with the node of the main graph that runs them."""
    callers: dict[Scope, list[Node]] = {}
    for node in model.nodes():
        function = model.function(node.domain, node.op_type, node.overload) if model.functions else None
        if function is not None:
            callers.setdefault(function, []).append(node)
    for graph in model.graphs():
        if graph is model.main:
            continue
        for node in graph.nodes:
            if node.attribution is not None and is_inside(node.attribution.path, path):
                outside = [runner for runner in _runners(graph, callers) if runner not in members]
                if outside:
                    runner = outside[0]
                    owner = spelled(runner.attribution.path if runner.attribution is not None else "")
                    kind = "a body" if graph.kind == "body" else "a local function"
                    raise ConfigError(
                        f"{spelled(path)}: the module runs inside {kind} of {runner.op_type} "
                        f"{shown(runner.name or runner.first_output)!r}; extract {owner}, the module that runs it"
                    )
                break


def _runners(graph: Scope, callers: Mapping[Scope, list[Node]]) -> list[Node]:
    """Nodes of the main graph that run ``graph``."""
    found: dict[Node, None] = {}
    seen: set[Scope] = set()
    waiting: list[Scope] = [graph]
    while waiting:
        inner = waiting.pop()
        if inner in seen:
            continue
        seen.add(inner)
        for node in [inner.owner] if inner.owner is not None else callers.get(inner, []):
            if node.graph.kind == "main":
                found[node] = None
            else:
                waiting.append(node.graph)
    return list(found)


def of_call(model: Model, path: str, members: list[Node], call: Call) -> list[Node]:
    """The members that belong to one call of the module; all of them where it runs once, or for ``all``.

    Calls are told apart when the members, in order, are as many equal sequences of operators as the module has calls.

    Raises:
        ConfigError: the module runs several times and no call was named, it has no such call, or the calls can't be
            told apart.
    """
    if call not in (None, "all") and (not isinstance(call, int) or isinstance(call, bool)):
        raise ConfigError(f"call {call!r}: a call is a number from 1, or all")
    module = model.modules.get(path)
    calls = max(module.calls, 1) if module is not None else 1
    if call == "all" or (calls == 1 and call in (None, 1)):
        return members
    if call is None:
        raise ConfigError(f"{spelled(path)}: the module runs {calls} times: name a call (1 to {calls}), or all")
    if not 1 <= call <= calls:
        times = "once" if calls == 1 else f"{calls} times"
        raise ConfigError(f"{spelled(path)}: there is no call {call}: the module runs {times}")
    length, rest = divmod(len(members), calls)
    kinds = [(node.domain, node.op_type) for node in members]
    if rest or any(kinds[i * length : (i + 1) * length] != kinds[:length] for i in range(1, calls)):
        raise ConfigError(
            f"{spelled(path)}: its {calls} calls can't be told apart: their operators are no {calls} equal sequences, "
            "since the exporter or an optimiser merged or folded some; take all"
        )
    return members[(call - 1) * length : call * length]


def call_of(model: Model, path: str, value: str) -> int:
    """Which call of a module made a value, from 1; 1 also where its calls can't be told apart."""
    module = model.modules.get(path)
    maker = model.main.producer(value)
    if module is None or module.calls < 2 or maker is None:
        return 1
    inside = [n for n in in_order(model.main) if n.attribution is not None and is_inside(n.attribution.path, path)]
    for call in range(1, module.calls + 1):
        try:
            if maker in of_call(model, path, inside, call):
                return call
        except ConfigError:
            return 1
    return 1
