"""Whatever stops a command while it writes: what was there before is whole, and nothing half-written has a name."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import faults
import fuzz_running
import numpy as np
import onnx
import pytest
from faults import Struck, strike
from onnx import numpy_helper

from modelexport.cli import htp_opt, modelexport
from modelexport.ir.io.external.external_data import external_tensors
from modelexport.ir.io.reader import load_model
from modelexport.ir.io.weights import Weights

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that fork")
EXTERNAL = ("--external-data", "--opset-version", "17")
TORCH_MODEL = """
import torch

torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU())
example_inputs = (torch.ones(1, 64),)
"""


def external(path: Path, scale: float) -> None:
    """The small model with its weights in a file beside it."""
    proto = fuzz_running.small_model()
    for tensor in proto.graph.initializer:
        changed = numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(scale), tensor.name)
        tensor.CopyFrom(changed)
    onnx.save(proto, path, save_as_external_data=True, location=f"{path.stem}.bin", size_threshold=0)


def plain(folder: Path) -> None:
    """Nothing but the input."""
    (folder / "model.onnx").write_bytes(fuzz_running.small_model().SerializeToString())


def with_output(folder: Path) -> None:
    """An earlier output, which differs from what is written now, with its sidecar."""
    plain(folder)
    passes = "htp,attribute-embedding{interop=torch}"
    assert (
        htp_opt.main(
            [str(folder / "model.onnx"), "-o", str(folder / "out.onnx"), "--sidecar", "-q", "--passes", passes]
        )
        == 0
    )


def with_data(folder: Path) -> None:
    """A model with external data, to be written to another folder."""
    external(folder / "model.onnx", 1)
    (folder / "there").mkdir()


def with_gathered(folder: Path) -> None:
    """An earlier piece, whose weights differ from what is written now."""
    external(folder / "model.onnx", 2)
    assert modelexport.main(["extract", str(folder / "model.onnx"), "head", "-o", str(folder / "out.onnx")]) == 0
    external(folder / "model.onnx", 1)


def with_two(folder: Path) -> None:
    plain(folder)
    assert htp_opt.main([str(folder / "model.onnx"), "-o", str(folder / "other.onnx"), "-q"]) == 0


def with_another_sidecar(folder: Path) -> None:
    """A model and a sidecar that do not agree."""
    with_two(folder)
    command = [str(folder / "model.onnx"), "-o", str(folder / "o.onnx"), "-q", "--passes", "fallback-tagging"]
    assert htp_opt.main([*command, "--sidecar-path", str(folder / "other_hierarchy.json")]) == 0
    (folder / "o.onnx").unlink()


def with_program(folder: Path) -> None:
    """A model to export, and what an earlier export of another one left."""
    plain(folder)
    (folder / "model.py").write_text(TORCH_MODEL.replace("seed(0)", "seed(1)"))
    assert modelexport.main(["export", str(folder / "model.py"), str(folder / "out.onnx"), *EXTERNAL]) == 0
    (folder / "model.py").write_text(TORCH_MODEL)


@dataclass(frozen=True)
class Case:
    """A command, what is there before it, and the names of what it writes in the order in which it does."""

    arguments: tuple[str, ...]
    before: Callable[[Path], None]
    written: tuple[str, ...]
    environment: Mapping[str, str] | None = None


CASES = {
    "htp-opt": Case(
        ("htp-opt", "model.onnx", "-o", "out.onnx", "--sidecar"), plain, ("out.onnx", "out_hierarchy.json")
    ),
    "over": Case(
        ("htp-opt", "model.onnx", "-o", "out.onnx", "--sidecar"), with_output, ("out.onnx", "out_hierarchy.json")
    ),
    "in-place": Case(("htp-opt", "model.onnx", "--in-place"), plain, ("model.onnx",)),
    "data": Case(("htp-opt", "model.onnx", "-o", "there/out.onnx"), with_data, ("there/model.bin", "there/out.onnx")),
    "extract": Case(
        ("modelexport", "extract", "model.onnx", "encoder", "-o", "out.onnx"), with_data, ("out.onnx.data", "out.onnx")
    ),
    "extract-over": Case(
        ("modelexport", "extract", "model.onnx", "encoder", "-o", "out.onnx"),
        with_gathered,
        ("out.onnx.data", "out.onnx"),
    ),
    "split": Case(("modelexport", "split", "model.onnx", "--at", "head", "-o", "stages"), with_data, ("stages",)),
    "view": Case(("modelexport", "view", "model.onnx", "-o", "page.html"), plain, ("page.html",)),
    "explorer": Case(
        ("modelexport", "view", "model.onnx", "-o", "graph.json", "--format", "model-explorer"),
        plain,
        ("graph.source.node_data.json", "graph.confidence.node_data.json", "graph.json"),
    ),
    "retag": Case(
        ("modelexport", "retag", "other.onnx", "model.onnx", "-o", "out.onnx"),
        with_two,
        ("out.onnx", "out_hierarchy.json"),
    ),
    "repair": Case(
        ("modelexport", "validate", "other.onnx", "--repair"),
        with_another_sidecar,
        ("other.onnx", "other_hierarchy.json"),
    ),
    "compare-values": Case(("modelexport", "compare-values", "model.onnx", "other.onnx"), with_two, ()),
    "profile": Case(
        (
            "modelexport",
            "profile",
            "model.onnx",
            "--runs",
            "1",
            "--warmup",
            "0",
            "--save-profile",
            "p.json",
            "--speedscope",
            "s.json",
        ),
        plain,
        ("p.json", "s.json"),
    ),
    "export": Case(
        ("modelexport", "export", "model.py", "out.onnx", *EXTERNAL),
        with_program,
        ("out.onnx.data", "out.onnx", "out_hierarchy.json"),
    ),
    "trace": Case(("modelexport", "trace", "model.py", "-o", "out.htptrace"), with_program, ("out.htptrace",)),
}
SLOW = {"export", "trace", "in-place", "extract", "view", "retag", "repair", "profile"}
CHANGES = {"profile"}  # measured times: what is written differs from run to run


def snapshot(folder: Path) -> dict[str, str]:
    """What is in a folder, by name: digests of files and of whole models, without what is temporary."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if (
            path.is_file()
            and not name.startswith("tmp/")
            and not any(part.endswith(".tmp") for part in name.split("/"))
        ):
            found[name] = hashlib.sha256(whole_model(path) if path.suffix == ".onnx" else path.read_bytes()).hexdigest()
    return found


