"""A monitored export without an export: the data a frontend would hand over, and a clock that ticks by itself."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from modelexport.frontend.monitor import HTPExportMonitor, HTPExportStep, ModuleInfo

BLOCKS = 6


def modules() -> dict[str, ModuleInfo]:
    """A root with an embedding, a list of six blocks of four modules each, and a head."""
    rows: list[tuple[str, str, int]] = [("", "Tiny", 0), ("embed", "Embedding", 32_000), ("blocks", "ModuleList", 0)]
    for index in range(BLOCKS):
        block = f"blocks.{index}"
        rows += [(block, "Block", 0), (f"{block}.norm", "LayerNorm", 128), (f"{block}.mix", "Mixer", 0)]
        rows += [(f"{block}.mix.up", "Linear", 16_640), (f"{block}.mix.down", "Linear", 16_448)]
    rows.append(("head", "Linear", 32_500))
    hierarchy: dict[str, ModuleInfo] = {}
    for path, kind, parameters in rows:
        called = kind != "ModuleList"
        tag = "/Tiny" + "".join(f"/{part}" for part in path.split(".") if part)
        hierarchy[path] = ModuleInfo(path, kind, tag, len(hierarchy) if called else -1, parameters, int(called))
    return hierarchy


def nodes() -> dict[str, dict[str, Any]]:
    """Two nodes for each Linear, one for any other called module; the last four are less certain."""
    records: dict[str, dict[str, Any]] = {}
    for path, info in modules().items():
        if not info.calls:
            continue
        record = {"tag": info.tag, "path": path, "source": "scope", "confidence": 1.0}
        for op in ("MatMul", "Add") if info.class_name == "Linear" else ("Op",):
            records[f"/{path.replace('.', '/')}/{op}".replace("//", "/")] = record
    guess = {"tag": "/Tiny/head", "path": "head", "source": "inherited", "confidence": 0.93}
    records.update({"/Constant": guess, "/Constant_1": guess, "/Identity": {**guess, "confidence": 0.88}})
    records["/Cast"] = {"tag": "/Tiny", "path": "", "source": "fallback", "confidence": 0.31}
    return records


STEPS: dict[HTPExportStep, dict[str, Any]] = {
    HTPExportStep.MODEL_PREP: {
        "model_name": "tiny",
        "model_class": "Tiny",
        "total_modules": len(modules()),
        "total_parameters": 263_796,
    },
    HTPExportStep.INPUT_GEN: {"inputs": {"input_ids": {"dtype": "int64", "shape": [2, 16]}}},
    HTPExportStep.HIERARCHY: {"hierarchy": modules(), "execution_steps": 32},
    HTPExportStep.TRACE: {"operators": 214},
    HTPExportStep.EXPORT: {
        "strategy": "htp_builtin",
        "exporter": "torchscript",
        "opset_version": 17,
        "pipeline": "htp",
        "warnings": ["dynamo could not export this model; TorchScript was used"],
    },
    HTPExportStep.NODE_TAGGING: {"nodes": nodes(), "total_nodes": len(nodes())},
    HTPExportStep.SAVE: {"file_size": 1_056_211},
    HTPExportStep.COMPLETE: {},
}


@pytest.fixture
def steps() -> dict[HTPExportStep, dict[str, Any]]:
    return {step: dict(data) for step, data in STEPS.items()}


@pytest.fixture
def new_monitor(tmp_path: Path) -> Callable[..., HTPExportMonitor]:
    """Makes monitors that write to the test's folder, with a clock that gains a quarter of a second at each look."""

    def make(**options: Any) -> HTPExportMonitor:
        ticks = itertools.count()
        options = {"verbose": False, "clock": lambda: next(ticks) * 0.25, "memory": lambda: 512 << 20, **options}
        return HTPExportMonitor(options.pop("output_path", tmp_path / "tiny.onnx"), **options)

    return make


@pytest.fixture
def monitored(
    new_monitor: Callable[..., HTPExportMonitor], steps: dict[HTPExportStep, dict[str, Any]]
) -> Callable[..., HTPExportMonitor]:
    """Makes monitors that have been told of all eight steps, or of those before ``until``."""

    def make(until: HTPExportStep | None = None, **options: Any) -> HTPExportMonitor:
        monitor = new_monitor(**options)
        for step in itertools.takewhile(lambda step: step is not until, HTPExportStep):
            monitor.log_step(step, steps[step])
        return monitor

    return make


@pytest.fixture(autouse=True)
def _plain_terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What the terminal of whoever runs the tests is like must not matter."""
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "TTY_COMPATIBLE", "SOURCE_DATE_EPOCH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    yield
