"""``diff`` against reading both files: ratio, growth, and weights per second and in memory.

    python bench/difference.py [--nodes 10000 100000] [--megabytes 200 2000]

Two like graphs of blocks are compared, the second with other names of all nodes and values; then again with one node
more in the second. Then two models of one large weight each in a file of its own, of which one element differs. Graphs
are measured in processor time, weights in both kinds of time, memory as what the process grows by from reading them.
"""

from __future__ import annotations

import argparse
import copy
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from modelexport.analysis import diff_models
from modelexport.ir import load_model

MEMORY = """
import sys
from modelexport.analysis import diff_models
from modelexport.ir import load_model
models = [load_model(file) for file in sys.argv[1:]]
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
before = peak()
diff_models(*models)
print((peak() - before) / 1000)
"""


def blocks(nodes: int, prefix: str) -> onnx.ModelProto:
    """Blocks of five nodes whose module is on record, without weights."""
    made, value = [], "x"
    for block in range(nodes // 5):
        names = [f"{prefix}{block}_{i}" for i in range(5)]
        steps = (
            ("Relu", [value]), ("Exp", [names[0]]), ("Add", [names[0], names[1]]), ("Tanh", [names[2]]),
            ("Mul", [names[3], value]),
        )  # fmt: skip
        for (kind, reads), name in zip(steps, names, strict=True):
            node = helper.make_node(kind, reads, [name], f"{prefix}n{name}")
            node.metadata_props.add(key="pkg.torch.onnx.name_scopes", value=str(["", f"blocks.{block // 20}", name]))
            made.append(node)
        value = names[4]
    made.append(helper.make_node("Identity", [value], ["y"]))
    sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xy"]
    return helper.make_model(helper.make_graph(made, "g", sides[:1], sides[1:]), ir_version=10)


def with_one_more(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model with one more node in its middle."""
    nodes = list(model.graph.node)
    at = len(nodes) // 2
    added = copy.deepcopy(nodes[at])
    added.op_type, added.name, added.input[:], added.output[:] = "Neg", "more", [nodes[at].output[0]], ["more"]
    for node in nodes[at + 1 :]:
        node.input[:] = ["more" if name == nodes[at].output[0] else name for name in node.input]
    del model.graph.node[:]
    model.graph.node.extend([*nodes[: at + 1], added, *nodes[at + 1 :]])
    return model


def seconds(call: Callable[[], object], clock: Callable[[], float] = time.process_time) -> float:
    """Least time of two calls."""
    best = math.inf
    for _ in range(2):
        begun = clock()
        call()
        best = min(best, clock() - begun)
    return best


def weights(folder: Path, megabytes: int) -> None:
    """Two models that differ in one element of one weight."""
    files = [folder / f"{name}.onnx" for name in "ab"]
    rows = np.random.default_rng(0).standard_normal((10, 25_000), np.float32)  # a megabyte
    for number, file in enumerate(files):
        with open(f"{file}.data", "wb") as data:
            for row in range(megabytes):
                rows[0, 0] = number if row == megabytes // 2 else 0
                data.write(rows.tobytes())
        sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xy"]
        tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[10 * megabytes, 25_000])
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=f"{file.name}.data")
        node = helper.make_node("MatMul", ["x", "w"], ["y"])
        file.write_bytes(helper.make_model(helper.make_graph([node], "g", sides[:1], sides[1:], [tensor]))
                         .SerializeToString())  # fmt: skip
    grown = subprocess.run(
        [sys.executable, "-c", MEMORY, *map(str, files)], check=True, capture_output=True, text=True
    ).stdout
    rates = [
        megabytes / seconds(lambda: diff_models(*files), clock) for clock in (time.perf_counter, time.process_time)
    ]
    print(f"weights of {megabytes} MB: {rates[0]:.0f} MB/s, {rates[1]:.0f} MB a second of processor time, ", end="")
    print(f"{float(grown):.0f} MB above the two graphs", flush=True)


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--megabytes", type=int, nargs="+", default=[200, 2000])
    given = parser.parse_args()
    taken: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        for nodes in given.nodes:
            files = [Path(folder, f"{name}.onnx") for name in "ab"]
            for file, prefix in zip(files, ("p", "q"), strict=True):
                file.write_bytes(blocks(nodes, prefix).SerializeToString())
            read = seconds(lambda files=files: [load_model(file) for file in files])
            both = seconds(lambda files=files: diff_models(*files))
            assert diff_models(*files).identical
            taken.append(both)
            print(f"{nodes} nodes: {both / read:.1f}x the reading of both files ({both:.1f} s)", flush=True)
            files[1].write_bytes(with_one_more(blocks(nodes, "q")).SerializeToString())
            edited = seconds(lambda files=files: diff_models(*files))
            assert diff_models(*files).node_counts["added"] == 1
            print(f"    {edited / read:.1f}x with one node more ({edited:.1f} s)", flush=True)
        if len(taken) > 1:
            growth = math.log(taken[-1] / taken[0]) / math.log(given.nodes[-1] / given.nodes[0])
            print(f"growth exponent {growth:.2f}")
        for megabytes in given.megabytes:
            weights(Path(folder), megabytes)
    return 0


if __name__ == "__main__":
    sys.exit(main())
