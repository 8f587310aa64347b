"""Faults put into modules: how often compare-values names that module, and no other.

    python bench/compute/faults.py FILE.onnx ... [--seeds 1] [--levels none,basic,extended,all,slim] [--kinds weight]

Faults: a changed weight, a changed attribute, swapped inputs, a wrong constant, a cast to lower precision, a reduction
that keeps other axes, two weights, a weight and a cast at once. Each is put into an export (``graphs.py`` makes them),
which is compared as it is and after optimisers; so is the export without a fault. Prints what was not named, then the
counts by kind and level: named (alone; of two: both), suspect (among the suspects), wrong, missed, hidden (missed, and
not to be seen in any output either), failed (onnxruntime does not open it); clean and false for graphs without a fault.
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
    changed = {
        "LayerNormalization": ("epsilon", 1.0),
        "BatchNormalization": ("epsilon", 9.0),
        "InstanceNormalization": ("epsilon", 1.0),
        "Gemm": ("alpha", 1.7),
        "LeakyRelu": ("alpha", 0.7),
        "Softmax": ("axis", -2),
        "Gelu": ("approximate", b"tanh"),
        "Elu": ("alpha", 0.3),
    }
    name, number = changed.get(node.op_type, ("", 0.0))
    for each in node.attribute:
        if each.name == name and onnx.helper.get_attribute_value(each) != number:
            each.CopyFrom(onnx.helper.make_attribute(name, number))
            return {paths[node.output[0]]}
    return None


def keepdims(graph: onnx.GraphProto, node: onnx.NodeProto, paths: Paths) -> Place:
    """A reduction that keeps the axes it should not, or does not keep them: what follows may stop at the shape."""
    if not node.op_type.startswith("Reduce"):
        return None
    kept = next((each.i for each in node.attribute if each.name == "keepdims"), 1)
    for each in [each for each in node.attribute if each.name == "keepdims"]:
        node.attribute.remove(each)
    node.attribute.append(onnx.helper.make_attribute("keepdims", 1 - kept))
    value = node.output[0]
    for described in [entry for entry in graph.value_info if entry.name == value]:
        graph.value_info.remove(described)
    return {paths[value]}


def cast(graph: onnx.GraphProto, node: onnx.NodeProto, paths: Paths) -> Place:
    """The result goes through float16 and back."""
    if node.op_type not in ("MatMul", "Gemm", "Conv", "Add", "Mul", "LayerNormalization", "Erf", "Tanh", "Sigmoid"):
        return None
    value = node.output[0]
    if _kind(graph, value) != onnx.TensorProto.FLOAT:
        return None
    place = next(at for at, each in enumerate(graph.node) if each.output[:] == node.output[:])
    node.output[0] = f"{value}.raw"
    for source, target, kind in ((f"{value}.low", value, onnx.TensorProto.FLOAT), (f"{value}.raw", f"{value}.low", 10)):
        made = onnx.helper.make_node("Cast", [source], [target], name=f"{target}.Cast", to=kind)
        graph.node.insert(place + 1, made)
    return {paths[value]}


def swap(graph: onnx.GraphProto, node: onnx.NodeProto, paths: Paths) -> Place:
    """The inputs of an operator for which their order counts."""
    slots = {"Sub": (0, 1), "Div": (0, 1), "Pow": (0, 1), "Concat": (0, 1), "Where": (1, 2)}.get(node.op_type)
    computed = {value for one in graph.node if one.op_type != "Constant" for value in one.output}
    if slots is None or max(slots) >= len(node.input):
        return None
    first, second = (node.input[slot] for slot in slots)
    if first == second or not computed.issuperset((first, second)):
        return None
    if node.op_type in ("Concat", "Where") and _kind(graph, first) != onnx.TensorProto.FLOAT:
        return None
    node.input[slots[0]], node.input[slots[1]] = second, first
    return {paths[node.output[0]]}


def _kind(graph: onnx.GraphProto, value: str) -> int:
    """Element type of a value."""
    described = (*graph.value_info, *graph.output)
    return next((entry.type.tensor_type.elem_type for entry in described if entry.name == value), 0)


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
    "weight": weight, "attribute": attribute, "swap": swap, "constant": constant, "cast": cast, "keepdims": keepdims,
}  # fmt: skip
MIXES = {"two": ("weight", "weight"), "mixed": ("weight", "cast")}


def optimised(proto: onnx.ModelProto, level: str, path: Path) -> None:
    """Write the model, or what onnxruntime makes of it."""
    if level == "none":
        onnx.save(proto, path)
        return
    if level == "slim":
        import onnxslim

        onnx.save(onnxslim.slim(proto), path)
        return
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_ENABLE_{level.upper()}")
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 4
    onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])


def judged(file: str, candidate: Path, right: list[set[str]]) -> tuple[str, str]:
    """What a comparison says, and its words. ``right`` has a set of modules for each fault."""
    found = compare_values(file, candidate)
    if not right:
        return ("false" if found.first is not None else "clean"), f"named {found.diverging}"
    if found.first is None:
        reaches = any(output.error is None or output.error > 1e-4 for output in found.outputs)
        return "missed" if reaches else "hidden", f"outputs {[output.error for output in found.outputs][:1]}"
    words = f"named {found.first.path or '.'}, all {found.diverging[:4]}, suspects {list(found.first.suspects)[:4]}"
    every = set().union(*right)
    if set(found.diverging) <= every and all(each & set(found.diverging) for each in right):
        return "named", words
    return ("suspect" if every & set(found.first.suspects) else "wrong"), words


def put(proto: onnx.ModelProto, kind: str, paths: Paths, key: str) -> list[set[str]]:
    """Put a fault of a kind into any module; where it may rightly be found, [] where there is no place for one."""
    if kind == "clean":
        return []
    nodes = [node for node in proto.graph.node if node.op_type != "Constant"]
    random.Random(key).shuffle(nodes)
    kinds = MIXES.get(kind, (kind,))
    found: list[set[str]] = []
    for each in kinds:
        for node in nodes:
            if found and paths.get(node.output[0], "") in found[0]:
                continue
            place = FAULTS[each](proto.graph, node, paths)
            if place:
                found.append(place)
                break
    return found if len(found) == len(kinds) else []


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--levels", default="none,basic,extended,all,slim")
    parser.add_argument("--kinds", default=",".join((*FAULTS, *MIXES, "clean")))
    given = parser.parse_args()
    total: Counter[tuple[str, str, str]] = Counter()
    for file in given.files:
        paths = {
            value: node.attribution.path if node.attribution is not None else ""
            for node in attributed(file).nodes()
            for value in node.outputs
        }
        for kind in given.kinds.split(","):
            for seed in range(given.seeds if kind != "clean" else 1):
                proto = onnx.shape_inference.infer_shapes(onnx.load(file))
                right = put(proto, kind, paths, f"{Path(file).name}{kind}{seed}")
                for level in given.levels.split(",") if right or kind == "clean" else ():
                    with tempfile.TemporaryDirectory() as folder:
                        candidate = Path(folder, "candidate.onnx")
                        try:
                            optimised(proto, level, candidate)
                            verdict, words = judged(file, candidate, right)
                        except Exception as error:  # noqa: BLE001 - foreign tools; the table says how often
                            verdict, words = "failed", f"{type(error).__name__}: {error}"[:160]
                    total[kind, level, verdict] += 1
                    if verdict not in ("named", "clean"):
                        where = [sorted(each) for each in right]
                        print(f"{Path(file).name} {kind} {level}: {verdict}: put into {where}, {words}", flush=True)
    for (kind, level, verdict), number in sorted(total.items()):
        print(f"{kind:10} {level:9} {verdict:8} {number}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
