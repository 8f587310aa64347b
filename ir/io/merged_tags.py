"""The tables and tags of files that hold more than one tagged model, as composing tools make them.

Such tools put a prefix before every name, keep the metadata of nodes, and join that of the models, which therefore has
a digest in its keys (``htp.modules.<8 hex>``). Each model then hangs under a segment of its own: its prefix, else the
name of its graph. A file that holds one model keeps its paths, whatever its names were prefixed with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from modelexport.ir.identity.copies import copies_of
from modelexport.ir.identity.tables import Tables
from modelexport.ir.io import embedded_tags
from modelexport.ir.io.embedded_tags import BadTable, Record, Table
from modelexport.ir.model import Model
from modelexport.ir.modules import Module, ModuleTable
from modelexport.ir.modules.spelled import agree, modules_of_tags
from modelexport.ir.modules.tags import encode
from modelexport.ir.node import Node
from modelexport.ir.scope import Scope

_FUSED = "fused /"  # how onnxruntime begins the name of an operator with its activation: no tool's prefix
_TAGS = frozenset(embedded_tags.NODE_KEYS)
_OF_NODES = "node_"  # how torch.export begins the names of nodes: no tool's prefix either
_SAMPLE, _MOST, _WHOLE, _TWICE = 64, 0.5, 0.9, 1.8


@dataclass(frozen=True, slots=True)
class Part:
    """One tagged model in a file.

    Attributes:
        digests: what its tags were written with; "" for those of older versions.
        prefix: what stands before its names.
        segment: the module that it hangs under; "" where the file holds one model.
        table: its table, if it has one.
        modules: those of the table, else what the tags of its nodes tell of modules.
    """

    digests: frozenset[str]
    prefix: str
    segment: str
    table: Table | None
    modules: Sequence[Module]


class Parts:
    """All tagged models in a file."""

    def __init__(self, model: Model, parts: Sequence[Part]) -> None:
        self.parts = parts
        self._model = model
        self.is_merged = any(part.segment for part in parts)
        self._modules = ModuleTable()
        for part in parts if self.is_merged else ():
            self._modules.ensure("")
            for module in part.modules:
                self._modules.add(_placed(module, part.segment))

    def _place(self, part: Part, record: Record) -> Record:
        """A record of one model as one of the whole file."""
        if not part.segment:
            return record
        path = _below(part.segment, record.path)
        return replace(record, path=path, tag=self._modules.tag(path))

    def modules(self) -> list[Module]:
        """The modules of the tables of all parts, as :meth:`tables` has them."""
        with_table = [part for part in self.parts if part.table is not None]
        return [_placed(module, part.segment) for part in with_table for module in part.modules]

    def tables(self) -> Tables | None:
        """The tables of all parts, names as they are in this file; None where there are none."""
        with_table = [part for part in self.parts if part.table is not None]
        if not with_table:
            return None
        tables = Tables()
        for number, part in enumerate(with_table):
            assert part.table is not None
            placed: dict[Record, Record] = {}
            for scope, name, output, record in part.table.rows:
                found = placed.get(record)
                if found is None:
                    found = placed[record] = self._place(part, record)
                tables.add(scope, name, output, found, part.prefix, str(number) if number else "")
        tables.modules += self.modules()
        tables.place(self._model)
        return tables

    def told(self) -> list[Module]:
        """The modules of parts without a table, as the tags of their nodes tell of them."""
        return [_placed(module, part.segment) for part in self.parts if part.table is None for module in part.modules]

    def own(self, node: Node, record: Record, carried: Mapping[str, str]) -> Record:
        """A record that ``node`` itself carries in ``carried``, as one of the whole file."""
        if not self.is_merged:
            return record
        digest = carried.get(embedded_tags.MODEL, "")
        mine = [part for part in self.parts if digest in part.digests]
        fitting = [part for part in mine if any(name.startswith(part.prefix) for name in (node.name, *node.outputs))]
        fitting = fitting or mine
        return self._place(max(fitting, key=lambda part: len(part.prefix)), record) if fitting else record


def parts_of(model: Model, warnings: list[str]) -> Parts:
    """The tagged models in ``model``; a table that can't be read is a warning, and as if it were not there."""
    budget = embedded_tags.table_budget(model)
    found: dict[str, Table | None] = {}
    for digest, packed_modules, packed_nodes in embedded_tags.packed_tables(model.metadata):
        try:
            found[digest] = embedded_tags.read_table(packed_modules, packed_nodes, budget)
        except BadTable as error:
            warnings.append(f"ignored the embedded table: {error}")
            found[digest] = None
    tags: dict[str, dict[str, str]] = {}  # of nodes without a table: by digest, then by path
    if len(found) != 1 or None in found.values() or embedded_tags.is_of_several(model.metadata):
        for node in carriers(model, _TAGS):
            held = _carried(node)
            if held is not None and found.get(held[1].get(embedded_tags.MODEL, "")) is None:
                tags.setdefault(held[1].get(embedded_tags.MODEL, ""), {})[held[0].path] = held[0].tag
    tags = {digest: spelled for digest, spelled in tags.items() if digest or not found}
    names = (
        {name for node in model.nodes() for name in (node.name, node.first_output) if name} if found or tags else set()
    )
    alone = len(found) == 1 and not tags
    tables = {digest: table for digest, table in found.items() if table is not None}
    standing = {digest: _prefixes(table, names, model, alone) for digest, table in tables.items()}
    parts = [
        Part(frozenset((digest,)), prefix, "", tables[digest], tables[digest].modules)
        for digest, prefixes in _each_its_own(standing, tables, model).items()
        for prefix in prefixes
    ]
    parts += _without_table(model, tags, [digest for digest, table in found.items() if table is None])
    if len(parts) == 1:
        prefix = parts[0].prefix
        named = [node.name for node in model.nodes() if node.name] if prefix else []
        if sum(name.startswith(prefix) for name in named) >= _WHOLE * len(named):
            return Parts(model, parts)
    segments = _segments([(part.prefix, part.table) for part in parts])
    return Parts(model, [replace(part, segment=segment) for part, segment in zip(parts, segments, strict=True)])


