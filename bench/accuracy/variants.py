"""What happens to a graph after its export: optimisers, conversions, loss of names."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from modelexport.ir.arrays import Array


def onnxruntime_level(level: str) -> Callable[[Path, Path], None]:
    def run(source: Path, target: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_ENABLE_{level}")
        options.optimized_model_filepath = str(target)
        options.log_severity_level = 4
        onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])

    return run


def slim(source: Path, target: Path) -> None:
    import onnxslim

    with contextlib.redirect_stdout(io.StringIO()):
        onnx.save(onnxslim.slim(onnx.load(source)), target)


def script(source: Path, target: Path) -> None:
    import onnxscript.optimizer

    onnx.save(onnxscript.optimizer.optimize(onnx.load(source)), target)


def converter(source: Path, target: Path) -> None:
    from onnx import version_converter

    onnx.save(version_converter.convert_version(onnx.load(source), 21), target)


def half(source: Path, target: Path) -> None:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    onnx.save(convert_float_to_float16(onnx.load(source), disable_shape_infer=True), target)


def quantised(example: Mapping[str, Array]) -> Callable[[Path, Path], None]:
    def run(source: Path, target: Path) -> None:
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

        class Reader(CalibrationDataReader):  # type: ignore[misc]
            def __init__(self) -> None:
                self.left = [dict(example)]

            def get_next(self) -> Mapping[str, Array] | None:
                return self.left.pop() if self.left else None

        quantize_static(str(source), str(target), Reader(), quant_format=QuantFormat.QDQ)

    return run


def integer(source: Path, target: Path) -> None:
    from onnxruntime.quantization import quantize_dynamic

    quantize_dynamic(str(source), str(target))


OPTIMISERS: dict[str, Callable[[Path, Path], None]] = {
    "ortb": onnxruntime_level("BASIC"),
    "orte": onnxruntime_level("EXTENDED"),
    "orta": onnxruntime_level("ALL"),
    "slim": slim,
    "oso": script,
    "vc": converter,
}


def strip(model: onnx.ModelProto) -> dict[str, str]:
    """Take away node names, metadata and the names of inner values; what each value was called before."""
    graph = model.graph
    keep = {value.name for value in (*graph.input, *graph.output)} | {tensor.name for tensor in graph.initializer}
    renamed: dict[str, str] = {}

    def new(name: str) -> str:
        return name if not name or name in keep else renamed.setdefault(name, f"v{len(renamed)}")

    def walk(scope: onnx.GraphProto) -> None:
        for tensor in scope.initializer:
            tensor.name = new(tensor.name)
        for value in (*scope.input, *scope.output, *scope.value_info):
            value.name = new(value.name)
        for node in scope.node:
            node.name = node.doc_string = ""
            del node.metadata_props[:]
            node.input[:] = [new(name) for name in node.input]
            node.output[:] = [new(name) for name in node.output]
            for attribute in node.attribute:
                if attribute.type == onnx.AttributeProto.GRAPH:
                    walk(attribute.g)

    walk(graph)
    del graph.metadata_props[:]
    del model.metadata_props[:]
    return {new_name: old for old, new_name in renamed.items()}


def as_arrays(example: Mapping[str, Any]) -> dict[str, Array]:
    return {name: np.asarray(tensor) for name, tensor in example.items()}
