"""What ``cost`` and ``profile`` take, as ratios to their floors.

    python bench/compute/ratios.py [--nodes 20000]

- ``cost --no-run``: against parsing and serialising the file, plus onnx's own shape inference.
- ``cost`` with a run: against a cold plain run, session included.
- ``profile --profile FILE``: against reading the model and the profile; peak memory against the profile's size.
- ``profile``: how much shares move between two measurements, in percentage points.
- static cost of a model with 2.5 GB of external weights: peak memory.

Each measurement is a process of its own; the least of three is taken.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

os.environ.setdefault("OMP_NUM_THREADS", "1")
_MEASURE = """
import json, sys, time
{setup}
started = time.perf_counter()
{code}
seconds = time.perf_counter() - started
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]
print(json.dumps([seconds, int(peak) / 1024]))
"""


def measured(setup: str, code: str, *arguments: object, times: int = 3) -> tuple[float, float]:
    """Least seconds and the peak in MB of a program; imports belong into ``setup``."""
    best = (float("inf"), float("inf"))
    for _ in range(times):
        program = _MEASURE.format(setup=setup, code=code)
        command = [sys.executable, "-c", program, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        seconds, peak = json.loads(done.stdout.splitlines()[-1])
        best = (min(best[0], seconds), min(best[1], peak))
    return best


def layered(nodes: int, width: int = 16, *, dynamic: bool = False, dtype: type = np.float32) -> onnx.ModelProto:
    """Blocks of MatMul, Add, Relu and a Reshape whose target is computed, with names as TorchScript gives them."""
    made, weights = [], []
    value = "x"
    for block in range(nodes // 4):
        path = f"blocks.{block // 8}.parts.{block % 8}"
        name = "/" + path.replace(".", "/")
        weights.append(numpy_helper.from_array(np.ones((width, width), dtype), f"{path}.linear.weight"))
        weights.append(numpy_helper.from_array(np.ones(width, dtype), f"{path}.linear.bias"))
        steps = [
            ("MatMul", [value, f"{path}.linear.weight"], f"{name}/linear/MatMul"),
            ("Add", [f"{name}/linear/MatMul_output_0", f"{path}.linear.bias"], f"{name}/linear/Add"),
            ("Relu", [f"{name}/linear/Add_output_0"], f"{name}/act/Relu"),
            ("Neg", [f"{name}/act/Relu_output_0"], f"{name}/Neg"),
        ]
        for op_type, inputs, node in steps:
            made.append(helper.make_node(op_type, inputs, [f"{node}_output_0"], name=node))
        value = f"{name}/Neg_output_0"
    batch = "batch" if dynamic else 2
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, width])
    y = helper.make_tensor_value_info(value, TensorProto.FLOAT, None)
    graph = helper.make_graph(made, "layered", [x], [y], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def large(folder: Path) -> Path:
    """A model with 2.5 GB of weights in a file beside it, which is sparse: nothing is written."""
    width, layers = 8192, 10
    data = folder / "large.data"
    size = width * width * 4
    with data.open("wb") as stream:
        stream.truncate(size * layers)
    nodes, weights, value = [], [], "x"
    for layer in range(layers):
        tensor = TensorProto(name=f"layers.{layer}.weight", data_type=TensorProto.FLOAT, dims=[width, width])
        tensor.data_location = TensorProto.EXTERNAL
        for key, entry in (("location", data.name), ("offset", str(size * layer)), ("length", str(size))):
            tensor.external_data.add(key=key, value=entry)
        weights.append(tensor)
        nodes.append(helper.make_node("MatMul", [value, tensor.name], [f"h{layer}"], name=f"/layers.{layer}/MatMul"))
        value = f"h{layer}"
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", width])
    y = helper.make_tensor_value_info(value, TensorProto.FLOAT, ["batch", width])
    graph = helper.make_graph(nodes, "large", [x], [y], weights)
    path = folder / "large.onnx"
    path.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    )
    return path


_FLOOR = "proto = onnx.ModelProto.FromString(open(sys.argv[1], 'rb').read()); proto.SerializeToString()"
_COST = "from modelexport.analysis.costing.report import cost"
_PROFILE = "from modelexport.analysis.profiling.report import profile"


def cost_ratios(folder: Path, nodes: int) -> None:
    from modelexport.ir import load_model, save_model
    from modelexport.passes import PassManager

    file = folder / "layered.onnx"
    file.write_bytes(layered(nodes, dynamic=True).SerializeToString())
    tagged = load_model(file)
    PassManager("htp").run(tagged)
    save_model(tagged, file)
    parse, _ = measured("import onnx", _FLOOR, file)
    infer, _ = measured(
        "import onnx, sys; proto = onnx.load(sys.argv[1])", "onnx.shape_inference.infer_shapes(proto)", file
    )
    ours, peak = measured(_COST, "cost(sys.argv[1], run=False)", file)
    print(f"cost --no-run, {nodes} nodes: {ours:.2f} s, {peak:.0f} MB; parse and serialise {parse:.3f} s, inference")
    print(f"  {infer:.3f} s: without the inference {(ours - infer) / parse:.1f} times parse and serialise (target 10)")
    file.write_bytes(_unknown_to_onnx(layered(nodes // 10, 256)).SerializeToString())
    code = (
        "options = onnxruntime.SessionOptions(); options.log_severity_level = 4\n"
        "session = onnxruntime.InferenceSession(sys.argv[1], options, providers=['CPUExecutionProvider'])\n"
        "session.run(None, {'x': np.ones((2, 256), np.float32)})"
    )
    plain, _ = measured("import onnxruntime, numpy as np", code, file)
    ours, _ = measured(f"{_COST}\nimport onnxruntime", "assert cost(sys.argv[1]).shapes == 'run'", file)
    print(f"cost with a run, {nodes // 10} nodes: {ours:.2f} s; cold plain run {plain:.2f} s:")
    print(f"  {ours / plain:.1f} (target 3)")
    big = large(folder)
    ours, peak = measured(_COST, "cost(sys.argv[1], run=False)", big)
    print(f"static cost of 2.5 GB of external weights: {ours:.2f} s, {peak:.0f} MB (target 200)")


def _unknown_to_onnx(model: onnx.ModelProto) -> onnx.ModelProto:
    """The last node is an operator that onnx's inference does not know, so that a run is needed."""
    model.graph.node[-1].op_type, model.graph.node[-1].domain = "Gelu", "com.microsoft"
    model.opset_import.add(domain="com.microsoft", version=1)
    return model


