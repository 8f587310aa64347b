"""Does ``cost`` agree with torch's FlopCounterMode, module by module, and still after optimisers and quantisers?

    python bench/compute/cost.py [--models bert,unet] [--exporters torchscript,dynamo] [--variants] [--json FILE]

Every model is exported with both exporters; each module's total is compared with what FlopCounterMode counts while the
module runs. torch lacks a formula for attention on the CPU, so it is given one, and mkldnn is off, since its LSTM
can't be seen. A shared module is compared by the sum over its names. With ``--variants`` each export is optimised
(onnxruntime basic and extended, onnxslim) and quantised (QDQ, QOperator, dynamic), and the modules' numbers are
compared with those of the export. Installed public counters (onnx-tool, thop, fvcore, torchinfo) are listed with
``--public``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "accuracy")]
import graphs  # noqa: E402


def truth(model: Any, example: Mapping[str, Any]) -> tuple[dict[str, int], int]:
    """Multiply-accumulates by path of each module that ran (its first name), and of the whole."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    def attention(query: Any, key: Any, value: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
        batch, heads, rows, width = query
        return 2 * batch * heads * rows * key[2] * (width + value[3])

    counter = FlopCounterMode(
        display=False, custom_mapping={torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: attention}
    )
    torch.backends.mha.set_fastpath_enabled(False)
    with torch.no_grad(), torch.backends.mkldnn.flags(enabled=False), counter:
        model(**example)
    root = type(model).__name__
    counts: dict[str, int] = {}
    for name, by_operator in counter.get_flop_counts().items():
        if name == "Global":
            continue
        path = "" if name == root else name.removeprefix(root + ".")
        counts[path] = counts.get(path, 0) + sum(by_operator.values()) // 2
    return counts, counter.get_total_flops() // 2


def by_instance(model: Any, numbers: Mapping[str, int]) -> dict[str, int]:
    """Numbers by path added up over the names of one instance, under its first name; modules without a number are 0."""
    first: dict[int, str] = {}
    found: dict[str, int] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        home = first.setdefault(id(module), path)
        found[home] = found.get(home, 0) + numbers.get(path, 0)
    return found


def counted(file: Path, feeds: Mapping[str, Any]) -> tuple[dict[str, int], Any]:
    from modelexport.analysis import cost

    report = cost(file, feeds)
    return {row.path: int(row.total["macs"]) for row in report.modules}, report


def compare(name: str, exporter: str, folder: Path, *, variants: bool) -> dict[str, Any]:
    """One model and one exporter."""
    from modelexport.ir.errors import ModelExportError

    model, example = graphs.get(name)
    counts, whole = truth(model, example)
    row: dict[str, Any] = {"model": name, "exporter": exporter, "truth": whole}
    file = folder / f"{name}.{exporter}.onnx"
    try:
        feeds = graphs.export(name, exporter, file)
    except ModelExportError as error:
        return {**row, "error": str(error)[:160]}
    started = time.perf_counter()
    ours, report = counted(file, feeds)
    row["seconds"] = round(time.perf_counter() - started, 3)
    expected, found = by_instance(model, counts), by_instance(model, ours)
    for row_ in report.modules:
        if row_.is_container:  # never called, so torch counts nothing for it
            expected.pop(row_.path, None)
    called = {row_.path for row_ in report.modules if not row_.is_container}
    for path in called - {path for path, _ in model.named_modules(remove_duplicate=False)}:
        found[path], expected[path] = ours[path], 0
    different = {path: [expected[path], found[path]] for path in expected if expected[path] != found[path]}
    row |= {
        "macs": int(report.total["macs"]),
        "modules": len(expected),
        "different": different,
        "shapes": report.shapes,
        "unknown": [f"{u.op_type}: {u.reason}" for u in report.unknown][:5],
    }
    if variants:
        row["variants"] = {}
        for variant, make in graphs.forms(feeds).items():
            if variant in ("all", "fp16"):  # all pads channels, which the report says
                continue
            row["variants"][variant] = _variant(file, folder / f"{name}.{exporter}.{variant}.onnx", make, feeds, ours)
    return row


def _variant(
    source: Path, target: Path, make: Callable[[Path, Path], None], feeds: Mapping[str, Any], ours: Mapping[str, int]
) -> dict[str, Any]:
    reason = graphs.quietly(make, source, target)
    if reason:
        return {"failed": reason}
    now, report = counted(target, feeds)
    different = {p: [ours.get(p, 0), now.get(p, 0)] for p in {*ours, *now} if ours.get(p, 0) != now.get(p, 0)}
    unknown = [f"{u.op_type}: {u.reason}" for u in report.unknown][:5]
    return {"modules": len(ours), "different": different, "unknown": unknown}


