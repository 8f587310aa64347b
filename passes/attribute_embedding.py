"""attribute-embedding: write every attribution into the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from json.encoder import encode_basestring_ascii
from typing import ClassVar, Literal, Self

from modelexport.ir.attribution import Attribution
from modelexport.ir.facts import Fact
from modelexport.ir.identity.tables import label_of
from modelexport.ir.io import embedded_tags
from modelexport.ir.io.embedded_tags import VIEWER_KEYS, Interop, doc_with_tag, doc_without_tag
from modelexport.ir.model import Model
from modelexport.ir.modules.levels import add_levels
from modelexport.ir.modules.order import first_nodes, module_order
from modelexport.ir.node import Node
from modelexport.passes.pipeline.base import Pass, PassContext, PassResult
from modelexport.passes.rewriting.viewer_keys import Viewers

Patch = dict[str, str | None]
_LOOKED_AT = frozenset((*embedded_tags.NODE_KEYS, embedded_tags.MODEL, embedded_tags.ADDED, *VIEWER_KEYS))


@dataclass(frozen=True)
class AttributeEmbedding(Pass):
    """Write path, tag, source, rule and confidence of every node, and a table that optimisers keep.

    Attributes:
        interop: what else to write for other tools, where it is missing: ``namespace`` for viewers, and with it torch's
            name scopes (``torch``) or the winml keys (``winml``); ``none`` writes our own keys only.
        carrier: node metadata, the node's doc string, or both.
        table: whether to embed the table of modules and nodes in the model's metadata.
        torch_nn: whether a tag names torch.nn modules, or stops at the module that uses them.
    """

    name: ClassVar[str] = "attribute-embedding"
    requires: ClassVar[frozenset[Fact]] = frozenset({Fact.TAGGED})
    establishes: ClassVar[frozenset[Fact]] = frozenset({Fact.EMBEDDED})
    reads_weights: ClassVar[bool] = False

    interop: Interop = "namespace"
    carrier: Literal["metadata", "doc-string", "both"] = "metadata"
    table: bool = True
    torch_nn: bool = True

    def fitted(self, *, torch_nn: bool) -> Self:
        """With tags that stop at the user's own modules, where that is asked for."""
        return self if torch_nn else replace(self, torch_nn=False)

    def run(self, model: Model, ctx: PassContext) -> PassResult:
        """What the file already says is left as it is, byte for byte."""
        return _Writer(self, model, ctx).go()


