"""What every picture of a model draws: its modules as a tree, its nodes, and the values between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from modelexport.ir.attribution import Attribution
from modelexport.ir.identity.keys import node_keys
from modelexport.ir.model import Model
from modelexport.ir.modules import ModuleTable
from modelexport.ir.modules.order import first_nodes, module_order
from modelexport.ir.node import Node
from modelexport.ir.scope import Scope
from modelexport.ir.text import readable
from modelexport.views.values import constant_nodes, home_of, inferred_types, value_types

ROOT = "(root)"


@dataclass(slots=True, eq=False)
class ViewModule:
    """One module that is called or has nodes.

    Attributes:
        index, end: it and all modules in it are ``modules[index:end]``.
        path: dotted path, ``""`` for the root.
        name: the path below ``parent``.
        cls, class_name: qualified and bare class name, ``""`` where it is not known.
        parent: index of the module around it, -1 for the root.
        level: number of modules around it.
        own, inside: number of its own nodes, and of those in it at any depth.
        parameters: scalar parameters that are its own, see :func:`view_data`.
        first: position of the first node inside; the number of all nodes where there is none.
    """

    index: int
    path: str
    name: str
    cls: str
    class_name: str
    tag: str
    parent: int
    level: int
    calls: int
    end: int = 0
    own: int = 0
    inside: int = 0
    parameters: int = 0
    first: int = 0
    children: list[int] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class ViewNode:
    """One node. ``inputs`` and ``outputs`` are positions in ``ViewData.values``, -1 for an absent one."""

    index: int
    key: str
    node: Node
    module: int
    constant: bool
    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()

    @property
    def attribution(self) -> Attribution | None:
        """Where it is from."""
        return self.node.attribution


@dataclass(slots=True)
class Value:
    """One value. ``maker`` is the position of the node that makes it, else -1 and ``kind`` says what it is:
    ``input``, ``weight`` or ``outside`` (made by a node that is not shown, or by nobody)."""

    name: str
    type: str
    maker: int
    kind: str = ""


@dataclass(slots=True)
class ViewData:
    """See :func:`view_data`.

    Attributes:
        results: for every result of a body the value and the position of the node that owns the body.
        total: number of the model's nodes, those that are not shown included.
    """

    model: Model
    title: str
    modules: list[ViewModule]
    nodes: list[ViewNode]
    values: list[Value]
    results: list[tuple[int, int]]
    graphs: list[tuple[Scope, int]]
    total: int

    def module_at(self, path: str) -> ViewModule | None:
        """The module of this path."""
        return next((module for module in self.modules if module.path == path), None)

    def flows(self) -> Iterator[tuple[int, int, int]]:
        """Every value between two nodes, as positions of its maker, its reader and itself: read as an input, also
        through the wall of a body, or handed by a body to the node that owns it."""
        values = self.values
        for node in self.nodes:
            for value in dict.fromkeys(node.inputs):
                if value >= 0 and values[value].maker >= 0:
                    yield values[value].maker, node.index, value
        for value, owner in self.results:
            yield values[value].maker, owner, value


def view_data(model: Model, *, title: str = "", only: Collection[Node] | None = None) -> ViewData:
    """Modules, nodes and values of a model. The model is not changed.

    Modules are those that are called and those that have nodes, parents first, siblings in the order of their first
    nodes in the file. Parameters are the module table's; where it has none, the elements of an initializer count for
    the module of its first reader. A node without attribution stands in the root.

    Args:
        title: what the picture is called; by default the name of the model's file.
        only: show the modules that have one of these nodes of their own, and the modules around those.
    """
    keyed = list(node_keys(model))
    total = len(keyed)
    if only is not None:
        wanted = {_path(node) for node in only}
        keyed = [(key, node) for key, node in keyed if _path(node) in wanted]
    modules = _modules(model, [node for _, node in keyed], whole=only is None)
    by_path = {module.path: module.index for module in modules}
    constant = constant_nodes(model)
    nodes = [
        ViewNode(index, key, node, by_path[_path(node)], node in constant) for index, (key, node) in enumerate(keyed)
    ]
    _count(modules, nodes)
    values, results, graphs = _connect(model, nodes)
    label = title or readable(model.path.name if model.path is not None else model.main.name) or "model"
    data = ViewData(model, label, modules, nodes, values, results, graphs, total)
    _parameters(data)
    return data


def _path(node: Node) -> str:
    attribution = node.attribution
    return attribution.path if attribution is not None else ""


def _modules(model: Model, nodes: list[Node], *, whole: bool) -> list[ViewModule]:
    table = ModuleTable(model.modules)
    first = first_nodes(nodes)
    for path in ("", *first):
        table.ensure(path)
    shown = set(first) | {""}
    if whole:
        shown |= {module.path for module in table if module.calls > 0}
    else:
        for path in first:
            while (above := table.parent(path)) is not None and above not in shown:
                shown.add(above)
                path = above
    tags = table.tags()
    rows: list[ViewModule] = []
    by_path: dict[str, int] = {}
    for path in module_order(table, first):
        if path not in shown:
            continue
        module = table[path]
        parent = table.parent(path)
        above_index = by_path[parent] if parent is not None else -1
        above_path = parent or ""
        by_path[path] = len(rows)
        rows.append(
            ViewModule(
                index=len(rows),
                path=path,
                name=path[len(above_path) + 1 if above_path else 0 :] or ROOT,
                cls=module.cls,
                class_name=module.class_name,
                tag=tags[path],
                parent=above_index,
                level=rows[above_index].level + 1 if above_index >= 0 else 0,
                calls=module.calls,
                parameters=module.parameters,
            )
        )
        if above_index >= 0:
            rows[above_index].children.append(rows[-1].index)
    for row in reversed(rows):
        row.end = rows[row.children[-1]].end if row.children else row.index + 1
    return rows


def _count(modules: list[ViewModule], nodes: list[ViewNode]) -> None:
    for module in modules:
        module.first = len(nodes)
    for node in nodes:
        module = modules[node.module]
        module.own += 1
        module.first = min(module.first, node.index)
    for module in reversed(modules):
        module.inside += module.own
        if module.parent >= 0:
            above = modules[module.parent]
            above.inside += module.inside
            above.first = min(above.first, module.first)


def _connect(model: Model, nodes: list[ViewNode]) -> tuple[list[Value], list[tuple[int, int]], list[tuple[Scope, int]]]:
    """Values made by nodes in the order of these, then those that are given; what nodes read by scope."""
    values: list[Value] = []
    known: dict[Scope, dict[str, int]] = {graph: {} for graph in model.graphs()}
    types = {graph: value_types(graph) for graph in known}
    types[model.main] = inferred_types(model) | types[model.main]
    counts: dict[Scope, int] = dict.fromkeys(known, 0)
    for shown in nodes:
        node = shown.node
        described, by_name = types[node.graph], known[node.graph]
        counts[node.graph] += 1
        made = []
        for name in node.outputs:
            made.append(len(values))
            if name:
                by_name[name] = len(values)
            values.append(Value(readable(name), described.get(name, ""), shown.index))
        shown.outputs = tuple(made)

    def find(graph: Scope, name: str) -> int:
        by_name = known[graph]
        found = by_name.get(name)
        if found is not None:
            return found
        home = graph if graph.defines(name) else home_of(graph, name) or graph
        found = known[home].get(name)
        if found is None:
            kind = "weight" if name in home.initializers_set else "input" if name in home.inputs_set else "outside"
            values.append(Value(readable(name), types[home].get(name, ""), -1, kind))
            found = known[home][name] = len(values) - 1
        return found

    position = {shown.node: shown.index for shown in nodes}
    for shown in nodes:
        shown.inputs = tuple([find(shown.node.graph, name) if name else -1 for name in shown.node.inputs])
    results: list[tuple[int, int]] = []
    for graph in known:
        owner = position.get(graph.owner) if graph.owner is not None else None
        if owner is not None:
            made_inside = (known[graph].get(name) for name in dict.fromkeys(graph.outputs))
            results += [(value, owner) for value in made_inside if value is not None and values[value].maker >= 0]
    return values, results, list(counts.items())


def _parameters(data: ViewData) -> None:
    if any(module.parameters for module in data.modules):
        return
    counted: set[tuple[Scope, str]] = set()
    for shown in data.nodes:
        for name in shown.node.inputs:
            home = home_of(shown.node.graph, name) if name else None
            if home is None or name not in home.initializers_set or (home, name) in counted:
                continue
            counted.add((home, name))
            data.modules[shown.module].parameters += _elements(data.values[shown.inputs[shown.node.inputs.index(name)]])


def _elements(value: Value) -> int:
    total = 1
    for size in value.type.partition("[")[2].rstrip("]").split(","):
        total *= int(size) if size.isdigit() else 1
    return total


def readers(data: ViewData) -> dict[int, list[int]]:
    """Positions of the nodes that read a value, each once, by the position of the value."""
    found: dict[int, list[int]] = {}
    for node in data.nodes:
        for value in dict.fromkeys(node.inputs):
            if value >= 0:
                found.setdefault(value, []).append(node.index)
    return found


def inside(data: ViewData, module: ViewModule) -> Iterable[ViewModule]:
    """A module and all modules in it."""
    return data.modules[module.index : module.end]


def graph_ids(data: ViewData) -> dict[Scope, str]:
    """What graphs are called where each is a picture of its own: the main graph, and each body and function that has
    nodes shown, by its name where no other graph has it."""
    found: dict[Scope, str] = {}
    taken: set[str] = set()
    for graph, count in data.graphs:
        if not count and graph.kind != "main":
            continue
        name = readable(graph.name) or ("main_graph" if graph.kind == "main" else readable(graph.scope))
        if name in taken:
            name = readable(graph.scope)
        while name in taken:
            name += "~"
        taken.add(name)
        found[graph] = name
    return found


def node_ids(data: ViewData) -> list[str]:
    """Of every node its name where no other node of its graph has it, else its key. Unique in a graph only."""
    names = Counter((node.node.graph, node.node.name) for node in data.nodes)
    return [
        readable(node.node.name) if node.node.name and names[node.node.graph, node.node.name] == 1 else node.key
        for node in data.nodes
    ]
