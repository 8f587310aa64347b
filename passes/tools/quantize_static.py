"""quantize-static: integer weights and activations, with ranges from calibration samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import onnx

from modelexport.ir.arrays import Array
from modelexport.ir.errors import InputError
from modelexport.ir.model import Model
from modelexport.passes.running.calibration import read_samples
from modelexport.passes.tools.handover import Handover
from modelexport.passes.tools.quantizing import Quantizing


@dataclass(frozen=True)
class QuantizeStatic(Quantizing):
    """Quantise weights and activations with ranges from samples (``onnxruntime.quantization.quantize_static``).

    Attributes:
        calibration: an ``.npz`` with one array per input, of the input's rank or with samples along a first axis more,
            or an ``.htptrace``, whose example inputs are the samples.
        format: quantisers and dequantisers around float operators (``qdq``), or integer operators (``qoperator``).
        activation_type: type of the quantised activations.
        weight_type: type of the quantised weights.
        per_channel: whether each channel of a weight has its own scale.
        method: how ranges are found from what the samples give.
        ops: operators to quantise.
        include: selector of the only nodes to quantise.
        exclude: selector of the nodes to leave in float.
    """

    name: ClassVar[str] = "quantize-static"
    signature: ClassVar[str] = "onnxruntime.quantization:quantize_static"
    arguments: ClassVar[dict[str, str]] = {
        "format": "quant_format",
        "activation_type": "activation_type",
        "weight_type": "weight_type",
        "per_channel": "per_channel",
        "method": "calibrate_method",
        "ops": "op_types_to_quantize",
    }

    calibration: str = field(metadata={"path": True})
    format: Literal["qdq", "qoperator"] | None = None
    activation_type: Literal["quint8", "qint8"] | None = None
    weight_type: Literal["qint8", "quint8"] | None = None
    per_channel: bool | None = None
    method: Literal["minmax", "entropy", "percentile"] | None = None
    ops: tuple[str, ...] = ()
    include: str | None = None
    exclude: str | None = None

    def check_ready(self) -> None:
        """Raises MissingExtraError, and InputError where there is no calibration file."""
        super().check_ready()
        if not Path(self.calibration).is_file():
            raise InputError(f"{self.name}: calibration: {self.calibration}: no such file")

    def prepare(self, model: Model) -> None:
        """Raises InputError where the samples do not fit the model's inputs."""
        read_samples(Path(self.calibration), model)

    def samples(self, proto: onnx.ModelProto) -> list[dict[str, Array]]:
        """The samples for a model."""
        return read_samples(Path(self.calibration), Model(proto))

    def apply(self, given: Handover, names: dict[str, list[str]]) -> onnx.ModelProto:
        """See the class."""
        from onnxruntime.quantization import (  # type: ignore[import-untyped]
            CalibrationDataReader,
            CalibrationMethod,
            QuantFormat,
            quantize_static,
        )

        class Reader(CalibrationDataReader):  # type: ignore[misc]
            def __init__(self, samples: list[dict[str, Array]]) -> None:
                self.left: Iterator[dict[str, Array]] = iter(samples)

            def get_next(self) -> Any:
                return next(self.left, None)

        options = self.tool_options(names)
        if given.large:
            options["use_external_data_format"] = True
        if "quant_format" in options:
            options["quant_format"] = {"qdq": QuantFormat.QDQ, "qoperator": QuantFormat.QOperator}[
                options["quant_format"]
            ]
        if "calibrate_method" in options:
            methods = {"minmax": "MinMax", "entropy": "Entropy", "percentile": "Percentile"}
            options["calibrate_method"] = getattr(CalibrationMethod, methods[options["calibrate_method"]])
        samples = self.samples(onnx.load(given.file(), load_external_data=False))
        quantize_static(given.file(), given.target(), Reader(samples), **options)
        return given.result()
