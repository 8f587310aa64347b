"""A model whose nodes have modules, for whoever reads them: its own tags, else what the pipeline finds in the file."""

from __future__ import annotations

import logging
from os import PathLike

from modelexport.ir.io.reader import from_proto, load_model
from modelexport.ir.model import Model
from modelexport.passes.pipeline.manager import PassManager
from modelexport.passes.pipeline.text import Pipeline

PIPELINE = "scope-attribution,context-inheritance,fallback-tagging"  # htp without what checks and writes
_log = logging.getLogger(__name__)


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
    PassManager(Pipeline.parse(PIPELINE)).run(found)
    _log.info("%s: modules are those that %s finds", found.path or "the model", PIPELINE)
    return found
