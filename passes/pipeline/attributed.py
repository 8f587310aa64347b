"""A model with the module of every node: as the file says, else as the pipeline htp finds."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from os import PathLike
from pathlib import Path

from modelexport.ir.attribution import Attribution
from modelexport.ir.facts import Fact
from modelexport.ir.io import embedded_tags
from modelexport.ir.io.embedded_tags import Record
from modelexport.ir.io.merged_tags import modules_of_whole
from modelexport.ir.io.reader import from_proto, load_model
from modelexport.ir.io.sidecar import sidecar_path
from modelexport.ir.io.tag_rows import tagged_model
from modelexport.ir.limits import without_gc
from modelexport.ir.model import Model
from modelexport.ir.modules import Module
from modelexport.ir.node import Node
from modelexport.passes.pipeline.manager import PassManager
from modelexport.passes.pipeline.text import Pipeline
from modelexport.passes.rewriting.upkeep import has_attributions

# htp, but for its last pass and the one that only checks: nothing is written
ATTRIBUTING = "scope-attribution,context-inheritance,fallback-tagging"
_log = logging.getLogger(__name__)


def attributed_model(path: str | PathLike[str], say: Callable[[str], None] | None = None) -> Model:
    """Read a model; nodes without a tag, in the file or its sidecar, are attributed in memory as ``htp-opt`` would.

    Args:
        say: told where that is done.

    Raises:
        InputError: the file can't be read, or its tags are damaged.
    """
    model = load_model(path)
    if not has_attributions(model, "record", model.warnings) and sidecar_path(Path(path)).is_file():
        model = tagged_model(path)
    return attribute(model, say)


def attribute(model: Model, say: Callable[[str], None] | None = None) -> Model:
    """Attribute the nodes of ``model`` that nothing has attributed yet, in place; its metadata stays as it is."""
    missing = sum(node.attribution is None for node in model.nodes())
    if missing:
        if say is not None:
            say(f"{missing} nodes have no tag: running {ATTRIBUTING} in memory")
        PassManager(ATTRIBUTING).run(model)
    return model


def attributed(model: Model | str | PathLike[str]) -> Model:
    """``model`` with an attribution on every node; it is never changed.

    Args:
        model: a file, or a model in memory. One that has attributions already is returned as it is.

    Raises:
        InputError: the file can't be read.
    """
    given = model if isinstance(model, Model) else load_model(model)
    if any(node.attribution is not None for node in given.nodes()):
        return given
    found = given
    if given is model:
        from modelexport.ir.io.overlay import assemble

        found = from_proto(assemble(given), path=given.path)
        found.data_home = given.data_home
    with without_gc():
        if not _take_own_tags(found):
            _attribute(found)
    return found


def _attribute(model: Model) -> None:
    """What ``ATTRIBUTING`` does; what comes after its first pass is spared where that leaves nothing open."""
    first, _, others = ATTRIBUTING.partition(",")
    PassManager(Pipeline.parse(first), verify_each=False).run(model)
    if any(node.attribution is None for node in model.nodes()):
        PassManager(Pipeline.parse(others), verify_each=False, assume={Fact.SCOPED}).run(model)
    _log.info("%s: modules are those that %s finds", model.path or "the model", ATTRIBUTING)


def _take_own_tags(model: Model) -> bool:
    """Attribute every node by the tag in its own metadata, as scope-attribution does first of all.

    Returns:
        False, with nothing attributed, where a node has none, or the file holds more than one tagged model.
    """
    modules = modules_of_whole(model)
    if modules is None:
        return False
    reader = _OwnTags(modules)
    given: list[Attribution] = []
    for node in model.nodes():
        attribution = reader.read(node)
        if attribution is None:
            return False
        given.append(attribution)
    for module in modules:
        model.modules.add(module)
    for path, tag in reader.unlisted.items():
        model.modules.add(Module(path, tag=tag))
    for node, attribution in zip(model.nodes(), given, strict=True):
        node.attribute_to(attribution)
    return True


class _OwnTags:
    """Attributions from the metadata of nodes; those that fit the module table need no check of their names."""

    def __init__(self, modules: Iterable[Module]) -> None:
        self._sound = {module.path: module.tag for module in modules}
        self._kinds: dict[tuple[object, ...], Record | None] = {}
        self._known: dict[tuple[object, ...], Attribution] = {}
        self.unlisted: dict[str, str] = {}  # tags of modules that the table lacks

    def read(self, node: Node) -> Attribution | None:
        """The node's own; None where it has none, or a damaged one."""
        entries = node.proto.metadata_props if node.proto is not None else ()
        metadata = {entry.key: entry.value for entry in entries}
        path, tag = metadata.get(embedded_tags.PATH), metadata.get(embedded_tags.TAG)
        kind = (
            metadata.get(embedded_tags.SOURCE),
            metadata.get(embedded_tags.RULE),
            metadata.get(embedded_tags.CONFIDENCE),
        )
        key = path, tag, kind
        found = self._known.get(key)
        if found is None:
            if kind not in self._kinds:
                self._kinds[kind] = embedded_tags.record("", "", *(each or "" for each in kind))
            like = self._kinds[kind]
            if like is None or path not in self._sound or self._sound[path] != tag:
                like = embedded_tags.read_node(node.source_metadata())
                if like is None:
                    return None
                path, tag = like.path, like.tag
                if path not in self._sound:
                    self.unlisted.setdefault(path, tag)
            evidence = (embedded_tags.PATH, tag)
            found = Attribution(path, like.source, like.rule, like.confidence, evidence, "scope-attribution")
            self._known[key] = found
        return found
