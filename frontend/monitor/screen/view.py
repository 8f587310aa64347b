"""Statistics and module rows, counted from the data. Made for large exports: it keeps arrays, not objects per node."""

from __future__ import annotations

import heapq
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from numbers import Real

from modelexport.frontend.monitor.data import HTPExportData, ModuleInfo, NodeInfo
from modelexport.frontend.monitor.spelling import entries, holds, spelled
from modelexport.ir.attribution import Source


@dataclass(frozen=True, slots=True)
class Row:
    """One module of the tree: its own counts, and those of everything below it included."""

    index: int
    info: ModuleInfo
    name: str
    depth: int
    nodes: int
    all_nodes: int
    all_parameters: int


class View:
    """What the data adds up to.

    Attributes:
        total_nodes, tagged_nodes, coverage: of the file; counted from the node records where they were not given.
        by_source: nodes by source of their tag, strongest evidence first; counted likewise.
        unlisted: nodes whose module is not in the hierarchy.
        has_nodes: whether modules can be given their node counts.
    """

    def __init__(self, data: HTPExportData) -> None:
        self._data = data
        self.total_nodes = data.total_nodes
        self.tagged_nodes = round(data.coverage * data.total_nodes)
        self.coverage = data.coverage
        self.unlisted = 0
        self.has_nodes = any(len(records) > 0 for records in (data.nodes, data.tagged_nodes))
        sources: Counter[str] = Counter()
        owners: Counter[str] = Counter()
        if self.has_nodes:
            self._count(sources, owners)
        self.by_source = _ranked(data.tagging_stats or sources)
        self.ordered = _preorder(data.hierarchy)
        self._depths = array("I")
        self._own = array("I")
        self._all = array("I")
        self._parameters = array("Q")
        self._add_up(owners)

    def _count(self, sources: Counter[str], owners: Counter[str]) -> None:
        tagged = records = 0
        paths: dict[str, str] | None = None
        for _key, record in node_records(self._data):
            records += 1
            tag, path, source = record["tag"], record["path"], record["source"]
            if tag is None:
                continue
            tagged += 1
            if source is not None:
                sources[source] += 1
            if path is None:
                if paths is None:
                    paths = {info.tag: info.path for info in self._data.hierarchy.values() if info.tag}
                path = paths.get(tag)
            if path is not None:
                owners[path] += 1
            else:
                self.unlisted += 1
        self.total_nodes = self.total_nodes or records
        if not self.coverage:
            self.coverage = tagged / self.total_nodes if self.total_nodes else 0.0
        self.tagged_nodes = round(self.coverage * self.total_nodes)

    def _add_up(self, owners: Counter[str]) -> None:
        stack: list[int] = []
        for depth, info in _nested(self.ordered):
            while len(stack) > depth:
                self._close(stack)
            own = owners.pop(info.path, 0)
            self._depths.append(depth)
            self._own.append(own)
            self._all.append(own)
            self._parameters.append(max(info.parameters, 0))
            stack.append(len(self._depths) - 1)
        while stack:
            self._close(stack)
        self.unlisted += sum(owners.values())

    def _close(self, stack: list[int]) -> None:
        child = stack.pop()
        if stack:
            self._all[stack[-1]] += self._all[child]
            self._parameters[stack[-1]] += self._parameters[child]

    def __len__(self) -> int:
        return len(self._depths)

    @property
    def depths(self) -> array[int]:
        """Depth of each module, in the order of ``rows``; 0 is a module without a parent in the hierarchy."""
        return self._depths

    def rows(self) -> Iterator[Row]:
        """The modules, each followed by those below it."""
        above: list[str] = []
        for index, info in enumerate(self.ordered):
            depth = self._depths[index]
            del above[depth:]
            prefix = above[-1] if above else ""
            name = info.path[len(prefix) + 1 :] if prefix else info.path
            above.append(info.path)
            yield Row(index, info, name, depth, self._own[index], self._all[index], self._parameters[index])

    def least_certain(self, count: int) -> tuple[list[tuple[float, str, NodeInfo]], int]:
        """The ``count`` nodes of lowest confidence among those below 1.0, lowest first, and how many more there are."""
        doubtful = 0

        def candidates() -> Iterator[tuple[float, int, str, NodeInfo]]:
            nonlocal doubtful
            for position, (key, record) in enumerate(node_records(self._data)):
                confidence = record["confidence"]
                if confidence is not None and confidence < 1.0:
                    doubtful += 1
                    yield confidence, position, key, record

        found = heapq.nsmallest(count, candidates(), key=lambda entry: entry[:2])
        if not count:
            doubtful = sum(1 for _ in candidates())
        return [(confidence, key, record) for confidence, _, key, record in found], doubtful - len(found)


