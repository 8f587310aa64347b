"""Small random-initialised models from public definitions, and some made to be awkward.

``get(name)`` gives (model in eval mode, example keyword arguments). Parameters and statistics are shifted a little, so
that no two are equal by accident, as in a trained model. ``get("bert@init")`` leaves them as the definition initialises
them: norms are all ones and biases all zeros, so that exporters and optimisers merge them. ``get("detector@pruned")``
sets the smaller half of every weight to zero after the shift.
"""

from __future__ import annotations

import zlib

import models_media
import models_plain
import models_text
import models_users
import torch
from models_common import Builder, Built
from networks import images, sequences

MODELS: dict[str, Builder] = {
    **models_text.MODELS,
    **models_media.MODELS,
    **models_plain.MODELS,
    **models_users.MODELS,
    **images.MODELS,
    **sequences.MODELS,
}
INIT, PRUNED = "@init", "@pruned"


def names() -> list[str]:
    """All models, shifted and as initialised; those of users' kinds also pruned."""
    return [*MODELS, *(name + INIT for name in MODELS), *(name + PRUNED for name in models_users.MODELS)]


def get(name: str) -> Built:
    """A model and its example, the same at every call."""
    base, _, _ = name.partition("@")
    torch.manual_seed(zlib.crc32(base.encode()))
    model, example = MODELS[base]()
    model.eval().requires_grad_(False)
    if not name.endswith(INIT):
        _shift(model)
    if name.endswith(PRUNED):
        _prune(model)
    with torch.no_grad():
        model(**example)  # some fill a cache or scale their weights at the first call: two exports would differ
    return model, example


def _shift(model: torch.nn.Module) -> None:
    for parameter in model.parameters():
        parameter.add_(0.02 * torch.randn_like(parameter))
    for key, buffer in model.named_buffers():
        if key.endswith(("running_mean", "running_var")):
            buffer.add_(0.02 * torch.rand_like(buffer))


def _prune(model: torch.nn.Module) -> None:
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter[parameter.abs() < parameter.abs().median()] = 0