def modules_of_whole(model: Model) -> list[Module] | None:
    """The modules of a file that holds one model under the names it was tagged with; None for any other file.

    The rows of its nodes are neither checked nor kept: for who reads the tags that nodes carry themselves.
    """
    packed = embedded_tags.packed_tables(model.metadata)
    if len(packed) != 1 or embedded_tags.is_of_several(model.metadata):
        return None
    budget = embedded_tags.table_budget(model)
    try:
        modules = embedded_tags.read_modules(packed[0][1], budget)
        rows = embedded_tags.unpack(packed[0][2], budget, "nodes")
    except BadTable:
        return None
    known = [
        row[1] or row[2] for row in rows[:: max(1, len(rows) // _SAMPLE)] if isinstance(row, list) and len(row) == 7
    ]
    sample = {name for name in known if isinstance(name, str) and name}
    if not sample or sum(len(graph) for graph in model.graphs()) >= _TWICE * len(rows):
        return None
    lost = sample.difference([node.name for node in model.nodes()])
    return None if lost and lost.difference([node.first_output for node in model.nodes()]) else modules


def _sample(names: Sequence[str]) -> set[str]:
    return set(names[:: max(1, len(names) // _SAMPLE)][:_SAMPLE])


def tags_in_file(model: Model) -> dict[Node, Record]:
    """The tags that the file of ``model`` has, or will have when it is written: in node metadata, doc strings or table.

    Nodes without one are left out; a damaged table counts as none.
    """
    parts = parts_of(model, [])
    tables = parts.tables()
    found: dict[Node, Record] = {}
    for node in model.nodes():
        held = _carried(node)
        if held is not None:
            found[node] = parts.own(node, *held)
        elif tables is not None and (row := tables.find(node)) is not None and row[1]:
            found[node] = row[0]
    return found


def carriers(model: Model, keys: frozenset[str]) -> Iterator[Node]:
    """The nodes whose metadata may have one of ``keys``, or that have a doc string: none in most files."""
    for graph in model.graphs():
        bare: tuple[str, ...] | None = None  # the last list without such keys: nodes with equal ones share it
        for node in graph.nodes:
            proto = node.proto
            told = node.patch is None and node.doc_patch is None and (proto is None or not proto.doc_string)
            held = node.source_keys()
            if told and held is bare:
                continue
            if not told or not keys.isdisjoint(held):
                yield node
            else:
                bare = held


def _carried(node: Node) -> tuple[Record, Mapping[str, str]] | None:
    """The tag that ``node`` itself carries, and what it stands in."""
    carried: Mapping[str, str] = node.metadata if node.has_metadata(_TAGS) else {}
    held = embedded_tags.read_node(carried) if carried else None
    if held is None and node.has_doc_string:
        carried = embedded_tags.tag_in_doc(node.doc_string) or {}
        held = embedded_tags.read_node(carried) if carried else None
    return None if held is None else (held, carried)


def _without_table(model: Model, tags: Mapping[str, dict[str, str]], lost: Sequence[str]) -> list[Part]:
    """One part for all digests whose tags can be those of one model, such as a decoder with its cache and without."""
    groups: list[tuple[set[str], str, dict[str, str]]] = []
    if not tags and not lost:
        return []
    carried = {node: held for node in model.nodes() if (held := _carried(node)) is not None}
    bearers: dict[str, list[Node]] = {digest: [] for digest in (*tags, *lost)}
    for node, (_, said) in carried.items():
        bearers.setdefault(said.get(embedded_tags.MODEL, ""), []).append(node)
    parts: list[tuple[str, str]] = []  # digests and prefixes
    for digest in (*tags, *(each for each in lost if each not in tags)):
        copies = copies_of(bearers[digest], lambda node: carried[node][0].path)
        for copy in copies:
            names = [node.name for node in copy if node.name]
            every = _common([*names, *_inner_outputs(copy)])
            parts.append((digest, every if every or len(copies) > 1 else _common(names).partition(_OF_NODES)[0]))
    for digest, prefix in parts:
        told = tags.get(digest, {})
        same = next((group for group in groups if group[1] == prefix and agree(group[2], told)), None)
        if same is None:
            groups.append(({digest}, prefix, dict(told)))
        else:
            same[0].add(digest)
            same[2].update(told)
    cut = {
        digest
        for digest in bearers
        if embedded_tags.CUT in model.metadata.get(f"{embedded_tags.PIPELINE}.{digest}", "")
    }
    return [
        Part(frozenset(digests), prefix, "", None, modules_of_tags(told, collapsed=not cut.isdisjoint(digests)))
        for digests, prefix, told in groups
    ]


def _prefixes(table: Table, names: set[str], model: Model, alone: bool) -> list[str]:
    """The prefixes under which a table's names are in the file; more than one where a model was merged with itself."""
    sample = _sample([name or output for _, name, output, _ in table.rows if name or output])
    plain = len(sample & names)
    twice = sum(len(graph) for graph in model.graphs()) >= _TWICE * len(table.rows)
    if alone and not twice and plain >= _MOST * len(sample):
        return [""]
    hits = Counter(name[: -len(end)] for end in sample for name in names
                   if name.endswith(end) and not name.startswith(_FUSED))  # fmt: skip
    most = max(hits.values(), default=0)
    return sorted(prefix for prefix, count in hits.items() if count >= _WHOLE * most) or [""]


def _each_its_own(
    standing: Mapping[str, Sequence[str]], tables: Mapping[str, Table], model: Model
) -> Mapping[str, Sequence[str]]:
    """The prefixes of each table, less those under which another one's names stand.

    Models that are much alike have most names in common, so a table may seem to stand under the other's prefix too. The
    one that the nodes there say they are from has it, else the one whose rows are there. None is left without any.
    """
    times = Counter(prefix for prefixes in standing.values() for prefix in prefixes)
    if not any(count > 1 and prefix for prefix, count in times.items()):
        return standing
    pairs = {(node.name, node.first_output): node for node in model.nodes()}
    kept = {digest: list(prefixes) for digest, prefixes in standing.items()}
    held: Counter[str] = Counter()
    for prefix in sorted(prefix for prefix, count in times.items() if count > 1 and prefix):
        fits: dict[str, tuple[int, int, int]] = {}
        for digest in (digest for digest, prefixes in kept.items() if prefix in prefixes):
            rows = [(name and prefix + name, output and prefix + output) for _, name, output, _ in tables[digest].rows]
            found = [pairs[row] for row in rows if row in pairs]
            said = sum(node.metadata.get(embedded_tags.MODEL) == digest for node in found)
            fits[digest] = said, 2 * len(found) - len(rows), -held[digest]
        owner = max(fits, key=lambda digest: fits[digest])
        held[owner] += 1
        for digest in fits:
            if digest != owner and len(kept[digest]) > 1:
                kept[digest].remove(prefix)
    return kept


def _inner_outputs(nodes: Iterable[Node]) -> Iterator[str]:
    """First outputs of ``nodes`` that are no outputs of their graphs: composing tools keep the names of these."""
    kept: dict[Scope, frozenset[str]] = {}
    for node in nodes:
        if node.graph not in kept:
            kept[node.graph] = frozenset(node.graph.outputs)
        if node.first_output and node.first_output not in kept[node.graph]:
            yield node.first_output


def _common(names: Sequence[str]) -> str:
    """What all names begin with, up to where a name of TorchScript's begins."""
    first, last = min(names, default=""), max(names, default="")
    length = next((at for at, (one, two) in enumerate(zip(first, last, strict=False)) if one != two), 0)
    head, slash, _ = first[:length].partition("/")
    return head + ("/" if slash and first[len(head) : len(head) + 2] == "//" else "")


def _segments(held: Iterable[tuple[str, Table | None]]) -> list[str]:
    taken: list[str] = []
    for prefix, table in held:
        name = prefix.strip("/_.") or (table.graph if table is not None else "") or "model"
        base = segment = encode(name, dots=True)
        number = 1
        while segment in taken:
            number += 1
            segment = f"{base}_{number}"
        taken.append(segment)
    return taken


def _placed(module: Module, segment: str) -> Module:
    if not segment:
        return module
    same_as = None if module.same_as is None else _below(segment, module.same_as)
    aliases = tuple(_below(segment, alias) for alias in module.aliases)
    return Module(_below(segment, module.path), module.cls, module.calls, aliases, module.parameters, same_as=same_as)


def _below(segment: str, path: str) -> str:
    return f"{segment}.{path}" if path else segment