def node_records(data: HTPExportData) -> Iterator[tuple[str, NodeInfo]]:
    """Every node's record: those of ``nodes``, then of ``tagged_nodes`` what is not among them, with the tag only."""
    seen: dict[int, tuple[object, NodeInfo]] = {}
    for key, record in entries(data.nodes):
        found = seen.get(id(record))
        if found is None:
            # Nodes of one attribution share their record. The table keeps the record alive, so its id stays its own.
            if len(seen) >= 1024:
                seen.clear()
            found = seen[id(record)] = (record, whole(record))
        yield spelled(key), found[1]
    if getattr(data.tagged_nodes, "nodes", None) is data.nodes:  # a view of the same records
        return
    for key, tag in entries(data.tagged_nodes):
        if not holds(data.nodes, key):
            yield spelled(key), whole(tag)


def whole(record: object) -> NodeInfo:
    """``record`` itself if it is whole, else with None for what it lacks; one that is no mapping is a tag."""
    try:
        return _whole(record)
    except Exception:  # noqa: BLE001 - a record may be of any class; one that can't be read is spelled as a tag
        return NodeInfo(tag=spelled(record), path=None, source=None, confidence=None)


def _whole(record: object) -> NodeInfo:
    if not isinstance(record, Mapping):
        return NodeInfo(tag=None if record is None else spelled(record), path=None, source=None, confidence=None)
    if type(record) is dict and len(record) == 4 and _is_text(record.get("tag", 0)) and _is_text(record.get("path", 0)):
        sure = record.get("confidence", 0)
        if _is_text(record.get("source", 0)) and (sure is None or type(sure) is float):
            return record  # type: ignore[return-value]
    texts = {key: None if record.get(key) is None else spelled(record[key]) for key in ("tag", "path", "source")}
    sure = record.get("confidence")
    return NodeInfo(
        tag=texts["tag"],
        path=texts["path"],
        source=texts["source"],
        confidence=float(sure) if isinstance(sure, Real) else None,
    )


def _is_text(value: object) -> bool:
    return value is None or type(value) is str


def _ranked(counts: Mapping[str, int]) -> dict[str, int]:
    order = {source.value: rank for rank, source in enumerate(Source)}
    return {str(name): counts[name] for name in sorted(counts, key=lambda name: order.get(str(name), len(order)))}


def _parent(path: str, known: Mapping[str, object]) -> str | None:
    """Nearest dotted ancestor of ``path`` in ``known``; None where there is none."""
    while path:
        path = path.rpartition(".")[0]
        if path in known:
            return path
    return None


def _prefix(path: str) -> str:
    """What the paths of everything below ``path`` begin with."""
    return f"{path}." if path else ""


def _nested(ordered: Iterable[ModuleInfo]) -> Iterator[tuple[int, ModuleInfo]]:
    """Each module with the number of modules it is inside of, of modules in pre-order."""
    stack: list[str] = []
    for info in ordered:
        path = info.path
        while stack and not (path and path.startswith(stack[-1])):
            stack.pop()
        yield len(stack), info
        stack.append(_prefix(path))


def _preorder(hierarchy: Mapping[str, ModuleInfo]) -> Iterable[ModuleInfo]:
    """The modules so that each is followed by those below it; the given order where it is such an order already."""
    known: Mapping[str, object] = hierarchy
    if any(key != info.path for key, info in hierarchy.items()):
        known = {info.path: info for info in hierarchy.values()}
    stack: list[str] = []
    for info in hierarchy.values():
        path = info.path
        while stack and not (path and path.startswith(stack[-1])):
            stack.pop()
        parent = _parent(path, known)
        if (stack[-1] if stack else None) != (None if parent is None else _prefix(parent)):
            return _sorted(hierarchy, known)
        stack.append(_prefix(path))
    return hierarchy.values()


def _sorted(hierarchy: Mapping[str, ModuleInfo], known: Mapping[str, object]) -> list[ModuleInfo]:
    children: dict[str | None, list[ModuleInfo]] = {}
    for info in hierarchy.values():
        children.setdefault(_parent(info.path, known), []).append(info)
    result: list[ModuleInfo] = []
    stack = children.pop(None, [])[::-1]
    while stack:
        info = stack.pop()
        result.append(info)
        stack.extend(children.pop(info.path, [])[::-1])
    return result
