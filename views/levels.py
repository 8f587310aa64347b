"""The module graph down to a depth: boxes inside boxes, and one edge for each pair that a value connects."""

from __future__ import annotations

from dataclasses import dataclass, field

from modelexport.views.data import ViewData, ViewModule

MANY_READERS = 8


@dataclass(slots=True)
class Box:
    """A module, or with ``own`` the nodes of a module that is drawn as the frame around other boxes.

    Attributes:
        boxes: what is in the frame; a box without any is drawn as one.
        number: a name for other tools, unique in the picture.
    """

    module: ViewModule
    number: str
    own: bool = False
    boxes: list[Box] = field(default_factory=list)


@dataclass(slots=True)
class Edge:
    """All values from one box to another of the same frame.

    Attributes:
        values: how many there are.
        faint: whether each of them is read by more than 8 boxes of the frame.
        ends: a box without boxes inside each end that makes and that reads one of the values.
    """

    source: Box
    target: Box
    values: int
    faint: bool
    ends: tuple[Box, Box]


@dataclass(slots=True)
class ModuleGraph:
    """See :func:`module_graph`."""

    root: Box
    edges: list[Edge]


def module_graph(data: ViewData, depth: int) -> ModuleGraph:
    """Modules that have nodes, down to ``depth`` (the root is 0), and the edges between boxes of one frame.

    Values that come from constants only are not drawn between modules.
    """
    root, frames, leaves = _boxes(data, depth)
    pairs: dict[tuple[str, str], tuple[Box, Box, set[int], tuple[Box, Box]]] = {}
    read_by: dict[tuple[int, int], set[str]] = {}
    where: dict[tuple[str, str], int] = {}
    for maker, reader, value in data.flows():
        first, second = data.nodes[maker], data.nodes[reader]
        if first.module == second.module or first.constant:
            continue
        level = first.module
        while not level <= second.module < data.modules[level].end:
            level = data.modules[level].parent
        if level not in frames:
            continue
        source, target = (_in_frame(data, frames[level], level, node.module) for node in (first, second))
        if source is target:
            continue
        read_by.setdefault((level, value), set()).add(target.number)
        name = (source.number, target.number)
        ends = leaves[first.module], leaves[second.module]
        pairs.setdefault(name, (source, target, set(), ends))[2].add(value)
        where[name] = level
    edges = [
        Edge(source, target, len(values), all(len(read_by[where[name], v]) > MANY_READERS for v in values), ends)
        for name, (source, target, values, ends) in pairs.items()
    ]
    return ModuleGraph(root, edges)


def _boxes(data: ViewData, depth: int) -> tuple[Box, dict[int, dict[int, Box]], list[Box]]:
    """The root's box; by frame the boxes of its level by module (the frame's own under its own number); by module the
    innermost box that its nodes are in."""
    frames: dict[int, dict[int, Box]] = {}
    leaves: list[Box] = []
    boxes: list[Box | None] = []
    for module in data.modules:
        above = boxes[module.parent] if module.parent >= 0 else None
        if module.level > depth or not module.inside:
            boxes.append(None)
            leaves.append(leaves[module.parent] if module.parent >= 0 else Box(module, "m0"))
            continue
        box = Box(module, f"m{module.index}")
        boxes.append(box)
        leaves.append(box)
        if above is not None:
            above.boxes.append(box)
            frames[module.parent][module.index] = box
        if module.level < depth and any(data.modules[child].inside for child in module.children):
            frames[module.index] = {}
            if module.own:
                own = Box(module, f"m{module.index}own", own=True)
                box.boxes.append(own)
                frames[module.index][module.index] = leaves[module.index] = own
    root = boxes[0]
    return root if root is not None else Box(data.modules[0], "m0"), frames, leaves


def _in_frame(data: ViewData, frame: dict[int, Box], level: int, module: int) -> Box:
    while module != level and data.modules[module].parent != level:
        module = data.modules[module].parent
    return frame[module]