def profile_ratios(folder: Path, nodes: int) -> None:
    file, kept = folder / "profiled.onnx", folder / "kept.json"
    file.write_bytes(layered(nodes // 10, 256).SerializeToString())
    code = "profile(sys.argv[1], runs=20, warmup=2, optimization='disable', save_profile=sys.argv[2])"
    measured(_PROFILE, code, file, kept, times=1)
    size = kept.stat().st_size / 1e6
    floor = "load_model(sys.argv[1]); json.load(open(sys.argv[2]))"
    read, _ = measured("from modelexport.ir.io.reader import load_model", floor, file, kept)
    _, base = measured(_PROFILE, "pass")
    ours, peak = measured(_PROFILE, "profile(sys.argv[1], recorded=sys.argv[2], optimization='disable')", file, kept)
    print(f"profile --profile, {size:.0f} MB, {nodes // 10} nodes: {ours:.2f} s; reading both {read:.2f} s:")
    print(f"  {ours / read:.1f} (target 2); {(peak - base) / size:.1f} times the profile's size (target 10)")
    shares = [_shares(file) for _ in range(2)]
    moved = max(abs(shares[0].get(path, 0) - shares[1].get(path, 0)) for path in {*shares[0], *shares[1]})
    print(f"profile twice: the largest change of a module's share is {100 * moved:.2f} percentage points (target 2)")


def _shares(file: Path) -> dict[str, float]:
    from modelexport.analysis import profile

    document = profile(file, runs=20, warmup=3).to_dict()
    return {row["path"]: row["share"] for row in document["modules"]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=20000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cost_ratios(Path(folder), args.nodes)
        profile_ratios(Path(folder), args.nodes)
    return 0


if __name__ == "__main__":
    sys.exit(main())
