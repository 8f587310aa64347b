"""What a file says of its nodes, as attributions: each node's own tag, else the row of the embedded table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from modelexport.ir.identity.tables import Tables
from modelexport.ir.io import embedded_tags
from modelexport.ir.io.embedded_tags import Record
from modelexport.ir.io.merged_tags import Parts, modules_of_whole, parts_of
from modelexport.ir.model import Model
from modelexport.ir.modules import Module
from modelexport.ir.node import Node

_TAG, _PATH, _SOURCE, _RULE, _CONFIDENCE = embedded_tags.NODE_KEYS
_OWN = frozenset((*embedded_tags.NODE_KEYS, embedded_tags.MODEL))
Bearers = list[tuple[Record, list[Node]]]


def take_tags(model: Model, by: str, warnings: list[str], *, whole: bool = False) -> bool:
    """Attribute nodes by the tags that the file of ``model`` has for them, and take its modules over.

    Args:
        by: the pass that the attributions are said to be from.
        warnings: told of a table that can't be read.
        whole: take nothing where a node has no tag of its own, or the file holds more than one tagged model.

    Returns:
        Whether any node had a tag.
    """
    modules = modules_of_whole(model)
    reader = _OwnRecords(None)
    bearers = None if modules is None else _whole(model, modules)
    if modules is None or bearers is None:  # merged, or some nodes have no tag of their own: the table may know
        if whole:
            return False
        parts = parts_of(model, warnings)
        reader = _OwnRecords(parts)
        modules, bearers = [*parts.modules(), *parts.told()], _bearers(model, reader) or []
    for module in modules:
        if module.path not in model.modules:
            model.modules.add(module)
    for record, nodes in bearers:
        module = model.modules.ensure(record.path)
        if record.tag and not module.tag and not module.cls:
            module.tag = record.tag
            model.modules.touch()
        attribution = record.attribution(by, embedded_tags.NODES if id(record) in reader.tabled else embedded_tags.PATH)
        for node in nodes:
            node.attribute_to(attribution)
    return bool(bearers)


def whole_records(model: Model) -> Bearers | None:
    """The tags of a file in which every node has one of its own, each with its nodes; None for any other file."""
    modules = modules_of_whole(model)
    return None if modules is None else _whole(model, modules)


def _whole(model: Model, modules: Sequence[Module]) -> Bearers | None:
    return _bearers(model, _OwnRecords(None, modules))


def _bearers(model: Model, read: _OwnRecords) -> Bearers | None:
    """Records and the nodes that have them; None where only tags of nodes were to be read, and one has none."""
    found: dict[int, tuple[Record, list[Node]]] = {}  # by id: hashing a record for each node is slow
    for node in model.nodes():
        record = read.of(node)
        if record is None:
            if read.only_own:
                return None
            continue
        held = found.get(id(record))
        if held is None:
            found[id(record)] = (record, [node])
        else:
            held[1].append(node)
    return list(found.values())


class _OwnRecords:
    """What the file says of its nodes: each one's own tag, else, with ``parts``, the row that was written for it."""

    def __init__(self, parts: Parts | None, modules: Sequence[Module] = ()) -> None:
        self.only_own = parts is None
        self._is_merged = parts is not None and parts.is_merged
        self._parts = parts
        self._tables: list[Tables | None] = []  # made when the first node has no tag of its own
        self._kinds: dict[tuple[str | None, ...], Record | None] = {}  # the same without path and tag
        self._known: dict[tuple[str | None, ...], Record | None] = {}
        self.tabled: set[int] = set()  # ids of the records that are rows of the table
        self._sound = {module.path: module.tag for module in modules}  # these names were checked with the table

    def of(self, node: Node) -> Record | None:
        """The record of ``node``; None where there is none."""
        carried = node.metadata_of(_OWN)
        if embedded_tags.PATH not in carried:
            carried = embedded_tags.tag_in_doc(node.doc_string) or {}
        if carried:
            said = carried.get
            fields = (said(_PATH), said(_TAG), said(_SOURCE), said(_RULE), said(_CONFIDENCE))
            record = self._known.get(fields)
            if record is None:
                record = self._known[fields] = self._read(carried, *fields)
            if record is not None:
                return self._parts.own(node, record, carried) if self._parts and self._is_merged else record
        if self._parts is None:
            return None
        if not self._tables:
            self._tables.append(self._parts.tables())
        tables = self._tables[0]
        found = tables.find(node) if tables is not None else None
        if found is None or not found[1]:
            return None
        self.tabled.add(id(found[0]))  # the tables keep it
        return found[0]

    def _read(self, carried: Mapping[str, str], path: str | None, tag: str | None, *kind: str | None) -> Record | None:
        if path is None or tag is None or self._sound.get(path) != tag:
            return embedded_tags.read_node(carried)
        if kind not in self._kinds:
            self._kinds[kind] = embedded_tags.record("", "", *(each or "" for each in kind))
        like = self._kinds[kind]
        return None if like is None else Record(path, tag, like.source, like.rule, like.confidence)