def summary(rows: list[dict[str, Any]]) -> list[str]:
    """Markdown: one line per exporter and variant, then what differs."""
    lines = ["| graph | models | modules | exact | different |", "|---|---:|---:|---:|---:|"]
    good = [row for row in rows if "error" not in row]
    for exporter in graphs.EXPORTERS:
        held = [row for row in good if row["exporter"] == exporter]
        modules, different = sum(row["modules"] for row in held), sum(len(row["different"]) for row in held)
        lines.append(f"| {exporter}, against torch | {len(held)} | {modules} | {modules - different} | {different} |")
        for variant in dict.fromkeys(name for row in held for name in row.get("variants", ())):
            made = [
                row["variants"][variant] for row in held if "failed" not in row["variants"].get(variant, {"failed": 1})
            ]
            modules, different = sum(each["modules"] for each in made), sum(len(each["different"]) for each in made)
            counts = f"{len(made)} | {modules} | {modules - different} | {different}"
            lines.append(f"| {exporter}, {variant}, against the export | {counts} |")
    lines.append("")
    for row in rows:
        if "error" in row:
            lines.append(f"- {row['model']}, {row['exporter']}: {row['error']}")
            continue
        for path, (wanted, found) in list(row["different"].items())[:6]:
            lines.append(f"- {row['model']}, {row['exporter']}: {path or '.'} torch {wanted}, graph {found}")
        for variant, each in row.get("variants", {}).items():
            for path, (wanted, found) in list(each.get("different", {}).items())[:4]:
                lines.append(
                    f"- {row['model']}, {row['exporter']}, {variant}: {path or '.'} export {wanted}, now {found}"
                )
            if each.get("unknown"):
                lines.append(f"- {row['model']}, {row['exporter']}, {variant}: unknown {each['unknown']}")
        if row["unknown"]:
            lines.append(f"- {row['model']}, {row['exporter']}: unknown {row['unknown']}")
    return lines


def public(name: str, folder: Path) -> dict[str, float | str]:
    """What installed public counters say of the whole model, relative to torch's count."""
    model, example = graphs.get(name)
    whole = truth(model, example)[1]
    found: dict[str, float | str] = {}
    with contextlib.suppress(ImportError):
        import onnx_tool

        file = folder / f"{name}.torchscript.onnx"
        try:
            feeds = graphs.export(name, "torchscript", file)
            graph = onnx_tool.Model(str(file)).graph
            graph.shape_infer(feeds)
            graph.profile()
            found["onnx-tool"] = graph.macs[0] / whole
        except Exception as error:  # noqa: BLE001 - a foreign tool; the table says how it fails
            found["onnx-tool"] = type(error).__name__
    with contextlib.suppress(ImportError):
        from torchinfo import summary as torchinfo_summary

        found["torchinfo"] = torchinfo_summary(model, input_data=dict(example), verbose=0).total_mult_adds / whole
    with contextlib.suppress(ImportError):
        from fvcore.nn import FlopCountAnalysis

        analysis = FlopCountAnalysis(model, tuple(example.values())).unsupported_ops_warnings(False)
        found["fvcore"] = analysis.uncalled_modules_warnings(False).total() / whole
    with contextlib.suppress(ImportError):
        from thop import profile

        found["thop"] = profile(model, inputs=tuple(example.values()), verbose=False)[0] / whole
    return {counter: share if isinstance(share, str) else round(share, 3) for counter, share in found.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="", help="comma-separated; all when left out")
    parser.add_argument("--exporters", default="", help=f"of {', '.join(graphs.EXPORTERS)}; both when left out")
    parser.add_argument("--variants", action="store_true", help="also after optimisers and quantisers")
    parser.add_argument("--public", action="store_true", help="also what installed public counters say")
    parser.add_argument("--json", type=Path, help="write one line per export")
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    import torch

    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in args.models.split(",") if args.models else graphs.names():
            if args.public:
                print(f"{name}: public counters / torch {public(name, Path(folder))}", file=sys.stderr, flush=True)
            for exporter in args.exporters.split(",") if args.exporters else graphs.EXPORTERS:
                row = compare(name, exporter, Path(folder), variants=args.variants)
                rows.append(row)
                told = row.get("error") or f"{row['modules'] - len(row['different'])} of {row['modules']} modules exact"
                print(f"{name} {exporter}: {told}", file=sys.stderr, flush=True)
                if args.json:
                    with args.json.open("a") as out:
                        out.write(json.dumps(row) + "\n")
    print("\n".join(summary(rows)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
