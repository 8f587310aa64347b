"""What passes that change names or structure do about tags: read the file's, fill gaps, embed again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from modelexport.ir.errors import ConfigError
from modelexport.ir.io import embedded_tags
from modelexport.ir.io.merged_tags import Parts, modules_of_whole, parts_of
from modelexport.ir.model import Model
from modelexport.ir.modules.module import Module
from modelexport.ir.node import Node
from modelexport.passes.attribute_embedding import AttributeEmbedding
from modelexport.passes.context_inheritance import ContextInheritance
from modelexport.passes.fallback_tagging import FallbackTagging
from modelexport.passes.pipeline.base import PassContext
from modelexport.passes.recorded import recorded_embedding

_TAG, _PATH, _SOURCE, _RULE, _CONFIDENCE = embedded_tags.NODE_KEYS
_OWN = frozenset((*embedded_tags.NODE_KEYS, embedded_tags.MODEL))


def has_attributions(model: Model, by: str, warnings: list[str]) -> bool:
    """Whether any node is attributed: by the pipeline, else now by the tags that the file carries."""
    if any(node.attribution is not None for node in model.nodes()):
        return True
    modules = modules_of_whole(model)
    bearers = _bearers(model, _OwnRecords(None, modules)) if modules is not None else None
    if modules is None or bearers is None:  # merged, or some nodes have no tag of their own: the table may know
        parts = parts_of(model, warnings)
        modules, bearers = parts.modules(), _bearers(model, _OwnRecords(parts)) or []
    for module in modules:
        if module.path not in model.modules:
            model.modules.add(module)
    for record, nodes in bearers:
        module = model.modules.ensure(record.path)
        if record.tag and not module.tag and not module.cls:
            module.tag = record.tag
            model.modules.touch()
        attribution = record.attribution(by)
        for node in nodes:
            node.attribute_to(attribution)
    return bool(bearers)


def need_attributions(model: Model, by: str, warnings: list[str]) -> None:
    """Read the file's tags where nothing is attributed. Raises ConfigError where there are none either."""
    if not has_attributions(model, by, warnings) and any(True for _ in model.nodes()):
        raise ConfigError(f"{by}: no node has a module, neither from a pass nor in the file: put htp before it")


def _bearers(model: Model, read: _OwnRecords) -> list[tuple[embedded_tags.Record, list[Node]]] | None:
    """Records and the nodes that have them; None where only tags of nodes were to be read, and one has none."""
    found: dict[int, tuple[embedded_tags.Record, list[Node]]] = {}  # by id: hashing a record for each node is slow
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
        self._tables: list[embedded_tags.Tables | None] = []  # made when the first node has no tag of its own
        self._kinds: dict[tuple[str | None, ...], embedded_tags.Record | None] = {}  # the same without path and tag
        self._known: dict[tuple[str | None, ...], embedded_tags.Record | None] = {}
        self._sound = {module.path: module.tag for module in modules}  # these names were checked with the table

    def of(self, node: Node) -> embedded_tags.Record | None:
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
        return found[0] if found is not None and found[1] else None

    def _read(
        self, carried: Mapping[str, str], path: str | None, tag: str | None, *kind: str | None
    ) -> embedded_tags.Record | None:
        if path is None or tag is None or self._sound.get(path) != tag:
            return embedded_tags.read_node(carried)
        if kind not in self._kinds:
            self._kinds[kind] = embedded_tags.record("", "", *(each or "" for each in kind))
        like = self._kinds[kind]
        return None if like is None else embedded_tags.Record(path, tag, like.source, like.rule, like.confidence)


def embedding_of(model: Model, ctx: PassContext) -> AttributeEmbedding | None:
    """The pass that embedded the tags which the file carries now, of this pipeline or of an earlier run's; None where
    it carries none."""
    if not embedded_tags.own_keys(model.metadata) and not any(_carries(node) for node in model.nodes()):
        return None
    for step in reversed(ctx.done):
        if isinstance(step, AttributeEmbedding):
            return step
    return recorded_embedding(model) or AttributeEmbedding(table=bool(embedded_tags.packed_tables(model.metadata)))


def _carries(node: Node) -> bool:
    return embedded_tags.PATH in node.metadata or embedded_tags.tag_in_doc(node.doc_string) is not None


def fill_gaps(model: Model, ctx: PassContext) -> dict[str, int]:
    """Attribute what is left as context-inheritance and fallback-tagging do. Returns the count of each rule."""
    if all(node.attribution is not None for node in model.nodes()):
        return {}
    before = Counter(ctx.counts)
    ContextInheritance().attribute(model, ctx)
    FallbackTagging().attribute(model, ctx)
    return dict(ctx.counts - before)


def embed_again(model: Model, ctx: PassContext, embedding: AttributeEmbedding | None) -> None:
    """Let the file say what the IR says, where it did before."""
    if embedding is not None:
        embedding.run(model, ctx)
