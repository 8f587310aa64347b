"""What each tool makes of a file by itself, called as its own documentation does."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx

Tool = Callable[[Path, Path], onnx.ModelProto]


def ort(level: str) -> Tool:
    def run(source: Path, folder: Path) -> onnx.ModelProto:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_ENABLE_{level}")
        options.optimized_model_filepath = str(folder / "alone.onnx")
        onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
        return onnx.load(folder / "alone.onnx")

    return run


def transformers(source: Path, folder: Path) -> onnx.ModelProto:
    from onnxruntime.transformers.optimizer import optimize_model

    made: onnx.ModelProto = optimize_model(str(source)).model
    return made


def slim(source: Path, folder: Path) -> onnx.ModelProto:
    import onnxslim

    made: onnx.ModelProto = onnxslim.slim(str(source))
    return made


def sim(source: Path, folder: Path) -> onnx.ModelProto:
    import subprocess

    code = "import sys, onnx, onnxsim; onnx.save(onnxsim.simplify(onnx.load(sys.argv[1]))[0], sys.argv[2])"
    command = [sys.executable, "-c", code, str(source), str(folder / "alone.onnx")]
    subprocess.run(command, check=True, capture_output=True)
    return onnx.load(folder / "alone.onnx")


def script(source: Path, folder: Path) -> onnx.ModelProto:
    from onnxscript import optimizer

    return optimizer.optimize(onnx.load(source))


def converted(source: Path, folder: Path) -> onnx.ModelProto:
    from onnx import version_converter

    return version_converter.convert_version(onnx.load(source), 21)


def script_converted(source: Path, folder: Path) -> onnx.ModelProto:
    from onnxscript import version_converter

    proto = onnx.load(source)
    version_converter.convert_version(proto, 21)
    return proto


def half(source: Path, folder: Path) -> onnx.ModelProto:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    made: onnx.ModelProto = convert_float_to_float16(onnx.load(source), keep_io_types=True)
    return made


def dynamic(source: Path, folder: Path) -> onnx.ModelProto:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        str(source), str(folder / "alone.onnx"), weight_type=QuantType.QUInt8, op_types_to_quantize=["MatMul"]
    )
    return onnx.load(folder / "alone.onnx")


def static(source: Path, folder: Path) -> onnx.ModelProto:
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    samples = iter([{"x": sample} for sample in np.load(folder / "c.npz")["x"]])

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> object:
            return next(samples, None)

    quantize_static(str(source), str(folder / "alone.onnx"), Reader())
    return onnx.load(folder / "alone.onnx")


def weights(source: Path, folder: Path) -> onnx.ModelProto:
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    quantizer = MatMulNBitsQuantizer(onnx.load(source), block_size=16)
    quantizer.process()
    made: onnx.ModelProto = quantizer.model.model
    return made


TOOLS: dict[str, Tool] = {
    "ort-optimize{level=basic}": ort("BASIC"),
    "ort-optimize{level=extended}": ort("EXTENDED"),
    "ort-transformers": transformers,
    "onnxslim": slim,
    "onnxsim": sim,
    "onnxscript-optimize": script,
    "convert-version{opset=21}": converted,
    "convert-version{opset=21 engine=onnxscript}": script_converted,
    "float16{keep-io=true}": half,
    "quantize-dynamic{weight-type=quint8 ops=MatMul}": dynamic,
    "quantize-static{calibration=c.npz}": static,
    "quantize-weights{block-size=16}": weights,
}
