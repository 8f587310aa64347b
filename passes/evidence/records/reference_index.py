"""The tags of a reference, looked up by the names that optimisers keep."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from itertools import product

from modelexport.ir.errors import InputError
from modelexport.ir.identity.tables import Tables
from modelexport.ir.io.embedded_tags import Record
from modelexport.ir.io.tag_rows import own_tag
from modelexport.ir.model import Model
from modelexport.ir.modules import Module, ModuleTable
from modelexport.ir.modules.module import is_path
from modelexport.ir.node import Node
from modelexport.passes.evidence.records.node_names import FUSED, MAX_NAME, name_decides, shorter_names

Entry = tuple[str, float]  # path and confidence
_SAMPLE = 64  # names that are looked for to find a prefix
_POSITION = re.compile(r"#\d+:\w")  # how a sidecar keys a node that has no name of its own
# what quantisers write behind the name of a value, and onnxruntime before it where it computes float16 in float32
_SPELLED = (re.compile(r"(?P<value>.+?)(?:_output)?_quantized"), re.compile(r"InsertedPrecisionFreeCast_(?P<value>.+)"))
_MOST = 2**31 - 1  # of a count that can be embedded again


class ReferenceIndex:
    """Paths by node name and by output name. A name that stands for several modules is not in the index."""

    def __init__(self) -> None:
        self.by_name: dict[str, Entry | None] = {}
        self.by_output: dict[str, Entry | None] = {}
        self.modules: list[Module] = []

    @classmethod
    def of_model(cls, model: Model) -> ReferenceIndex:
        """The index of every attributed node of ``model``."""
        index = cls()
        for node in model.nodes():
            attribution = node.attribution
            if attribution is not None:
                index.add(node.name, node.outputs, (attribution.path, attribution.confidence))
        index.modules = list(model.modules)
        return index

    @classmethod
    def of_table(cls, tables: Tables) -> ReferenceIndex:
        """The index of an embedded table."""
        index = cls()
        index.modules = tables.modules
        for (_, name), record in tables.by_name.items():
            index.add(name, (), (record.path, record.confidence))
        for (_, output), (record, _) in tables.by_output.items():
            index.add("", (output,), (record.path, record.confidence))
        return index

    @classmethod
    def of_sidecar(cls, sidecar: Mapping[str, object], label: str = "the sidecar") -> ReferenceIndex:
        """The index of a sidecar's content (formats: ``node_tags`` and ``modules``).

        Raises:
            InputError: an entry is not what a sidecar holds.
        """
        index = cls()
        modules = list(_rows(sidecar.get("modules", []), f"{label}: its modules"))
        uses = Counter(str(module.get("tag", "")) for module in modules)
        for module in modules:
            path, cls_name, calls = module.get("path"), module.get("class"), module.get("calls", 1)
            aliases, tag = module.get("aliases") or [], module.get("tag", "")
            if not isinstance(path, str) or not is_path(path) or not isinstance(calls, int) or not isinstance(tag, str):
                raise InputError(f"{label}: its modules are damaged")
            names = tuple(alias for alias in aliases if isinstance(alias, str)) if isinstance(aliases, list) else ()
            same_as, size = module.get("same_as"), module.get("parameters", 0)
            index.modules.append(
                Module(
                    path,
                    str(cls_name or ""),
                    min(max(0, calls), _MOST),
                    names,
                    min(max(0, size), _MOST) if isinstance(size, int) else 0,
                    tag=own_tag(module, uses),
                    same_as=same_as if isinstance(same_as, str) and is_path(same_as) else None,
                )
            )
        nodes = sidecar.get("node_tags", {})
        if not isinstance(nodes, dict):
            raise InputError(f"{label}: its node_tags are damaged")
        for key, entry in nodes.items():
            if (
                isinstance(entry, dict)
                and entry.get("path") is None
                and entry.get("source") is None
                and "tags" in entry
            ):
                continue  # a node that had no tag
            path, share = (entry.get("path"), entry.get("confidence", 1.0)) if isinstance(entry, dict) else (None, None)
            if not isinstance(path, str) or not is_path(path) or not isinstance(share, (int, float)):
                raise InputError(f"{label}: the entry of node {str(key)[:80]!r} is damaged")
            outputs = entry.get("outputs", [])
            names = tuple(name for name in outputs if isinstance(name, str)) if isinstance(outputs, list) else ()
            index.add("" if _POSITION.search(key) else key, names, (path, float(min(1.0, max(0.0, share)))))
        return index

    def add(self, name: str, outputs: tuple[str, ...], entry: Entry) -> None:
        """Add one node of the reference."""
        if name:
            _put(self.by_name, name, entry)
        for output in outputs:
            if output:
                _put(self.by_output, output, entry)

    def declare(self, modules: ModuleTable) -> None:
        """Tell ``modules`` what the reference knows about them."""
        for module in self.modules:
            known = modules.get(module.path)
            if known is None or (module.cls and not known.cls):
                modules.add(module)

    def prefix_in(self, model: Model) -> str:
        """What stands before the reference's names in ``model``; "" where most of them are there as they are."""
        sample = list(self.by_name)[:: max(1, len(self.by_name) // _SAMPLE)][:_SAMPLE]
        names = {node.name for node in model.nodes() if node.name}
        if 2 * sum(name in names for name in sample) >= len(sample):
            return ""
        hits = Counter(name[: -len(end)] for end in sample for name in names
                       if name.endswith(end) and not name.startswith(FUSED))  # fmt: skip
        prefix, count = hits.most_common(1)[0] if hits else ("", 0)
        return prefix if 2 * count >= len(sample) else ""

    def _made_of(self, name: str) -> tuple[str, str, float, str] | None:
        """What the reference has under the names that ``name`` begins with."""
        for shorter in shorter_names(name.removeprefix("fused ")):
            entry = self.by_name.get(shorter) or self.by_output.get(shorter)
            if entry is not None:
                return entry[0], "reference-prefix", entry[1], shorter
        return None

    def find(self, node: Node, prefix: str = "") -> tuple[str, str, float, str] | None:
        """Path, rule and the reference's own confidence for ``node``, and the name by which the reference has it.

        The names in the model begin with ``prefix``.
        """
        name, outputs = node.name, node.outputs
        if prefix:
            name, outputs = name.removeprefix(prefix), tuple(each.removeprefix(prefix) for each in outputs)
        entry = self.by_name.get(name) if name else None
        if entry is not None:
            return entry[0], "reference-node-name", entry[1], name
        made = self._made_of(name) if name_decides(name, outputs[0] if outputs else "") else None
        if made is not None:
            return made
        for output in outputs:
            entry = self.by_output.get(output) if output else None
            if entry is not None:
                return entry[0], "reference-output-name", entry[1], output
        made = self._made_of(name) if name else None
        if made is not None:
            return made
        for shorter in (part for output in outputs[:1] if output for part in shorter_names(output)):
            entry = self.by_output.get(shorter)
            if entry is not None:
                return entry[0], "reference-prefix", entry[1], shorter
        return None


def made_of(tables: Tables, node: Node) -> Record | None:
    """The record of what ``node`` was made of, by the names that its own begins with."""
    for name in (node.name.removeprefix("fused "), node.first_output):
        for shorter in shorter_names(name) if name and len(name) <= MAX_NAME else ():
            record = tables.named(node.graph, shorter)
            if record is not None:
                return record
            found = tables.making(node.graph, shorter)
            if found is not None:
                return found[0]
    return None


def cast_from(tables: Tables, node: Node) -> Record | None:
    """The record of the value that ``node`` makes in another element type, quantised or of another precision.

    The scope in such a name says less: of twins' modules after QOperator quantisation one, and of those of "names" two,
    are called by another module's name, since a further call of one and a first of the other are spelled alike. Of an
    OPT model of float16, as onnxruntime runs it, 16 % of the time is in nodes that have no module without it.
    """
    for spelling, text in product(_SPELLED, (node.first_output, node.name)):
        spelled = spelling.fullmatch(text) if len(text) <= MAX_NAME else None
        for name in shorter_names(spelled["value"]) if spelled is not None else ():
            found = tables.making(node.graph, name)
            if found is not None:
                return found[0]
    return None


def _put(index: dict[str, Entry | None], name: str, entry: Entry) -> None:
    found = index.get(name, entry)
    if found is None or found[0] != entry[0]:
        index[name] = None
    elif name not in index or found[1] > entry[1]:
        index[name] = entry


def _rows(rows: object, what: str) -> list[dict[str, object]]:
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{what} are damaged")
    return rows
