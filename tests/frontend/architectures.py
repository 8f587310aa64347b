"""Small models of many kinds with inputs. Weights are random, no two equal, so that values tell modules apart."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Built = tuple[nn.Module, Any]
BUILDERS: dict[str, Callable[[], Built]] = {}


def architecture(build: Callable[[], Built]) -> Callable[[], Built]:
    BUILDERS[build.__name__] = build
    return build


def get(name: str) -> Built:
    """The model in evaluation mode, and its inputs."""
    torch.manual_seed(0)
    model, example = BUILDERS[name]()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        for buffer_name, buffer in model.named_buffers():
            if buffer_name.endswith(("running_mean", "running_var")):
                buffer.add_(0.3 * torch.rand_like(buffer))
    return model.eval(), example


class SelfAttention(nn.Module):
    def __init__(self, width: int, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def split(self, x: Tensor) -> Tensor:
        return x.view(x.shape[0], x.shape[1], self.heads, -1).transpose(1, 2)

    def forward(self, x: Tensor, memory: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        memory = x if memory is None else memory
        query, key, value = self.split(self.query(x)), self.split(self.key(memory)), self.split(self.value(memory))
        scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
        if mask is not None:
            scores = scores.masked_fill(mask, -1e4)
        return self.out((scores.softmax(-1) @ value).transpose(1, 2).flatten(2))


class EncoderLayer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention = SelfAttention(width)
        self.norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        x = x + self.attention(x, mask=mask)
        return x + self.mlp(self.norm(x))


class DecoderLayer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.own, self.cross = SelfAttention(width), SelfAttention(width)
        self.norms = nn.ModuleDict({"own": nn.LayerNorm(width), "cross": nn.LayerNorm(width)})

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        x = x + self.own(self.norms["own"](x), mask=mask)
        return x + self.cross(self.norms["cross"](x), memory)


class Encoder(nn.Module):
    def __init__(self, width: int = 8, depth: int = 2) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, width)
        self.layer = nn.ModuleList(EncoderLayer(width) for _ in range(depth))

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        mask = None if attention_mask is None else (attention_mask == 0)[:, None, None, :]
        x = self.embedding(input_ids) * 3.0
        for layer in self.layer:
            x = layer(x, mask)
        return x


def tokens(length: int = 5) -> Tensor:
    return torch.randint(0, 20, (2, length))


@architecture
def encoder() -> Built:
    mask = torch.ones(2, 5, dtype=torch.long)
    mask[0, 3:] = 0
    return Encoder(), {"input_ids": tokens(), "attention_mask": mask}


@architecture
def decoder() -> Built:
    class Decoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(20, 8)
            self.h = nn.ModuleList(EncoderLayer(8) for _ in range(2))
            self.ln_1 = nn.LayerNorm(8)  # the name looks like the second call of "ln"
            self.head = nn.Linear(8, 20, bias=False)
            self.head.weight = self.embed.weight
            self.register_buffer("causal", torch.triu(torch.ones(5, 5, dtype=torch.bool), 1), persistent=False)

        def forward(self, ids: Tensor) -> Tensor:
            x = self.embed(ids)
            for block in self.h:
                x = block(x, self.causal)
            return self.head(self.ln_1(x))

    return Decoder(), (tokens(),)


@architecture
def encoder_decoder() -> Built:
    class Seq2Seq(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = Encoder(depth=1)
            self.decoder = nn.ModuleList([DecoderLayer(8), DecoderLayer(8)])
            self.register_buffer("causal", torch.triu(torch.ones(4, 4, dtype=torch.bool), 1))

        def forward(self, source: Tensor, target: Tensor) -> Tensor:
            memory = self.encoder(source)
            x = self.encoder.embedding(target)
            for layer in self.decoder:
                x = layer(x, memory, self.causal)
            return x

    return Seq2Seq(), {"source": tokens(), "target": tokens(4)}


@architecture
def vision_transformer() -> Built:
    class Patches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.projection = nn.Conv2d(3, 8, 4, stride=4)
            self.cls = nn.Parameter(torch.zeros(1, 1, 8))
            self.position = nn.Parameter(torch.zeros(1, 5, 8))

        def forward(self, image: Tensor) -> Tensor:
            x = self.projection(image).flatten(2).transpose(1, 2)
            return torch.cat([self.cls.expand(x.shape[0], -1, -1), x], 1) + self.position

    class Vit(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches = Patches()
            self.blocks = nn.Sequential(EncoderLayer(8), EncoderLayer(8))
            self.head = nn.Linear(8, 3)

        def forward(self, image: Tensor) -> Tensor:
            return self.head(self.blocks(self.patches(image))[:, 0])

    return Vit(), torch.randn(2, 3, 8, 8)


@architecture
def convolutional() -> Built:
    class Block(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)
            self.conv1, self.conv2 = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
            self.relu = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv1(self.relu(self.norm1(x)))
            return x + self.conv2(self.relu(self.norm2(torch.tanh(y))))

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 4, 3)
            self.stages = nn.ModuleList(nn.Sequential(Block(4)) for _ in range(2))
            self.pool = nn.AdaptiveAvgPool2d(1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            for stage in self.stages:
                x = stage(x)
            return self.pool(x).flatten(1)

    return Net(), torch.randn(2, 3, 8, 8)


@architecture
def state_space() -> Built:
    class Mixer(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.in_proj, self.out_proj = nn.Linear(width, 2 * width), nn.Linear(width, width)
            self.conv = nn.Conv1d(width, width, 3, groups=width, padding=2)
            self.A_log = nn.Parameter(torch.rand(width))

        def forward(self, x: Tensor) -> Tensor:
            x, gate = self.in_proj(x).chunk(2, -1)
            x = functional.silu(self.conv(x.transpose(1, 2))[..., : x.shape[1]]).transpose(1, 2)
            decay, state, outs = torch.exp(-torch.exp(self.A_log)), torch.zeros_like(x[:, 0]), []
            for step in range(x.shape[1]):
                state = state * decay + x[:, step]
                outs.append(state)
            return self.out_proj(torch.stack(outs, 1) * functional.silu(gate))

    class Mamba(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embeddings = nn.Embedding(20, 6)
            self.layers = nn.ModuleList(Mixer(6) for _ in range(2))

        def forward(self, ids: Tensor) -> Tensor:
            x = self.embeddings(ids)
            for layer in self.layers:
                x = x + layer(x)
            return x

    return Mamba(), (tokens(4),)


@architecture
def speech() -> Built:
    class Speech(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.ModuleList([nn.Conv1d(1, 8, 4, 2), nn.Conv1d(8, 8, 3, 2)])
            self.act = nn.GELU()
            self.recurrent = nn.GRU(8, 8, batch_first=True)
            self.encoder = nn.ModuleList([EncoderLayer(8)])

        def forward(self, wave: Tensor) -> Tensor:
            x = wave[:, None]
            for conv in self.features:
                x = self.act(conv(x))
            x, _ = self.recurrent(x.transpose(1, 2))
            for layer in self.encoder:
                x = layer(x)
            return x.log_softmax(-1)

    return Speech(), torch.randn(2, 40)


@architecture
def detection() -> Built:
    class Detector(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2))
            self.query = nn.Embedding(3, 8)
            self.attention = SelfAttention(8)
            self.heads = nn.ModuleDict({"label": nn.Linear(8, 4), "box": nn.Sequential(nn.Linear(8, 4), nn.Sigmoid())})

        def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
            memory = self.backbone(image).flatten(2).transpose(1, 2)
            queries = self.query.weight[None].expand(image.shape[0], -1, -1)
            x = queries + self.attention(queries, memory)
            center, size = self.heads["box"](x).chunk(2, -1)
            return self.heads["label"](x), torch.cat([center - size / 2, center + size / 2], -1)

    return Detector(), {"image": torch.randn(2, 3, 16, 16)}


@architecture
def unet() -> Built:
    class Double(nn.Module):
        def __init__(self, into: int, out: int) -> None:
            super().__init__()
            self.conv1, self.conv2 = nn.Conv2d(into, out, 3, padding=1), nn.Conv2d(out, out, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(self.conv2(torch.relu(self.conv1(x))))

    class UNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down = nn.ModuleList([Double(1, 4), Double(4, 8)])
            self.up = nn.ModuleList([nn.ConvTranspose2d(8, 4, 2, stride=2)])
            self.merge = nn.ModuleList([Double(8, 4)])
            self.pool = nn.MaxPool2d(2)

        def forward(self, x: Tensor) -> Tensor:
            skip = self.down[0](x)
            x = self.down[1](self.pool(skip))
            return self.merge[0](torch.cat([skip, self.up[0](x)], 1))

    return UNet(), torch.randn(1, 1, 8, 8)


@architecture
def weight_shared() -> Built:
    class Albert(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.project = nn.Linear(4, 8)
            self.layer = EncoderLayer(8)
            self.again = self.layer
            self.tied = nn.Linear(8, 8)
            self.tied.weight = self.layer.attention.out.weight

        def forward(self, x: Tensor) -> Tensor:
            x = self.project(x)
            for _ in range(2):
                x = self.layer(x)
            return self.tied(self.again(x))

    return Albert(), torch.randn(2, 3, 4)


@architecture
def looped_recursive() -> Built:
    class Recursive(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(6, 6)

        def forward(self, x: Tensor, depth: int = 2) -> Tensor:
            return self(torch.tanh(self.fc(x)), depth - 1) if depth else x * 1.5

    class Holder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Recursive()

    class Looped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.Linear(6, 6)
            self.holder = Holder()
            self.direct = nn.Linear(6, 6)

        def forward(self, x: Tensor) -> Tensor:
            for _ in range(3):
                x = torch.sigmoid(self.cell(x)) + x
            return self.direct.forward(self.holder.inner(x))

    return Looped(), torch.randn(2, 6)


def _scale(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor]:
    return (args[0] - 0.25,)


def _shift(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return output * 3.0 + 1.0


@torch.jit.script
def scripted(x: Tensor) -> Tensor:
    return x * 2.0 + x.sigmoid()


@architecture
def hooked() -> Built:
    class Inner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(6, 6)

        def forward(self, x: Tensor) -> Tensor:
            return scripted(self.fc(x))

    class Hooked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = Inner(), nn.Linear(6, 6)
            for module in (self.first, self.second):
                module.register_forward_pre_hook(_scale)
                module.register_forward_hook(_shift)

        def forward(self, x: Tensor) -> Tensor:
            return torch.tanh(self.second(self.first(x))) - 0.75

    return Hooked(), torch.randn(2, 6)