def whole_model(path: Path) -> bytes:
    """A model with its weights inside, read through its references: what names its data has is no difference."""
    model = load_model(path)
    read, whole = Weights(model), onnx.ModelProto()
    whole.CopyFrom(model.proto)
    for tensor in external_tensors(whole):
        tensor.raw_data = bytes(read.raw(tensor))
        del tensor.external_data[:]
    data: bytes = whole.SerializeToString(deterministic=True)
    return data


def leftovers(folder: Path) -> list[str]:
    found = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.name.endswith(".tmp")]
    return found + [f"tmp/{path.name}" for path in (folder / "tmp").iterdir()]


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in CASES])
def test_nothing_is_half_written(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    source, work = tmp_path / "source", tmp_path / "work"
    source.mkdir()
    work.mkdir()
    case.before(source)
    before = snapshot(source)
    environment = {"SOURCE_DATE_EPOCH": "0", **(case.environment or {})}
    whole, *runs = strike(source, work, case.arguments, environment)
    assert whole.status == 0, whole.err
    after = snapshot(whole.folder)
    assert {role_of(case, path) for path in after} >= set(case.written), sorted(after)
    assert {run.kind for run in runs} == set(faults.KINDS)
    for run in runs:
        look(case, run, before, after, exact=name not in CHANGES)


def look(case: Case, run: Struck, before: dict[str, str], after: dict[str, str], *, exact: bool) -> None:
    """What must be so after a run that was stopped."""
    said = f"{run.kind} at {run.at}: status {run.status}, {run.err!r}"
    found = snapshot(run.folder)
    for path in {*before, *after, *found}:
        known = [before.get(path), after.get(path)]
        if path.endswith(".data") and run.kind.startswith("kill"):
            known.append(None)  # the model reads it under another name at that moment
        new = not exact and path in after and path not in before
        assert found.get(path) in known or new, f"{said}: {path} is half-written"
    changed = [path for path in found if found[path] != before.get(path)]
    assert all(role_of(case, path) for path in changed), f"{said}: {changed}"
    if run.complete:
        assert run.status == 0 and (not exact or found == after), said
        return
    if run.kind in ("kill", "killed-at-byte", "killed-later"):
        assert run.status in (-9, -25) or (run.kind == "killed-later" and run.status == 0), said
        return
    struck_cleaning = run.event in ("os.remove", "os.rmdir", "open folder") and run.kind != "read-only"
    by_chance = run.kind == "interrupted-later"  # between the making of a file and what takes it away
    assert len(leftovers(run.folder)) <= (struck_cleaning or by_chance), said
    if run.status == 0:  # it struck where nothing depended on it
        assert not exact or found == after, said
        return
    if run.kind.startswith("interrupted") or run.kind == "interrupt":
        assert run.status == 130 and run.err.endswith("interrupted\n"), said
    else:
        errors = [line for line in run.err.splitlines() if line.startswith("error:")]
        assert run.status == 2 and len(errors) == 1, said
    there = {role_of(case, path) for path in changed}
    wanted = {role_of(case, path) for path in after if after[path] != before.get(path)}
    in_order = [role in there for role in case.written if role in wanted]
    assert in_order == sorted(in_order, reverse=True), f"{said}: {there}"


def role_of(case: Case, path: str) -> str:
    """What of the case's outputs a file is or is in; "" for none."""
    return next((role for role in case.written if path == role or path.startswith(f"{role}/")), "")
