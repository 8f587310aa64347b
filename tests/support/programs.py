"""Running ``modelexport run`` as a process, and looking at what it left."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from modelexport.ir.io.reader import load_model
from modelexport.ir.io.writer import to_bytes
from modelexport.passes.pipeline.manager import PassManager

RUN = (sys.executable, "-m", "modelexport.cli.modelexport", "run")
Done = subprocess.CompletedProcess[str]


def ours(done: Done) -> list[str]:
    """What we said on stderr."""
    return [line.removeprefix("modelexport: ") for line in done.stderr.splitlines() if line.startswith("modelexport: ")]


def stripped(path: Path) -> bytes:
    """The file without tags."""
    model = load_model(path)
    PassManager("strip-tags").run(model)
    return to_bytes(model)


def tags(path: Path) -> list[str]:
    """The tag of each node, "" where it has none."""
    return [node.metadata.get("htp.tag", "") for node in load_model(path).nodes()]
