"""Models whose work is easy to count wrong: recurrences, convolutions of all kinds, contractions, attention."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn as nn
import torch.nn.functional as F

Built = tuple[nn.Module, dict[str, torch.Tensor]]


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(6, 5, num_layers=2, bidirectional=True, batch_first=True)
        self.gru = nn.GRU(10, 7, batch_first=True)
        self.rnn = nn.RNN(7, 4, nonlinearity="relu", batch_first=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x, _ = self.lstm(x)
        x, _ = self.gru(x)
        x, _ = self.rnn(x)
        return self.head(x[:, -1])


class Convolutions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Sequential(nn.Conv1d(4, 8, 3, dilation=2, padding=2), nn.BatchNorm1d(8), nn.ReLU())
        self.grouped = nn.Conv2d(8, 16, 3, groups=4, stride=2, padding=1)
        self.deep = nn.Conv2d(16, 16, 5, groups=16, padding=2)
        self.up = nn.ConvTranspose2d(16, 6, 3, stride=2, groups=2, padding=1, output_padding=1)
        self.cube = nn.Conv3d(1, 3, (2, 3, 3))
        self.uncube = nn.ConvTranspose3d(3, 2, 2, stride=2)
        self.line = nn.ConvTranspose1d(2, 4, 4, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.one(x)
        x = x.unflatten(2, (4, 4))
        x = self.up(torch.relu(self.deep(self.grouped(x))))
        x = self.uncube(self.cube(x.unsqueeze(1)))
        return self.line(x.flatten(2))


class Contractions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 6, 5))
        self.mixing = nn.Parameter(torch.randn(7, 7))
        self.bilinear = nn.Bilinear(5, 5, 4)
        self.table = nn.Linear(5, 9, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        heads = torch.einsum("bli,hij->bhlj", x, self.weight)
        mixed = torch.einsum("bhlj,lm->bhmj", heads, self.mixing)
        scores = torch.matmul(mixed, heads.transpose(-1, -2))
        y = torch.einsum("bhlm,bhmj->blj", scores.softmax(-1), heads)
        z = self.bilinear(y, y.flip(1)) @ torch.ones(4, 5)
        return F.linear(z, self.table.weight) * torch.einsum("bi,bi->b", y[:, 0], y[:, 1])[:, None, None]


class Expert(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(8, 16)
        self.down = nn.Linear(16, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(F.gelu(self.up(x)))


class Experts(nn.Module):
    """Every expert runs on every token, weighted by the gate."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(8, 3)
        self.experts = nn.ModuleList(Expert() for _ in range(3))
        self.shared = Expert()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights = self.gate(x).softmax(-1)
        y = self.shared(x)
        for number, expert in enumerate(self.experts):
            y = y + weights[..., number : number + 1] * expert(x)
        return self.shared(y)


class Attentions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.own = nn.MultiheadAttention(16, 4, batch_first=True)
        self.cross = nn.MultiheadAttention(16, 2, kdim=12, vdim=10, batch_first=True)
        self.query = nn.Linear(16, 16)
        self.pair = nn.Linear(16, 16)
        self.out = nn.Linear(16, 16)
        self.layer = nn.TransformerEncoderLayer(16, 2, 24, batch_first=True, norm_first=True)

    def forward(self, x: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
        x = x + self.own(x, x, x, need_weights=False)[0]
        x = x + self.cross(x, memory, memory[..., :10])[0]
        query = self.query(x).unflatten(-1, (4, 4)).transpose(1, 2)
        key, value = self.pair(x).unflatten(-1, (4, 4)).transpose(1, 2).split(2, 1)
        key, value = key.repeat_interleave(2, 1), value.repeat_interleave(2, 1)
        y = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.layer(x + self.out(y.transpose(1, 2).flatten(2)))


class Tied(nn.Module):
    """The head multiplies with the embedding's table; one block runs twice; an activation follows every Linear."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(40, 12)
        self.block = nn.Sequential(nn.Linear(12, 12), nn.ReLU())
        self.fc = nn.Linear(12, 12)
        self.head = nn.Linear(12, 40, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.block(self.block(self.embedding(ids)))
        return self.head(torch.relu(self.fc(x)) * 0.5)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.SiLU()) for _ in range(2)
        )
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 2, 1), nn.ReLU(), nn.Conv2d(2, 8, 1))
        self.shuffle = nn.Sequential(nn.Conv2d(8, 12, 1), nn.PixelShuffle(2))
        self.head = nn.Linear(3, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.stem(x)))
        for block in self.blocks:
            x = x + block(x)
        x = self.shuffle(x * torch.sigmoid(self.gate(x)))
        return self.head(x.mean((2, 3)))


def _built(cls: Callable[[], nn.Module], **example: torch.Tensor) -> Callable[[], Built]:
    return lambda: (cls(), example)


MODELS: dict[str, Callable[[], Built]] = {
    "recurrences": _built(Recurrent, x=torch.randn(2, 7, 6)),
    "convolutions": _built(Convolutions, x=torch.randn(2, 4, 16)),
    "contractions": _built(Contractions, x=torch.randn(2, 7, 6)),
    "experts": _built(Experts, x=torch.randn(2, 5, 8)),
    "attentions": _built(Attentions, x=torch.randn(2, 6, 16), memory=torch.randn(2, 9, 12)),
    "tied": _built(Tied, ids=torch.randint(0, 40, (2, 6))),
    "residual": _built(Residual, x=torch.randn(2, 3, 12, 12)),
}


def get(name: str) -> Built:
    """A model in eval mode and its example, the same at every call."""
    torch.manual_seed(7)
    model, example = MODELS[name]()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean = 0.1 * torch.randn_like(module.running_mean)  # type: ignore[arg-type]
    return model.eval().requires_grad_(False), example
