"""The check by values on models of the transformers library, with random weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ground_truth
import pytest
import torch
import transformers

from modelexport.frontend.export.exporter import HierarchyExporter


def bert() -> Any:
    return transformers.BertModel(
        transformers.BertConfig(
            vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24
        )
    )


def t5() -> Any:
    return transformers.T5ForConditionalGeneration(
        transformers.T5Config(
            vocab_size=50, d_model=16, d_kv=8, d_ff=24, num_layers=2, num_heads=2, use_cache=False,
            decoder_start_token_id=0,
        )
    )  # fmt: skip


def vit() -> Any:
    return transformers.ViTForImageClassification(
        transformers.ViTConfig(
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=24,
            image_size=16,
            patch_size=8,
        )
    )


IDS = {"input_ids": torch.tensor([[5, 7, 11, 13, 17], [3, 4, 9, 0, 0]])}
MASKED = {**IDS, "attention_mask": torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])}
PIXELS = {"pixel_values": torch.linspace(-1, 1, 2 * 3 * 16 * 16).reshape(2, 3, 16, 16)}
CASES: list[tuple[Callable[[], Any], dict[str, torch.Tensor], dict[str, Any]]] = [
    (bert, MASKED, {"opset_version": 14}),
    (t5, {**MASKED, "decoder_input_ids": torch.tensor([[0, 3, 8], [0, 6, 2]])}, {"opset_version": 17}),
    (vit, PIXELS, {"opset_version": 17}),
    (bert, MASKED, {"dynamo": True, "opset_version": 17}),
]


@pytest.mark.parametrize(("build", "example", "options"), CASES)
def test_every_decided_node_has_the_module_that_made_its_value(
    build: Callable[[], Any], example: dict[str, torch.Tensor], options: dict[str, Any], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = build().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    target = tmp_path / "model.onnx"
    result = HierarchyExporter().export(model, example, target, **options)
    assert result["by_source"]["scope"] == result["total_operations"]
    found = ground_truth.compared(model, example, target)
    assert not found.wrong
    assert found.decided >= 0.15 * result["total_operations"]
