"""Building the cases of one model into a folder: graphs, truths, traces. What is there already is kept."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import models
import onnx
import truth
import variants

EXPORTS = ("ts", "dr", "do")  # TorchScript; torch.export as it comes out; the same after torch's optimiser
CONVERSIONS = ("half", "qdq", "int8")
OLD = {"ts9": 9, "ts11": 11, "ts13": 13}  # TorchScript at opsets where norms and activations are decomposed


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """Exporters and optimisers talk a lot."""
    held = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()), truth.silent():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(held)


def build(model: str, folder: Path) -> dict[str, str]:
    """Make every case of ``model`` in ``folder``; what failed, by case.

    A model as initialised or pruned gets foreign exports only: its equal values are of interest where no trace is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    failed: dict[str, str] = {}

    def attempt(name: str, file: Path, make: Callable[[], object]) -> None:
        note = file.with_name(f"{file.name}.failed")
        if note.exists():
            failed[name] = note.read_text()
        elif not file.exists():
            try:
                with hushed():
                    make()
            except Exception as error:  # noqa: BLE001 - foreign tools; the table says which failed
                file.unlink(missing_ok=True)
                failed[name] = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"[
                    :200
                ]
                note.write_text(failed[name])

    attempt("ts", folder / "ts.onnx", lambda: _script(model, folder))
    attempt("dr", folder / "do.onnx", lambda: _export(model, folder))
    for export in EXPORTS:
        base = folder / f"{export}.onnx"
        if not base.exists():
            continue
        for name, run in variants.OPTIMISERS.items():
            target = folder / f"{export}+{name}.onnx"
            attempt(f"{export}+{name}", target, lambda t=target, b=base, r=run: _optimised(b, t, r))  # type: ignore[misc]
    if "@" in model:
        return failed
    for name, opset in OLD.items():
        attempt(name, folder / f"{name}.onnx", lambda n=name, o=opset: _script(model, folder, n, o))  # type: ignore[misc]
    attempt("trace", folder / "model.htptrace", lambda: _trace(model, folder))
    for export, exporter in (("ts", "torchscript"), ("dr", "dynamo")):
        own = folder / f"own-{export}.onnx"
        attempt(own.stem, own, lambda o=own, e=exporter: _own(model, o, e))  # type: ignore[misc]
        if own.exists():
            for name, run in {**variants.OPTIMISERS, **conversions(model)}.items():
                target = folder / f"own-{export}+{name}.onnx"
                attempt(target.stem, target, lambda t=target, b=own, r=run: _optimised(b, t, r))  # type: ignore[misc]
    return failed


def conversions(model: str) -> dict[str, Callable[[Path, Path], None]]:
    """fp16 and int8 versions."""
    example = variants.as_arrays(models.get(model)[1])
    return {"half": variants.half, "qdq": variants.quantised(example), "int8": variants.integer}


def _script(model: str, folder: Path, name: str = "ts", opset: int = truth.OPSET) -> None:
    found = truth.torchscript(*models.get(model), folder / f"{name}.onnx", opset)
    (folder / f"{name}.json").write_text(json.dumps(found))


def _export(model: str, folder: Path) -> None:
    raw, optimised = truth.dynamo(*models.get(model), folder / "dr.onnx", folder / "do.onnx")
    (folder / "dr.json").write_text(json.dumps(raw))
    (folder / "do.json").write_text(json.dumps(optimised))


def _optimised(base: Path, target: Path, run: Callable[[Path, Path], None]) -> None:
    run(base, target)
    if lost := truth.undefined(onnx.load(target)):
        raise ValueError(f"the result is no valid model: nothing makes {lost!r}")
    known = json.loads(base.with_suffix(".json").read_text())
    found = truth.after_optimiser(onnx.load(base), onnx.load(target), known)
    target.with_suffix(".json").write_text(json.dumps(found))


def _trace(model: str, folder: Path) -> None:
    from modelexport.frontend.trace.value_trace import write_trace

    network, example = models.get(model)
    write_trace(network, example, folder / "model.htptrace")


def _own(model: str, target: Path, exporter: str) -> None:
    """Our own export; its truth is that of the foreign export of the same kind, by output name."""
    import torch

    from modelexport import HierarchyExporter

    network, example = models.get(model)
    names = list(example)
    if exporter == "torchscript":
        more = {"opset_version": truth.OPSET, "dynamic_axes": {name: {0: "batch"} for name in names}}
    else:
        more = {"dynamic_shapes": {name: {0: torch.export.Dim.AUTO} for name in names}, "optimize": False}
    HierarchyExporter(exporter=exporter, sidecar=False).export(  # type: ignore[arg-type]
        network, example, str(target), input_names=names, **more
    )
    base = target.with_name(target.name.removeprefix("own-"))
    known = json.loads(base.with_suffix(".json").read_text())
    ours = [node.output[0] for node in truth.nodes_of(onnx.load(target).graph) if node.output]
    theirs = [node.output[0] for node in truth.nodes_of(onnx.load(base).graph) if node.output]
    if ours != theirs:
        raise ValueError("our export has other values than torch's own")
    target.with_suffix(".json").write_text(json.dumps(known))
