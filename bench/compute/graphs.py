"""Exports of many models, optimised and quantised in every way, written to a folder for the other scripts.

    python bench/compute/graphs.py FOLDER [--models bert,unet] [--exporters torchscript] [--forms plain,basic,qdq]

A file is called ``<model>.<exporter>.<form>.onnx``; ones that are there stay. What can't be made is listed at the end.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "accuracy")]
EXPORTERS: dict[str, dict[str, Any]] = {
    "torchscript": {"dynamo": False, "opset_version": 17},
    "dynamo": {"dynamo": True, "opset_version": 18},
}
Maker = Callable[[Path, Path], None]


def get(name: str) -> tuple[Any, dict[str, Any]]:
    """A model in eval mode and its example."""
    import models
    import models_more

    return models_more.get(name) if name in models_more.MODELS else models.get(name)


def names() -> list[str]:
    """All models."""
    import models
    import models_more

    return [*models_more.MODELS, *models.MODELS]


def forms(feeds: Mapping[str, Any]) -> dict[str, Maker]:
    """What is made of an export, by name."""
    import variants

    return {
        "basic": variants.onnxruntime_level("BASIC"),
        "extended": variants.onnxruntime_level("EXTENDED"),
        "all": variants.onnxruntime_level("ALL"),
        "slim": variants.slim,
        "qdq": variants.quantised(feeds),
        "qoperator": _qoperator(feeds),
        "dynamic": variants.integer,
        "fp16": variants.half,
    }


def _qoperator(feeds: Mapping[str, Any]) -> Maker:
    def run(source: Path, target: Path) -> None:
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

        class Reader(CalibrationDataReader):  # type: ignore[misc]
            def __init__(self) -> None:
                self.left = [dict(feeds)]

            def get_next(self) -> Mapping[str, Any] | None:
                return self.left.pop() if self.left else None

        quantize_static(str(source), str(target), Reader(), quant_format=QuantFormat.QOperator)

    return run


def export(name: str, exporter: str, file: Path) -> dict[str, Any]:
    """Write the export of a model; the arrays that its inputs take. Raises ModelExportError."""
    from modelexport import HierarchyExporter
    from modelexport.ir.io.reader import load_model
    from modelexport.passes.running.graph_values import fit_inputs

    model, example = get(name)
    if not file.exists():
        HierarchyExporter(sidecar=False).export(model, dict(example), file, **EXPORTERS[exporter])
    feeds: dict[str, Any] = fit_inputs(load_model(file), {key: value.numpy() for key, value in example.items()})[0]
    return feeds


def quietly(make: Maker, source: Path, target: Path) -> str:
    """Make one form; "" or why it failed, with nothing left over."""
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            make(source, target)
    except Exception as error:  # noqa: BLE001 - foreign tools; the table says which failed
        target.unlink(missing_ok=True)
        return f"{type(error).__name__}: {str(error).strip().splitlines()[:1]}"[:160]
    return ""


def main() -> int:
    """See the module."""
    import numpy as np

    from modelexport.ir.errors import ModelExportError

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", default="", help="comma-separated; all when left out")
    parser.add_argument("--exporters", default=",".join(EXPORTERS))
    parser.add_argument("--forms", default="plain,basic,extended,all,slim,qdq,qoperator,dynamic,fp16")
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    args.folder.mkdir(parents=True, exist_ok=True)
    failed = []
    for name in args.models.split(",") if args.models else names():
        for exporter in args.exporters.split(","):
            plain = args.folder / f"{name}.{exporter}.plain.onnx"
            try:
                feeds = export(name, exporter, plain)
            except ModelExportError as error:
                failed.append(f"{name} {exporter}: {str(error)[:160]}")
                continue
            np.savez(plain.with_suffix(".npz"), **feeds)
            for form, make in forms(feeds).items():
                target = args.folder / f"{name}.{exporter}.{form}.onnx"
                if form in args.forms.split(",") and not target.exists():
                    reason = quietly(make, plain, target)
                    failed += [f"{name} {exporter} {form}: {reason}"] if reason else []
    print("\n".join(failed))
    return 0


if __name__ == "__main__":
    sys.exit(main())
