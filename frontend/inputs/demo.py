"""A small built-in model, so that an export can be seen without having one."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import nn

from modelexport.frontend.export.exporter import HierarchyExporter
from modelexport.ir.errors import OutputError

VOCABULARY, WIDTH, HEADS, DEPTH, LENGTH, CLASSES = 256, 32, 4, 2, 12, 3


class Attention(nn.Module):
    """Multi-head self-attention over [batch, length, width]."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[batch, length, width] to the same shape."""
        shape = (x.shape[0], x.shape[1], self.heads, -1)
        query, key, value = (each(x).view(shape).transpose(1, 2) for each in (self.query, self.key, self.value))
        scores = query @ key.transpose(-1, -2) / (query.shape[-1] ** 0.5)
        mixed = scores.softmax(-1) @ value
        result: torch.Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return result


class Block(nn.Module):
    """One transformer block, normalisation first."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = Attention(width, heads)
        self.feed_forward = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.before_attention = nn.LayerNorm(width)
        self.before_feed_forward = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[batch, length, width] to the same shape."""
        x = x + self.attention(self.before_attention(x))
        result: torch.Tensor = x + self.feed_forward(self.before_feed_forward(x))
        return result


class DemoTransformer(nn.Module):
    """Token classifier: embedding, blocks, head."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.blocks = nn.ModuleList(Block(WIDTH, HEADS) for _ in range(DEPTH))
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        """[batch, length] of token ids to [batch, length, classes]."""
        x = self.embedding(input_ids)
        for block in self.blocks:
            x = block(x)
        result: torch.Tensor = self.head(x)
        return result


def transformer() -> tuple[nn.Module, dict[str, torch.Tensor]]:
    """The demo model with fixed random weights, and example inputs."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return DemoTransformer().eval(), {"input_ids": torch.randint(0, VOCABULARY, (1, LENGTH))}


DEMOS: dict[str, Callable[[], tuple[nn.Module, dict[str, torch.Tensor]]]] = {"transformer": transformer}


def run_demo(folder: str | PathLike[str], **options: Any) -> dict[str, Any]:
    """Export the demo transformer to ``folder``/demo.onnx and return the result of the export.

    The folder is made if it is not there; ``options`` are keyword arguments of HierarchyExporter.

    Raises:
        OutputError: the folder can't be made.
    """
    target = Path(folder)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{target}: {error.strerror or error}") from error
    model, example = transformer()
    return HierarchyExporter(**options).export(model, example, target / "demo.onnx", opset_version=17)
