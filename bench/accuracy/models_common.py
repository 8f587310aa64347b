"""What the definitions of models share: inputs, and building from a class of transformers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn as nn

Example = dict[str, torch.Tensor]
Built = tuple[nn.Module, Example]
Builder = Callable[[], Built]
BATCH, LENGTH = 2, 8


def text(length: int = LENGTH) -> Example:
    mask = torch.ones(BATCH, length, dtype=torch.long)
    return {"input_ids": torch.randint(3, 99, (BATCH, length)), "attention_mask": mask}


def tokens(length: int = LENGTH) -> Example:
    return {"input_ids": text(length)["input_ids"]}


def two_texts() -> Example:
    return {**text(), "decoder_input_ids": text(4)["input_ids"]}


def image(size: int = 32) -> Example:
    return {"pixel_values": torch.randn(BATCH, 3, size, size)}


def numbers(name: str, *shape: int) -> Callable[[], Example]:
    return lambda: {name: torch.randn(BATCH, *shape)}


def hugging(
    kind: str, head: str, example: Callable[[], Example], sizes: Mapping[str, object] | None = None, **more: object
) -> Builder:
    """The class ``kind`` + ``head`` of transformers with the configuration ``sizes`` and ``more``."""

    def build() -> Built:
        import transformers

        config = getattr(transformers, f"{kind}Config")(**{**(sizes or {}), **more})
        return getattr(transformers, f"{kind}{head}")(config), example()

    return build
