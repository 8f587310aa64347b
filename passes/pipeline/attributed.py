"""A model with the module of every node: as the file says, else as the pipeline htp finds."""

from __future__ import annotations

import logging
from collections.abc import Callable
from os import PathLike
from pathlib import Path

from modelexport.ir.facts import Fact
from modelexport.ir.io.own_records import take_tags
from modelexport.ir.io.reader import from_proto, load_model
from modelexport.ir.io.sidecar import sidecar_path
from modelexport.ir.io.tag_rows import tagged_model
from modelexport.ir.limits import without_gc
from modelexport.ir.model import Model
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
        if not take_tags(found, "scope-attribution", found.warnings, whole=True):
            _attribute(found)
    return found


def _attribute(model: Model) -> None:
    """What ``ATTRIBUTING`` does; what comes after its first pass is spared where that leaves nothing open."""
    first, _, others = ATTRIBUTING.partition(",")
    PassManager(Pipeline.parse(first), verify_each=False).run(model)
    if any(node.attribution is None for node in model.nodes()):
        PassManager(Pipeline.parse(others), verify_each=False, assume={Fact.SCOPED}).run(model)
    _log.info("%s: modules are those that %s finds", model.path or "the model", ATTRIBUTING)
