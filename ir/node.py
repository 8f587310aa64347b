"""The payload of one node: what it computes, where it is from, and what its metadata will say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import onnx

from modelexport.ir.attribution import Attribution
from modelexport.ir.text import shown, text

if TYPE_CHECKING:
    from modelexport.ir.scope import Scope

_NOTHING: Mapping[str, str] = MappingProxyType({})


class Absent(Enum):
    """The value of ``Node.doc_patch`` and ``Node.name_patch`` that takes the field away."""

    ABSENT = "absent"


class Node:
    """One operator call of one graph.

    ``inputs`` and ``outputs`` are value names ("" marks an absent slot); ``captures`` are the outer values that the
    node's bodies read. Change them through the graph's editing methods only. Metadata is the source's with a patch over
    it, which the writer applies; ``patch`` maps a key to its new value, or to None where the key is to be removed, and
    ``applied`` is the patch that is in the proto already.
    """

    __slots__ = (
        "_attribution",
        "_history",
        "_keys",
        "applied",
        "captures",
        "doc_patch",
        "domain",
        "graph",
        "id",
        "inputs",
        "name",
        "name_patch",
        "op_type",
        "outputs",
        "patch",
        "proto",
    )

    def __init__(
        self,
        graph: Scope,
        node_id: int,
        proto: onnx.NodeProto | None,
        op_type: str,
        domain: str,
        name: str,
        inputs: tuple[str, ...],
        outputs: tuple[str, ...],
    ) -> None:
        self.graph = graph
        self.id = node_id
        self.proto = proto
        self.op_type = op_type
        self.domain = domain
        self.name = name
        self.inputs = inputs
        self.outputs = outputs
        self.captures: tuple[str, ...] = ()
        self.patch: Mapping[str, str | None] | None = None
        self.doc_patch: str | Absent | None = None
        self.name_patch: str | Absent | None = None
        self.applied: Mapping[str, str | None] | None = None
        self._keys: tuple[str, ...] | None = None  # of the proto's metadata; see forget_source_keys
        self._attribution: Attribution | None = None
        self._history: tuple[Attribution, ...] = ()

    def __repr__(self) -> str:
        return f"<Node {self.graph.scope}#{self.id} {self.op_type} {self.name or self.first_output!r}>"

    def rename(self, name: str | None) -> None:
        """Give the node another name; None takes the field away, which is not the same bytes as an empty name."""
        self.name = name or ""
        self.graph.model.forget_derived()
        self.name_patch = Absent.ABSENT if name is None else name

    @property
    def attribution(self) -> Attribution | None:
        """The module this node is from, or None while nothing has decided it."""
        return self._attribution

    @property
    def history(self) -> tuple[Attribution, ...]:
        """All attributions the node has had, oldest first, the current one last."""
        return self._history if self._attribution is None else (*self._history, self._attribution)

    def attribute_to(self, attribution: Attribution) -> None:
        """Set the attribution. The only way to set one; what stood there before goes to the history."""
        if self._attribution is not None:
            if self._attribution == attribution:
                return
            self._history = (*self._history, self._attribution)
        self._attribution = attribution

    @property
    def first_output(self) -> str:
        """First non-empty output name, or ""."""
        outputs = self.outputs
        if outputs and outputs[0]:
            return outputs[0]
        return next((name for name in outputs if name), "")

    @property
    def described(self) -> str:
        """How messages name the node: its scope and its name, else its operator and first output."""
        label = shown(self.name) if self.name else f"{self.op_type} -> {shown(self.first_output)}"
        return f"{self.graph.scope}: node {self.id} ({label})"

    @property
    def overload(self) -> str:
        """Overload of the local function the node calls; "" nearly always."""
        return text(self.proto.overload) if self.proto is not None else ""

    @property
    def bodies(self) -> tuple[Scope, ...]:
        """The node's subgraph bodies, in attribute order."""
        return self.graph.bodies.get(self.id, ())

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Attributes by name as Python values; tensors and graphs stay protos. References to a function's attribute
        and attributes of unknown kinds are given as their AttributeProto."""
        return {text(a.name): _value(a) for a in self.attribute_protos()}

    def attribute_protos(self) -> tuple[onnx.AttributeProto, ...]:
        """The source protos of the attributes; not to be edited."""
        return tuple(self.proto.attribute) if self.proto is not None else ()

    @property
    def metadata(self) -> Mapping[str, str]:
        """Metadata as it will be written: the source's entries under the patch."""
        source = self.source_metadata()
        if not self.patch:
            return source
        merged = {key: value for key, value in source.items() if self.patch.get(key, value) is not None}
        merged.update((key, value) for key, value in self.patch.items() if value is not None)
        return merged

    def source_metadata(self) -> Mapping[str, str]:
        """Metadata as the source has it; of a duplicate key the last entry counts."""
        entries = self.proto.metadata_props if self.proto is not None else ()
        if not entries:
            return _NOTHING
        return {text(entry.key): text(entry.value) for entry in entries}

    def metadata_of(self, keys: frozenset[str]) -> Mapping[str, str]:
        """The part of ``metadata`` with these keys; quicker than the whole."""
        if self.patch:
            return {key: value for key, value in self.metadata.items() if key in keys}
        found: dict[str, str] = {}
        for entry in self.proto.metadata_props if self.proto is not None else ():
            key = entry.key
            if key in keys:
                value = entry.value
                found[key] = value if isinstance(value, str) else text(value)
        return found

    def has_metadata(self, keys: frozenset[str]) -> bool:
        """Whether the metadata has one of ``keys``; quicker than asking ``metadata``."""
        patch = self.patch
        if patch:
            if any(patch.get(key) is not None for key in keys):
                return True
            return any(key in keys and key not in patch for key in self.source_keys())
        return not keys.isdisjoint(self.source_keys())

    def source_keys(self) -> tuple[str, ...]:
        """Metadata keys as the source has them, in its order; looked up once, nodes with equal ones share them."""
        keys = self._keys
        if keys is None:
            entries: Sequence[onnx.StringStringEntryProto] = self.proto.metadata_props if self.proto is not None else ()
            # A single entry is what most nodes have; without a loop it takes half the time.
            raw = (entries[0].key,) if len(entries) == 1 else tuple([entry.key for entry in entries])
            lists = self.graph.model.key_lists
            known = lists.get(raw)
            if known is None:
                known = tuple(map(text, raw))
                known = lists[raw] = lists.setdefault(known, known)
            keys = self._keys = known
        return keys

    def forget_source_keys(self) -> None:
        """Called by who changes the metadata of the source proto."""
        self._keys = None

    def patch_metadata(self, changes: Mapping[str, str | None]) -> None:
        """Set keys, or remove those given as None. A first patch is kept by reference: share it, never change it."""
        self.patch = changes if self.patch is None else {**self.patch, **changes}

    @property
    def doc_string(self) -> str:
        """The doc string as it will be written; "" also where there is none."""
        if self.doc_patch is not None:
            return "" if isinstance(self.doc_patch, Absent) else self.doc_patch
        return text(self.proto.doc_string) if self.proto is not None else ""

    @property
    def has_doc_string(self) -> bool:
        """Whether a doc string, be it empty, will be written. An empty one and none are different bytes."""
        if self.doc_patch is not None:
            return not isinstance(self.doc_patch, Absent)
        return self.proto is not None and self.proto.HasField("doc_string")

    def patch_doc(self, doc: str | None) -> None:
        """Set the doc string, or take the field away with None.

        Whoever appends to a doc string and later takes that away again must know whether there was one
        (``has_doc_string`` before): ``patch_doc("")`` writes an empty field, ``patch_doc(None)`` writes none.
        """
        self.doc_patch = Absent.ABSENT if doc is None else doc


def _value(attribute: onnx.AttributeProto) -> Any:
    kinds = onnx.AttributeProto
    if attribute.ref_attr_name or attribute.type == kinds.UNDEFINED:
        return attribute
    try:
        return onnx.helper.get_attribute_value(attribute)
    except ValueError:  # a kind that the installed onnx does not know
        return attribute
