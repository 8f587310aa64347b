"""onnxsim: ONNX Simplifier, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import ClassVar

import onnx

from modelexport.passes.tools.base import ToolPass
from modelexport.passes.tools.handover import Handover

# Its bindings report leaks when the interpreter ends, which only a process of its own keeps apart.
_CHILD = """
import json, sys
import onnx, onnxsim
source, target, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
try:
    made, _ = onnxsim.simplify(onnx.load(source), check_n=0, **options)
    if sys.argv[4]:
        onnx.save_model(made, target, save_as_external_data=True, location=sys.argv[4])
    else:
        onnx.save(made, target)
except Exception as error:
    print(f"\\n{type(error).__name__}\\n{error}", file=sys.stderr)
    sys.exit(1)
"""


class ChildFailed(RuntimeError):
    """The child process ended without a result."""


@dataclass(frozen=True)
class Onnxsim(ToolPass):
    """Simplify with ONNX Simplifier (``onnxsim.simplify``), without its own check.

    Attributes:
        skip: optimisers of onnxsim to leave out.
    """

    name: ClassVar[str] = "onnxsim"
    package: ClassVar[str] = "onnxsim"
    module: ClassVar[str] = "onnxsim"
    extra: ClassVar[str] = "sim"

    skip: tuple[str, ...] = ()

    def apply(self, given: Handover, names: dict[str, list[str]]) -> onnx.ModelProto:
        """See the class."""
        options = json.dumps({"skipped_optimizers": list(self.skip)} if self.skip else {})
        command = [sys.executable, "-c", _CHILD, given.file(), given.target(), options]
        command.append("result.onnx.data" if given.large else "")
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL)
        print(done.stdout, done.stderr)  # noqa: T201 - into the log, where all that a tool says goes
        if done.returncode:
            raise ChildFailed(_last_message(done.stderr) or f"it ended with status {done.returncode}")
        return given.result()

    def check_ready(self) -> None:
        """Raises MissingExtraError where the tool is not installed; it is not loaded into this process."""
        from importlib.util import find_spec

        try:
            found = find_spec(self.module) is not None
        except (ValueError, ImportError):  # something without a specification stands in its place
            found = False
        if not found:
            super().check_ready()


def _last_message(said: str) -> str:
    head, _, message = said.partition("\nTraceback")
    lines = [line for line in (message or head).splitlines() if line.strip() and not line.startswith("nanobind")]
    return lines[-1] if lines else ""
