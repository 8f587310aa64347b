"""Scripted models: what weights don't decide is no surer than a guess, whatever the script's names say."""

from __future__ import annotations

import warnings
from pathlib import Path

import architectures
import ground_truth
import pytest
import torch

from modelexport.frontend.export.exporter import HierarchyExporter
from modelexport.frontend.unified.usage_based import UsageBasedExporter


@pytest.mark.parametrize(("name", "share"), [("encoder", 0.85), ("unet", 0.8), ("encoder_decoder", 0.9)])
def test_scripts(name: str, share: float, tmp_path: Path) -> None:
    """Names alone are right for 0.25, 0.6 and 0.16 of what is decided."""
    model, example = architectures.get(name)
    example = tuple(example.values()) if isinstance(example, dict) else example
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.script(model)
    HierarchyExporter(exporter="torchscript").export(script, example, tmp_path / "m.onnx", opset_version=17)
    found = ground_truth.compared(model, example, tmp_path / "m.onnx")
    assert found.exact >= share * found.decided > 10
    assert [wrong for wrong in found.wrong if wrong.confidence > 0.5] == []


def test_copies_are_no_surer_than_their_readers(tmp_path: Path) -> None:
    model, example = architectures.get("weight_shared")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.script(model)
    HierarchyExporter(exporter="torchscript").export(script, example, tmp_path / "m.onnx", opset_version=17)
    found = ground_truth.compared(model, example, tmp_path / "m.onnx")
    assert [wrong for wrong in found.wrong if wrong.confidence > 0.5] == []


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_weights_alone(exporter: str, tmp_path: Path) -> None:
    """Their names go by the module's first name, and are as sure as they are right where they are all there is."""
    model, example = architectures.get("weight_shared")
    UsageBasedExporter(exporter=exporter).export(model, example, tmp_path / "m.onnx")  # type: ignore[arg-type]
    rules = ground_truth.compared(model, example, tmp_path / "m.onnx").rules
    for rule in ("parameter-name", "initializer-shared"):
        if rule in rules:
            assert rules[rule].right == rules[rule].decided
            assert rules[rule].confidence > 0.89 * rules[rule].decided
    assert {"parameter-name", "initializer-shared"} & rules.keys()