class _Writer:
    """One run over one model. Nodes with one attribution and like metadata share one patch."""

    def __init__(self, options: AttributeEmbedding, model: Model, ctx: PassContext) -> None:
        self.options = options
        self.model = model
        self.first = first_nodes(model.nodes())
        for path in ("", *self.first) if self.first else ():  # the root too: a second run must find the same modules
            model.modules.ensure(path)
        add_levels(model.modules, self.first)
        self.full_tags = model.modules.tags()
        self.tags = self.full_tags if options.torch_nn else model.modules.tags(torch_nn=False)
        self.viewers = Viewers(options.interop, model.modules, self.tags)
        self.pipeline = ctx.pipeline or embedded_tags.pipeline_of(model.metadata) or options.name
        self.packed = self._tables()
        self.digest = embedded_tags.digest_of(self.pipeline, *self.packed)
        self.own: dict[int, dict[str, str]] = {}  # by id: nodes keep their attributions alive, and hashing them is slow
        self.said: dict[tuple[object, ...], dict[str, str]] = {}  # by content: evidence is not written
        self.plain: dict[int, Patch] = {}  # by id of what is said
        self.patches: dict[tuple[object, ...], Patch] = {}
        self.same_for_all_operators = options.interop != "torch"

    def go(self) -> PassResult:
        changed = 0
        in_metadata, in_doc = self.options.carrier != "doc-string", self.options.carrier != "metadata"
        bare: tuple[str, ...] | None = None  # a list of keys without ours: nodes with equal ones share it
        for graph in self.model.graphs():
            for node in graph.nodes:
                attribution = node.attribution
                if attribution is None:
                    continue
                own = self.own.get(id(attribution))
                if own is None:
                    said = (attribution.path, attribution.source, attribution.rule, attribution.confidence)
                    own = self.said.get(said)
                    if own is None:
                        own = self.said[said] = self._own(attribution)
                    self.own[id(attribution)] = own
                proto = node.proto
                keys = node.source_keys()
                if keys is not bare and _LOOKED_AT.isdisjoint(keys):
                    bare = keys
                if keys is bare and node.patch is None and self.same_for_all_operators:
                    patch = self.plain.get(id(own))
                    if patch is None:
                        patch = self.plain[id(own)] = self._patch(node, attribution, own, {}, in_metadata)
                    if patch:
                        node.patch_metadata(patch)
                    touched = bool(patch)
                else:
                    touched = self._update(node, attribution, own, in_metadata)
                if in_doc or (proto is not None and proto.doc_string):
                    touched |= _write_doc(node, own if in_doc else None)
                changed += touched
        self._describe_model()
        return PassResult(changed=changed)

    def _own(self, attribution: Attribution) -> dict[str, str]:
        return {
            embedded_tags.TAG: self.tags[attribution.path],
            embedded_tags.PATH: attribution.path,
            embedded_tags.SOURCE: str(attribution.source),
            embedded_tags.RULE: attribution.rule,
            embedded_tags.CONFIDENCE: f"{attribution.confidence:.2f}",
            embedded_tags.MODEL: self.digest,
        }

    def _patch(
        self, node: Node, attribution: Attribution, own: dict[str, str], metadata: Mapping[str, str], write: bool
    ) -> Patch:
        """What to set and remove so that ``metadata`` says what it should."""
        extra = self.viewers.keys(node, attribution)
        if not metadata:
            added = {embedded_tags.ADDED: ",".join(extra)} if extra else {}
            return {**(own if write else {}), **extra, **added}
        before = {key for key in metadata.get(embedded_tags.ADDED, "").split(",") if key in VIEWER_KEYS}
        foreign = {key for key in VIEWER_KEYS if key in metadata and key not in before}
        wanted: Patch = dict(own) if write else {}
        extra = {key: value for key, value in extra.items() if key not in foreign}
        wanted.update(extra)
        if extra:
            wanted[embedded_tags.ADDED] = ",".join(extra)
        gone = before.union((*embedded_tags.NODE_KEYS, embedded_tags.MODEL, embedded_tags.ADDED)).difference(wanted)
        wanted.update((key, None) for key in sorted(gone) if key in metadata)
        return {key: value for key, value in wanted.items() if metadata.get(key) != value}

    def _update(self, node: Node, attribution: Attribution, own: dict[str, str], write: bool) -> bool:
        metadata = node.metadata
        kept = tuple(metadata.get(key) for key in (*embedded_tags.NODE_KEYS, embedded_tags.MODEL, embedded_tags.ADDED))
        viewers = (
            tuple(metadata.get(key) for key in VIEWER_KEYS)
            if kept[-1]
            else tuple(key in metadata for key in VIEWER_KEYS)
        )
        operator = "" if self.same_for_all_operators else node.op_type
        key = (id(own), kept, viewers, operator)
        patch = self.patches.get(key)
        if patch is None:
            patch = self.patches[key] = self._patch(node, attribution, own, metadata, write)
        if patch:
            node.patch_metadata(patch)
        return bool(patch)

    def _describe_model(self) -> None:
        """Keys that differ between models carry a digest, so that tools can merge the metadata of two."""
        metadata = self.model.metadata
        wanted: Patch = dict.fromkeys(embedded_tags.own_keys(metadata))
        wanted[embedded_tags.SCHEMA] = embedded_tags.SCHEMA_VERSION
        wanted[f"{embedded_tags.PIPELINE}.{self.digest}"] = self.pipeline
        if self.options.table:
            for key, packed in zip((embedded_tags.MODULES, embedded_tags.NODES), self.packed, strict=True):
                wanted[f"{key}.{self.digest}"] = packed
        self.model.patch_metadata({key: value for key, value in wanted.items() if metadata.get(key) != value})

    def _tables(self) -> tuple[str, str]:
        modules = [self.model.modules[path] for path in module_order(self.model.modules, self.first)]
        index = {module.path: position for position, module in enumerate(modules)}
        rows: list[list[object]] = [
            [m.path, m.cls, self.full_tags[m.path], m.calls, m.same_as, m.parameters] for m in modules
        ]
        nodes: list[str] = []  # JSON of each row: far less to make than lists of lists
        tails: dict[int, str] = {}
        for graph in self.model.graphs():
            scope = encode_basestring_ascii(graph.scope)
            for node in graph.nodes:
                attribution = node.attribution
                if attribution is None:
                    continue
                tail = tails.get(id(attribution))
                if tail is None:
                    source, rule = map(encode_basestring_ascii, (str(attribution.source), attribution.rule))
                    share = round(attribution.confidence, 2)
                    tail = tails[id(attribution)] = f"{index[attribution.path]},{source},{rule},{share!r}]"
                outputs = node.outputs
                output = outputs[0] if outputs and outputs[0] else node.first_output
                name = node.name or label_of(node)
                nodes.append(f"[{scope},{encode_basestring_ascii(name)},{encode_basestring_ascii(output)},{tail}")
        return embedded_tags.pack("modules", rows, self.model.main.name), embedded_tags.pack_written("nodes", nodes)


def _write_doc(node: Node, own: Mapping[str, str] | None) -> bool:
    """Let the doc string carry ``own``, or nothing; whether that changes it."""
    before = doc_without_tag(node)
    wanted = before if own is None else doc_with_tag(before, own)
    if wanted == (node.doc_string if node.has_doc_string else None):
        return False
    node.patch_doc(wanted)
    return True
