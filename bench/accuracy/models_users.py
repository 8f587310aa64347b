"""Kinds of graphs that users bring and that public text and image models don't show.

Each says what it is in the benchmark for: a heuristic that nothing else needs names its case here.
"""

from __future__ import annotations

import torch
import torch.nn as nn
from models_common import BATCH, Builder, Built, image, numbers


class _Unit(nn.Module):
    """Convolution, norm, activation: the unit that detectors are made of."""

    def __init__(self, wide: int, out: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(wide, out, kernel, stride, kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(out)
        self.act = nn.SiLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.act(self.bn(self.conv(x)))
        return y


class _Bottleneck(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.cv1, self.cv2 = _Unit(size, size, 3), _Unit(size, size, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = x + self.cv2(self.cv1(x))
        return y


class _Split(nn.Module):
    """A cross-stage block: half of the channels goes through the bottlenecks, all meet in one convolution."""

    def __init__(self, wide: int, out: int, count: int) -> None:
        super().__init__()
        self.cv1, self.cv2 = _Unit(wide, out), _Unit((2 + count) * out // 2, out)
        self.m = nn.ModuleList(_Bottleneck(out // 2) for _ in range(count))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = list(self.cv1(x).chunk(2, 1))
        parts.extend(block(parts[-1]) for block in self.m)
        y: torch.Tensor = self.cv2(torch.cat(parts, 1))
        return y


class _Detector(nn.Module):
    """Backbone, pooling pyramid, two levels that meet by upsampling, heads whose boxes functional code decodes."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.ModuleList(
            [_Unit(3, 8, 3, 2), _Split(8, 16, 1), _Unit(16, 16, 3, 2), _Split(16, 16, 2), _Unit(16, 8), _Unit(32, 16)]
        )
        self.pool = nn.MaxPool2d(5, 1, 2)
        self.up = nn.Upsample(scale_factor=2)
        self.merge = _Split(32, 16, 1)
        self.boxes = nn.ModuleList(nn.Sequential(_Unit(16, 8, 3), nn.Conv2d(8, 16, 1)) for _ in range(2))
        self.classes = nn.ModuleList(nn.Sequential(_Unit(16, 8, 3), nn.Conv2d(8, 5, 1)) for _ in range(2))

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        stem, first, down, second, narrow, wide = self.model
        fine = first(stem(pixel_values))
        x = narrow(second(down(fine)))
        pooled = [x]
        for _ in range(3):
            pooled.append(self.pool(pooled[-1]))
        coarse = wide(torch.cat(pooled, 1))
        fine = self.merge(torch.cat((self.up(coarse), fine), 1))
        found = []
        for level, boxes, classes in zip((fine, coarse), self.boxes, self.classes, strict=True):
            sides = boxes(level).flatten(2).view(BATCH, 4, 4, -1).softmax(2)
            steps = torch.arange(4, dtype=sides.dtype).view(1, 1, 4, 1)
            found.append(torch.cat(((sides * steps).sum(2), classes(level).flatten(2).sigmoid()), 1))
        return torch.cat(found, 2)


class _Speech(nn.Module):
    """A framed Fourier transform as a convolution with fixed weights, then 1-D convolutions and a stack of GRUs."""

    def __init__(self) -> None:
        super().__init__()
        angles = 2 * torch.pi * torch.arange(16).view(-1, 1) * torch.arange(32) / 32
        bases = torch.cat((angles.cos(), -angles.sin())) * torch.hann_window(32)
        self.register_buffer("bases", bases.unsqueeze(1))
        self.register_buffer("filters", torch.rand(8, 16))
        self.encoder = nn.Sequential(
            nn.Conv1d(8, 16, 3, padding=1),
            nn.GroupNorm(4, 16),
            nn.ReLU(),
            nn.Conv1d(16, 16, 3, 2, 1, groups=4),
            nn.PReLU(),
        )
        self.rnn = nn.GRU(16, 12, num_layers=2, batch_first=True, bidirectional=True)
        self.out = nn.Linear(24, 6)

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        padded = nn.functional.pad(audio.unsqueeze(1), (16, 16), mode="reflect")
        framed = nn.functional.conv1d(padded, self.bases, stride=16)
        real, imaginary = framed.chunk(2, 1)
        power = (self.filters @ (real.square() + imaginary.square())).clamp(min=1e-5).log()
        power = (power - power.mean(2, keepdim=True)) / (power.std(2, keepdim=True) + 1e-3)
        y: torch.Tensor = self.out(self.rnn(self.encoder(power).transpose(1, 2))[0]).log_softmax(-1)
        return y


class _Stacked(nn.Module):
    """Recurrent layers held one by one, with norms and dropouts between them and a scoring sum at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 12)
        self.layers = nn.ModuleList(nn.LSTM(12, 12, batch_first=True) for _ in range(3))
        self.norms = nn.ModuleList(nn.LayerNorm(12) for _ in range(3))
        self.last = nn.GRU(12, 8, num_layers=2, batch_first=True)
        self.score = nn.Linear(8, 1, bias=False)
        self.head = nn.Linear(8, 4)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.embedding(ids)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = norm(x + layer(x)[0])
        x = self.last(x)[0]
        y: torch.Tensor = self.head((x * self.score(torch.tanh(x)).softmax(1)).sum(1))
        return y


class _Messages(nn.Module):
    """One round of a graph network: messages along edges, summed where they arrive."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.message = nn.Sequential(nn.Linear(2 * size, size), nn.ReLU(), nn.Linear(size, size))
        self.update = nn.GRUCell(size, size)
        self.norm = nn.LayerNorm(size)

    def forward(self, x: torch.Tensor, sources: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        sent = self.message(torch.cat((x[sources], x[targets]), -1))
        arrived = torch.zeros_like(x).scatter_add(0, targets.unsqueeze(-1).expand_as(sent), sent)
        y: torch.Tensor = self.norm(self.update(arrived, x))
        return y


class _Graph(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(5, 12)
        self.rounds = nn.ModuleList(_Messages(12) for _ in range(3))
        self.readout = nn.Sequential(nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 2))

    def forward(self, x: torch.Tensor, sources: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        x = self.embed(x)
        for each in self.rounds:
            x = each(x, sources, targets)
        y: torch.Tensor = self.readout(x.mean(0))
        return y


class _Encoder(nn.Module):
    """torch's own encoder, whose layers are copies: as initialised their weights are merged into the first layer's.

    The case of copies of scopes: 574 of 4,600 nodes as initialised are wrong without that rule.
    """

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, activation="gelu")
        self.encoder = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        self.head = nn.Linear(32, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.head(self.encoder(x))
        return y


class _Dicts(nn.Module):
    """Blocks that are dictionaries of modules, which have no scope: the case of like holders (58 of 621 nodes)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleDict(
                {
                    "norm": nn.LayerNorm(size),
                    "fc": nn.Linear(size, size),
                    "act": nn.GELU(),
                    "out": nn.Sequential(nn.Linear(size, size), nn.SiLU()),
                }
            )
            for _ in range(3)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            assert isinstance(layer, nn.ModuleDict)
            x = x + layer["out"](layer["act"](layer["fc"](layer["norm"](x))))
        return x


def _graph() -> Built:
    edges = {"sources": torch.randint(0, 7, (20,)), "targets": torch.randint(0, 7, (20,))}
    return _Graph(), {"x": torch.randn(7, 5), **edges}


def _encoder() -> Built:
    torch.backends.mha.set_fastpath_enabled(False)  # TorchScript has no operator for it
    return _Encoder(), numbers("x", 7, 32)()


MODELS: dict[str, Builder] = {
    "detector": lambda: (_Detector(), image()),
    "speech": lambda: (_Speech(), numbers("audio", 320)()),
    "stacked": lambda: (_Stacked(), {"ids": torch.randint(0, 50, (BATCH, 6))}),
    "graph": _graph,
    "encoder": _encoder,
    "dicts": lambda: (_Dicts(16), numbers("x", 5, 16)()),
}
