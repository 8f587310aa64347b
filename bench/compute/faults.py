"""One fault put into one module: how often compare-values names that module, and no other.

    python bench/compute/faults.py FILE.onnx ... [--seeds 2] [--levels none,basic,all]

Faults: a changed weight, a changed attribute, swapped inputs, a wrong constant. Each is put into an export, which is
compared as it is and after onnxruntime's optimiser. Prints what was not named, then the counts by kind and level: named
(alone), suspect (among the suspects), wrong, missed.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from modelexport.analysis import compare_values
from modelexport.passes.pipeline.attributed import attributed

Paths = Mapping[str, str]
Place = set[str] | None  # modules that may rightly be named


def readers(graph: onnx.GraphProto, value: str) -> int:
    """How many slots read a value."""
    return sum(list(node.input).count(value) for node in graph.node)


def weight(graph: onnx.GraphProto, node: onnx.NodeProto, paths: Paths) -> Place:
    """Another weight, of one reader."""
    for tensor in graph.initializer:
        if (
            tensor.name in node.input
            and tensor.data_type == onnx.TensorProto.FLOAT
            and readers(graph, tensor.name) == 1
        ):
            array = numpy_helper.to_array(tensor)
            if array.size >= 4:
                noise = np.random.default_rng(0).standard_normal(array.shape).astype(array.dtype)
                tensor.CopyFrom(numpy_helper.from_array(array + noise * (np.abs(array).max() + 0.1), tensor.name))
                return {paths[node.output[0]]}
    return None


def attribute(graph: onnx.GraphProto, node: onnx.NodeProto, paths: Paths) -> Place:
    """Another number in an attribute that changes what is computed."""
    changed = {"LayerNormalization": ("epsilon", 1.0), "Gemm": ("alpha", 1.7), "LeakyRelu": ("alpha", 0.7)}
    name, number = changed.get(node.op_type, ("", 0.0))
    for each in node.attribute:
        if each.name == name and each.type == each.FLOAT:
            each.f = number
            return {paths[node.output[0]]}
    return None


def swap(graph: onnx.GraphProto, node: onnx.NodeProto, paths: Paths) -> Place:
    """The inputs of an operator for which their order counts."""
    computed = {value for one in graph.node if one.op_type != "Constant" for value in one.output}
    if node.op_type not in ("Sub", "Div", "Pow") or not computed.issuperset(node.input):
        return None
    node.input[:] = [node.input[1], node.input[0]]
    return {paths[node.output[0]]}


def constant(graph: onnx.GraphProto, node: onnx.NodeProto, paths: Paths) -> Place:
    """Another scalar."""
    made = {one.output[0]: one for one in graph.node if one.op_type == "Constant"}
    for value in node.input if node.op_type in ("Mul", "Div", "Add", "Pow") else ():
        if value in made and readers(graph, value) == 1 and made[value].attribute[0].HasField("t"):
            tensor = made[value].attribute[0].t
            if tensor.data_type == onnx.TensorProto.FLOAT:
                array = (numpy_helper.to_array(tensor) * 1.5 + 0.1).astype(np.float32)
                tensor.CopyFrom(numpy_helper.from_array(array))
                return {paths[node.output[0]], paths[value]}
    return None


FAULTS: dict[str, Callable[[onnx.GraphProto, onnx.NodeProto, Paths], Place]] = {
    "weight": weight, "attribute": attribute, "swap": swap, "constant": constant,
}  # fmt: skip


def optimised(proto: onnx.ModelProto, level: str, path: Path) -> None:
    """Write the model, or what onnxruntime makes of it."""
    if level == "none":
        onnx.save(proto, path)
        return
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_ENABLE_{level.upper()}")
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 4
    onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])


def judged(file: str, candidate: Path, right: set[str]) -> tuple[str, str]:
    """What a comparison says, and its words."""
    found = compare_values(file, candidate)
    if found.first is None:
        return "missed", f"outputs {[output.error for output in found.outputs][:1]}"
    words = f"named {found.first.path or '.'}, suspects {list(found.first.suspects)[:4]}"
    if found.first.path in right and set(found.diverging) <= right:
        return "named", words
    return ("suspect" if right & set(found.first.suspects) else "wrong"), words


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("files", nargs="+")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--levels", default="none,basic,all")
    given = parser.parse_args()
    total: Counter[tuple[str, str, str]] = Counter()
    for file in given.files:
        paths = {
            value: node.attribution.path if node.attribution is not None else ""
            for node in attributed(file).nodes()
            for value in node.outputs
        }
        for kind, put in FAULTS.items():
            for seed in range(given.seeds):
                proto = onnx.load(file)
                nodes = [node for node in proto.graph.node if node.op_type != "Constant"]
                random.Random(f"{file}{kind}{seed}").shuffle(nodes)
                right = next(filter(None, (put(proto.graph, node, paths) for node in nodes)), None)
                for level in given.levels.split(",") if right else ():
                    with tempfile.TemporaryDirectory() as folder:
                        candidate = Path(folder, "candidate.onnx")
                        optimised(proto, level, candidate)
                        verdict, words = judged(file, candidate, right or set())
                    total[kind, level, verdict] += 1
                    if verdict != "named":
                        print(f"{Path(file).name} {kind} {level}: {verdict}: put into {sorted(right or ())}, {words}")
    for (kind, level, verdict), number in sorted(total.items()):
        print(f"{kind:10} {level:9} {verdict:8} {number}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
