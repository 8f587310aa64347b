"""Numbers laid over a picture: per node and per module, from files of several forms."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelexport.ir.errors import InputError
from modelexport.views.data import ViewData, graph_ids, node_ids
from modelexport.views.overlay_files import Given, read_document
from modelexport.views.overlay_marks import Marks, place_marks

MODULE = "module:"


@dataclass(slots=True)
class Overlay:
    """One number per node and module of a picture.

    Attributes:
        nodes: by position of the node; what is missing has no number.
        modules: by position of the module, nodes inside included.
        marks: what a diff says, see :class:`Marks`.
    """

    name: str
    unit: str
    aggregate: str
    nodes: dict[int, float]
    modules: dict[int, float]
    marks: Marks = field(default_factory=Marks)

    def text(self, value: float, *, unit: bool = True) -> str:
        """A number for people, with its unit unless that is not wanted."""
        shown = f"{value:,.0f}" if float(value).is_integer() and abs(value) < 1e15 else f"{value:,.4g}"
        return f"{shown} {self.unit}" if self.unit and unit else shown


def read_json(path: Path) -> Any:
    """The content of a JSON file. Raises InputError."""
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not an overlay: {str(error) or 'nested too deeply'}") from error


def overlays_of(document: Any, data: ViewData, *, label: str, stem: str) -> tuple[list[Overlay], list[str]]:
    """The overlays of one document, and the names in it that are not in the model.

    Args:
        label: what errors call the document.
        stem: name of an overlay that has none of its own.

    Raises:
        InputError: it is none of the forms that overlays have.
        OverlayError: nothing in it fits the model.
    """
    try:
        return _overlays_of(document, data, label, stem)
    except (KeyError, TypeError, AttributeError) as error:
        form = document.get("format", "the file") if isinstance(document, Mapping) else "the file"
        raise InputError(f"{label}: not an overlay: {form} is damaged at {error}") from error


def _overlays_of(document: Any, data: ViewData, label: str, stem: str) -> tuple[list[Overlay], list[str]]:
    overlays: list[Overlay] = []
    unknown: dict[str, None] = {}
    fits = names = 0
    finder = Finder(data)
    is_report = isinstance(document, Mapping) and "format" in document
    for given in read_document(document, label, stem):
        if given.difference is not None:
            marks, numbers, missing = place_marks(given.difference, data)
            overlay = Overlay(given.name, given.unit, given.aggregate, numbers, {}, marks)
            fits += len(numbers) + len(marks.gone)
            names += len(numbers) + len(marks.gone) + len(missing)
        else:
            overlay, missing = _placed(given, finder)
            names += len(given.values) + len(given.own) + sum(map(len, given.graphs.values()))
            fits += len(overlay.nodes) + sum(finder.has(path) for path in given.own)
            fits += sum(index > 0 or not is_report for index in overlay.modules)  # every model has a root
        unknown.update(dict.fromkeys(missing))
        _aggregate(overlay, given, data, finder)
        overlays.append(overlay)
    if not fits and (unknown or not is_report) and (names or not overlays or not is_report):
        first = f" (first name: {next(iter(unknown))})" if unknown else ""
        raise OverlayError(f"{label}: nothing in it fits the model{first}")
    return overlays, list(unknown)


class OverlayError(InputError):
    """An overlay of which nothing fits the model."""

    exit_code = 1


class Finder:
    """Positions of nodes and modules by the names that overlays use."""

    def __init__(self, data: ViewData) -> None:
        self.modules = {module.path: module.index for module in data.modules}
        self.table = data.model.modules
        self.data = data
        self._above: set[str] = set()
        self._in_graphs: dict[tuple[str, str], int] = {}
        self.nodes: dict[str, int] = {}
        for value in data.values:  # the weakest name first, so that stronger ones replace it
            if value.maker >= 0 and value.name:
                self.nodes.setdefault(value.name, value.maker)
        names: dict[str, int] = {}
        for node in data.nodes:
            if node.node.name:
                names.setdefault(node.node.name, node.index)
        self.nodes.update(names)
        self.nodes.update((node.key, node.index) for node in data.nodes)

    def node(self, name: str) -> int | None:
        """Position of the node of this key or name, or that makes the value of this name."""
        return self.nodes.get(name)

    def node_in(self, graph: str, name: str) -> int | None:
        """The same in a graph of Model Explorer, where names are unique in one graph only; of a graph that this model
        does not have, anywhere."""
        if not self._in_graphs:
            graphs = graph_ids(self.data)
            pairs = zip(self.data.nodes, node_ids(self.data), strict=True)
            self._in_graphs = {(graphs[node.node.graph], identity): node.index for node, identity in pairs}
        found = self._in_graphs.get((graph, name))
        return self.node(name) if found is None else found

    def module(self, path: str) -> int | None:
        """Position of the module of this path, or of the one that it is another name of."""
        found = self.modules.get(path)
        return self.modules.get(self.table.canonical(path)) if found is None else found

    def has(self, path: str) -> bool:
        """Whether the model has a module of this path, shown or not."""
        return self.module(path) is not None or self.is_above(path)

    def is_above(self, path: str) -> bool:
        """Whether a path is in the module table, or a container that is never called: only paths below it are shown."""
        if not self._above:
            for each in (*self.modules, *(module.path for module in self.table)):
                while each and each not in self._above:
                    self._above.add(each)
                    each = each.rpartition(".")[0]
        return path in self._above


def _placed(given: Given, finder: Finder) -> tuple[Overlay, list[str]]:
    overlay = Overlay(given.name, given.unit, given.aggregate, {}, {})
    missing: list[str] = []
    for name, value in given.values.items():
        index = finder.node(name)
        if index is not None:
            overlay.nodes[index] = value
        elif name.startswith(MODULE):
            path = name[len(MODULE) :]
            if (module := finder.module(path)) is not None:
                overlay.modules[module] = value
            elif not finder.is_above(path):
                missing.append(name)
        elif name not in given.places or not finder.has(given.places[name]):
            missing.append(name)
    for graph, values in given.graphs.items():
        for name, value in values.items():
            if (index := finder.node_in(graph, name)) is not None:
                overlay.nodes[index] = value
            else:
                missing.append(name)
    return overlay, missing + [MODULE + path for path in given.own if not finder.has(path)]


def _aggregate(overlay: Overlay, given: Given, data: ViewData, finder: Finder) -> None:
    """Fill in the modules whose number is not given: from the nodes inside, and from modules' own numbers."""
    totals: dict[int, float] = {}
    counts: dict[int, int] = defaultdict(int)
    inputs = [(data.nodes[index].module, value) for index, value in overlay.nodes.items()]
    inputs += [(index, value) for path, value in given.own.items() if (index := finder.module(path)) is not None]
    for module, value in inputs:
        counts[module] += 1
        totals[module] = _joined(overlay.aggregate, totals.get(module), value)
    for row in reversed(data.modules):
        if row.index in totals and row.parent >= 0:
            counts[row.parent] += counts[row.index]
            totals[row.parent] = _joined(overlay.aggregate, totals.get(row.parent), totals[row.index])
    for module, total in totals.items():
        overlay.modules.setdefault(module, total / counts[module] if overlay.aggregate == "mean" else total)


def _joined(aggregate: str, so_far: float | None, value: float) -> float:
    if so_far is None:
        return value
    return max(so_far, value) if aggregate == "max" else so_far + value


def distinct(overlays: list[Overlay]) -> list[Overlay]:
    """The same with different names: a second of one name is called ``name (2)``."""
    taken: set[str] = set()
    for overlay in overlays:
        name, number = overlay.name, 1
        while overlay.name in taken:
            number += 1
            overlay.name = f"{name} ({number})"
        taken.add(overlay.name)
    return overlays
