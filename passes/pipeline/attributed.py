"""A model with the module of every node: as the file says, else as the pipeline htp finds."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike

from modelexport.ir.io.tag_rows import tagged_model
from modelexport.ir.model import Model

# htp, but for its last pass and the one that only checks: nothing is written
ATTRIBUTING = "scope-attribution,context-inheritance,fallback-tagging"


def attributed_model(path: str | PathLike[str], say: Callable[[str], None] | None = None) -> Model:
    """Read a model; nodes without a tag, in the file or its sidecar, are attributed in memory as ``htp-opt`` would.

    Args:
        say: told where that is done.

    Raises:
        InputError: the file can't be read, or its tags are damaged.
    """
    return attribute(tagged_model(path), say)


def attribute(model: Model, say: Callable[[str], None] | None = None) -> Model:
    """Attribute the nodes of ``model`` that nothing has attributed yet, in place; its metadata stays as it is."""
    from modelexport.passes.pipeline.manager import PassManager

    missing = sum(node.attribution is None for node in model.nodes())
    if missing:
        if say is not None:
            say(f"{missing} nodes have no tag: running {ATTRIBUTING} in memory")
        PassManager(ATTRIBUTING).run(model)
    return model
