"""``diff`` against reading both files: ratio, growth, and weights per second.

    python bench/difference.py [--nodes 10000 100000]

Two like graphs of blocks are compared, the second with other names of all nodes and values. Then two models of one
large weight each, of which one element differs.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from modelexport.analysis import diff_models
from modelexport.ir import load_model


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
            node.metadata_props.add(key="pkg.torch.onnx.name_scopes", value=str(["", f"blocks.{block // 20}"]))
            made.append(node)
        value = names[4]
    made.append(helper.make_node("Identity", [value], ["y"]))
    sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xy"]
    return helper.make_model(helper.make_graph(made, "g", sides[:1], sides[1:]), ir_version=10)


def seconds(call: object) -> float:
    """Least time of two calls."""
    best = math.inf
    for _ in range(2):
        begun = time.perf_counter()
        call()  # type: ignore[operator]
        best = min(best, time.perf_counter() - begun)
    return best


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes", type=int, nargs="+", default=[10_000, 100_000])
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
            print(f"{nodes} nodes: {both / read:.1f}x the reading of both files ({both:.1f} s)")
        if len(taken) > 1:
            growth = math.log(taken[-1] / taken[0]) / math.log(given.nodes[-1] / given.nodes[0])
            print(f"growth exponent {growth:.2f}")
        files = [Path(folder, f"w{name}.onnx") for name in "ab"]
        array = np.random.default_rng(0).standard_normal((5000, 10000), np.float32)
        for number, file in enumerate(files):
            array[0, 0] = number
            node = helper.make_node("MatMul", ["x", "w"], ["y"])
            sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xy"]
            graph = helper.make_graph([node], "g", sides[:1], sides[1:], [numpy_helper.from_array(array, "w")])
            onnx.save_model(
                helper.make_model(graph),
                file,
                save_as_external_data=True,
                location=f"{file.name}.data",
                size_threshold=0,
            )
        spent = seconds(lambda: diff_models(*files))
        print(f"weights: {array.nbytes / spent / 1e6:.0f} MB/s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
