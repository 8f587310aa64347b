"""Stack traces that torch writes into doc strings, without the frames of this package."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import onnx

from modelexport.frontend.export.result import nodes_of

_PACKAGES = ("modelexport", "modelexport.cli", "modelexport.frontend")  # their code may be on the way to torch
_FRAME = re.compile(r"^(.*)\(\d+\): ")


def without_own_frames(proto: onnx.ModelProto) -> None:
    """Take the frames out of every doc string that run code of this package, so that they are as without it."""
    packages = [sys.modules[name] for name in _PACKAGES if name in sys.modules]
    own = tuple(f"{Path(package.__path__[0])}/" for package in packages)
    for node in nodes_of(proto):
        if any(folder in node.doc_string for folder in own):
            lines = node.doc_string.split("\n")
            node.doc_string = "\n".join(line for line in lines if not _is_own(line, own))


def _is_own(line: str, own: tuple[str, ...]) -> bool:
    match = _FRAME.match(line)
    return match is not None and match[1].startswith(own)
