"""Plain networks of many equal blocks, for the kinds of new nodes that few architectures show: see ``tools.py``."""

from __future__ import annotations

from collections.abc import Callable

import torch

BLOCKS = 64


class Gated(torch.nn.Module):
    """Products, each cut in two halves of which one gates the other: optimisers merge the slices to one node."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gates = torch.nn.ModuleList(torch.nn.Linear(width, 2 * width) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for gate in self.gates:
            left, right = gate(x).chunk(2, dim=-1)
            x = x + left * torch.sigmoid(right)
        return x


class Joined(torch.nn.Module):
    """Three products of one value, which optimisers join."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (torch.nn.Linear(width, width, bias=False) for _ in range(3))
        self.out = torch.nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights = torch.softmax(self.query(x) @ self.key(x).transpose(-1, -2), dim=-1)
        y: torch.Tensor = x + self.out(weights @ self.value(x))
        return y


class Activated(torch.nn.Module):
    """Activations of one operator that optimisers divide in two, and slices of what they give that they merge."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = torch.nn.Linear(width, width)
        self.acts = torch.nn.ModuleList(torch.nn.Hardswish() for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for act in self.acts:
            left, right = act(x).chunk(2, dim=-1)
            x = torch.cat([right, left], dim=-1)
        y: torch.Tensor = self.scale(x)
        return y


class Convolved(torch.nn.Module):
    """A convolution with what is folded into it, and an activation of one operator or of many."""

    def __init__(self, width: int, activation: torch.nn.Module) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(width, width, 3, padding=1)
        self.norm = torch.nn.BatchNorm2d(width)
        self.act = activation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.act(self.norm(self.conv(x)))
        return y


class Squeezed(torch.nn.Module):
    """Shapes that old operator sets have as attributes and new ones as inputs."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = torch.nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = x.sum(dim=1, keepdim=True).unsqueeze(1).squeeze(1)
        left, right = torch.split(self.scale(x * mean.clamp(-1, 1)), 8, dim=-1)
        y: torch.Tensor = x + torch.cat(
            [torch.nn.functional.pad(left[..., :4], (2, 2)), right.amax(1, True) + left], -1
        )
        return y


class Pair(torch.nn.Module):
    """Two convolutions with a path around them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = Convolved(width, torch.nn.Hardswish())
        self.second = Convolved(width, torch.nn.SiLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = x + self.second(self.first(x))
        return y


def _stack(make: Callable[[], torch.nn.Module], *shape: int) -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    return torch.nn.Sequential(*(make() for _ in range(BLOCKS))), {"input": torch.randn(*shape)}


MODELS = {
    "deep-activated": lambda: _stack(lambda: Activated(16), 2, 5, 16),
    "deep-gated": lambda: _stack(lambda: Gated(16), 2, 5, 16),
    "deep-joined": lambda: _stack(lambda: Joined(16), 2, 5, 16),
    "deep-convolved": lambda: _stack(lambda: Pair(16), 2, 16, 8, 8),
    "deep-squeezed": lambda: _stack(lambda: Squeezed(16), 2, 5, 16),
}
