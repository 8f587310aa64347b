"""Whether ``diff`` finds exactly the edit: every kind of edit, on many architectures, both exporters and several forms.

    python bench/exact_differences.py [MODEL ...] [--all] [--kinds K ...] [--forms F ...] [--seeds N] [--folder DIR]

A model of ``bench/accuracy/models.py`` with random weights (by default sixteen architectures) is exported with both
exporters and tagged by the pipeline ``htp``. The other side is the same file with one edit, then with other names of
all nodes and values but those of graph inputs and outputs, another order of nodes and initializers, and half of the
Constant nodes made initializers. ``none`` is without an edit: such files are equal. The forms are the export as it is,
float16, QDQ, dynamic quantisation, and with parts of it in branches of an If (``bodies``) or in local functions
(``functions``): there, only inner nodes are edited. The kinds and what they must give are in
``tests/support/difference_edits.py``.

Prints a line per file and every miss; the status is 1 where there is one. What was exported is kept in ``--folder``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "accuracy"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))
import cases
import models
import numpy as np
import onnx
import torch
import truth
import variants
from difference_edits import EDITS, Expected, edited, told
from difference_forms import forgetful, in_bodies, in_functions, scrambled

from modelexport.analysis import diff_models
from modelexport.ir import Model, load_model
from modelexport.ir.errors import ModelExportError
from modelexport.ir.io.writer import to_bytes
from modelexport.passes import PassManager
from modelexport.passes.pipeline.attributed import attributed

ARCHITECTURES = (
    "bert", "distilbert", "deberta", "gpt2", "llama", "mamba", "t5", "whisper", "vit", "swin", "convnext", "resnet",
    "efficientnet", "segformer", "unet", "recurrent",
)  # fmt: skip
EXPORTERS = ("torchscript", "dynamo")
FORMS = ("plain", "half", "qdq", "int8", "bodies", "functions")
NONE = "none"
PIPELINES = {
    "half": "drop-value-info,float16",
    "qdq": "drop-value-info,quantize-static{{calibration={}}}",
    "int8": "drop-value-info,quantize-dynamic",
}


def export(model: str, exporter: str, file: Path) -> None:
    """One architecture by one exporter, with the shapes that onnx infers."""
    network, example = models.get(model)
    with cases.hushed(), torch.no_grad():
        if exporter == "torchscript":
            truth.export_script(network, truth.positional(network, example), example, file)
        else:
            names = list(example)
            torch.onnx.export(network, (), str(file), kwargs=example, input_names=names, external_data=False)
    onnx.save(onnx.shape_inference.infer_shapes(onnx.load(file)), file)


def shaped(model: str, export_file: Path, form: str) -> onnx.ModelProto:
    """A form of an exported file, tagged."""
    proto = onnx.load(export_file)
    if form == "bodies":
        proto = in_bodies(proto)
    elif form == "functions":
        proto = in_functions(proto)
    read = load_model(proto.SerializeToString())
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "calibration.npz")
        given = variants.as_arrays(models.get(model)[1])
        np.savez(file, **{name: array for name, array in given.items() if name in read.main.inputs})
        passes = f"htp,{PIPELINES[form].format(file)}" if form in PIPELINES else "htp"
        with cases.hushed():
            PassManager(passes).run(read)
        return forgetful(onnx.ModelProto.FromString(to_bytes(read)))


def check(
    tagged: onnx.ModelProto, left: Model, kind: str, seed: int, inside: bool
) -> tuple[Expected, list[Expected]] | bool | None:
    """True where the difference is exactly the edit, None where the file has no place for it, else both sides."""
    made = (tagged, [{}]) if kind == NONE else edited(tagged, kind, seed, inside)
    if made is None:
        return None
    proto, expected = made
    found = told(diff_models(left, load_model(scrambled(proto, seed).SerializeToString())))
    return found in expected or (found, expected)


def measure(label: str, tagged: onnx.ModelProto, kinds: list[str], seeds: int, inside: bool) -> Counter[bool]:
    """Every kind and seed on one file; counts of exact ones (True) and others."""
    counts: Counter[bool] = Counter()
    misses: list[str] = []
    left = attributed(load_model(tagged.SerializeToString()))
    for kind in kinds:
        for seed in range(seeds):
            found = check(tagged, left, kind, seed, inside)
            if found is not None:
                counts[found is True] += 1
            if isinstance(found, tuple):
                misses.append(f"    {kind} {seed}: found {_said(found[0])} instead of {_said(found[1][0])}")
    nodes = sum(node.op_type != "Constant" for node in tagged.graph.node)
    print(f"{label:<34}{nodes:>6} nodes {counts[True]:>4} of {counts.total():>4} exact", *misses, sep="\n", flush=True)
    return counts


def _said(expected: Expected) -> str:
    parts = (f"{path or '.'} {dict(counts)}" for path, counts in sorted(expected.items()))
    return "; ".join(parts) or "no differences"


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"default: {' '.join(ARCHITECTURES)}")
    parser.add_argument("--all", action="store_true", help="every model there is")
    parser.add_argument("--kinds", nargs="+", choices=(NONE, *EDITS), default=[NONE, *EDITS])
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS))
    parser.add_argument("--exporters", nargs="+", choices=EXPORTERS, default=list(EXPORTERS))
    parser.add_argument("--seeds", type=int, default=3, help="edits of each kind per file (default 3)")
    parser.add_argument("--folder", type=Path, help="where exports are kept and looked for")
    options = parser.parse_args()
    chosen = list(models.MODELS) if options.all else options.models or list(ARCHITECTURES)
    total: Counter[bool] = Counter()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for model in chosen:
            for exporter in options.exporters:
                file = folder / f"{model}.{exporter}.onnx"
                try:
                    if not file.exists():
                        export(model, exporter, file)
                except Exception as error:  # noqa: BLE001 - an exporter's; the line says so
                    print(
                        f"{model} {exporter}: the exporter failed: {type(error).__name__}: {str(error)[:150]}",
                        flush=True,
                    )
                    file.unlink(missing_ok=True)
                    continue
                for form in options.forms:
                    label = f"{model} {exporter} {form}"
                    try:
                        tagged = shaped(model, file, form)
                    except ModelExportError as error:
                        print(f"{label}: the tool failed: {str(error).splitlines()[0][:150]}", flush=True)
                        continue
                    inside = form in ("bodies", "functions")
                    total += measure(label, tagged, options.kinds, options.seeds, inside)
    print(f"{total[True]} of {total.total()} exact")
    return int(total[False] > 0)


if __name__ == "__main__":
    sys.exit(main())
