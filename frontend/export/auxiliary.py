"""MODELEXPORT_AUX_OPS_DEBUG: the decision for every auxiliary node, in the log."""

from __future__ import annotations

import logging
import sys

from modelexport.ir.model import Model
from modelexport.ir.operators import role

logger = logging.getLogger("modelexport.auxiliary")


def log_auxiliary(model: Model) -> None:
    """One line per auxiliary node, on stderr unless logging is set up otherwise."""
    level, handler = logger.level, None
    logger.setLevel(logging.DEBUG)
    if not logger.hasHandlers():
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
        logger.addHandler(handler)
    try:
        for node in model.nodes():
            if role(node.op_type, node.domain) == "auxiliary":
                found = node.attribution
                decision = (
                    f"{found.path or '(root)'} by {found.source} {found.rule}, confidence {found.confidence:.2f}"
                    if found is not None
                    else "undecided"
                )
                logger.debug("%s %s: %s", node.op_type, node.described, decision)
    finally:
        logger.setLevel(level)
        if handler is not None:
            logger.removeHandler(handler)
