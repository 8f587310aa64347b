"""What a tool pass and a selector cost by themselves: ``python bench/tool_overhead.py [NODES]``.

A tool pass around a tool that does nothing is compared with the pipeline ``htp`` on the same graph (at most 2.5 times
its CPU time), and a selector of five terms is timed on the graph in memory (at most 1 s for 100,000 nodes). Then the
command ``modelexport select`` on the tagged file, with this selector and with one that takes every node, is compared
with ``htp-opt MODEL --passes none --emit json`` (at most 1.3 times its CPU time): each in a process of its own, in
turn, the fastest of ``--repeat`` runs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import onnx
import speed

sys.path.insert(0, str(Path(__file__).with_name("inputs")))
import speed_graphs

from modelexport.ir import load_model, save_model
from modelexport.passes import PassManager, Pipeline
from modelexport.passes.selection import select
from modelexport.passes.tools.base import ToolPass
from modelexport.passes.tools.handover import Handover

SELECTOR = "op:MatMul and (not path:block.1[0-9] or depth>5) and name:*7* and confidence>=0.5"
EVERY = "not path:nowhere"
# The installed script without needing to find it: what its wrapper does.
COMMAND = "import sys; sys.argv[0] = 'modelexport'; from modelexport.cli.modelexport import main; sys.exit(main())"
FORMATS = ("names", "modules", "values", "weights", "table", "json", "aimet", "ort")


@dataclass(frozen=True)
class Nothing(ToolPass):
    """A tool that does nothing."""

    name: ClassVar[str] = "nothing"
    package: ClassVar[str] = "onnx"
    module: ClassVar[str] = "onnx"
    extra: ClassVar[str] = "ort"

    def apply(self, given: Handover, names: dict[str, list[str]]) -> onnx.ModelProto:
        """Give the model back."""
        return given.proto


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nodes", nargs="?", type=int, default=100_000)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    model = load_model(speed_graphs.build(options.nodes).SerializeToString())
    started = time.process_time()
    PassManager("htp").run(model)
    htp = time.process_time() - started
    started = time.process_time()
    PassManager(Pipeline((Nothing(),))).run(model)
    tool = time.process_time() - started
    started = time.process_time()
    chosen = select(model, [SELECTOR], allow_empty=True)
    selecting = time.process_time() - started
    print(f"{options.nodes} nodes: htp {htp:.2f} s, a tool pass {tool:.2f} s = {tool / htp:.2f} times (at most 2.5)")
    print(f"a selector of five terms {selecting:.2f} s, {len(chosen)} nodes (at most 1 s for 100,000)")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "m.onnx"
        save_model(model, file)
        del model, chosen
        commands(file, options.repeat)


def commands(file: Path, repeat: int) -> None:
    """The CPU time of ``modelexport select``, in every format."""
    none = ("-c", speed.HTP_OPT, file, "--passes", "none", "--emit", "json", "-o", "-", "-q")
    asked = [(each, SELECTOR, "a few") for each in FORMATS]
    asked += [(each, EVERY, "all") for each in FORMATS[:-1]]  # a list by name is refused: constants have no names
    base, *runs = speed.alternate(
        repeat, none, *(("-c", COMMAND, "select", file, selector, "--format", each) for each, selector, _ in asked)
    )
    print(f"htp-opt --passes none --emit json: {base.cpu:.2f} s")
    for (each, _, which), run in zip(asked, runs, strict=True):
        print(f"select --format {each}, {which}: {run.cpu:.2f} s = {run.cpu / base.cpu:.2f} times (at most 1.3)")


if __name__ == "__main__":
    main()
