"""Networks over texts, sounds, points and tables, written by hand as users write them."""

from __future__ import annotations

import torch
import torch.nn as nn
from models_common import BATCH, Builder, numbers


class _Heads(nn.Module):
    """Attention as researchers write it: one product for all, views and products as functions."""

    def __init__(self, size: int, *, bias: bool = True) -> None:
        super().__init__()
        self.c_attn, self.c_proj = nn.Linear(size, 3 * size, bias=bias), nn.Linear(size, size, bias=bias)
        self.register_buffer("bias", torch.tril(torch.ones(16, 16)).view(1, 1, 16, 16))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows, length, size = x.shape
        q, k, v = (part.view(rows, length, 4, size // 4).transpose(1, 2) for part in self.c_attn(x).split(size, 2))
        scores = (q @ k.transpose(-2, -1)) * (size // 4) ** -0.5
        scores = scores.masked_fill(self.bias[:, :, :length, :length] == 0, float("-inf")).softmax(-1)
        return self.c_proj((scores @ v).transpose(1, 2).reshape(rows, length, size))


class _Block(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.ln_1, self.ln_2, self.attn = nn.LayerNorm(size), nn.LayerNorm(size), _Heads(size, bias=False)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(size, 64), "act": nn.GELU(), "c_proj": nn.Linear(64, size)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attn(self.ln_1(x))
        y: torch.Tensor = x + self.mlp["c_proj"](self.mlp["act"](self.mlp["c_fc"](self.ln_2(x))))
        return y


class _Nano(nn.Module):
    """A small language model whose parts are in dictionaries."""

    def __init__(self) -> None:
        super().__init__()
        self.transformer = nn.ModuleDict(
            {"wte": nn.Embedding(50, 32), "wpe": nn.Embedding(16, 32), "h": nn.ModuleList(_Block(32) for _ in range(3))}
        )
        self.transformer["ln_f"] = nn.LayerNorm(32)
        self.lm_head = nn.Linear(32, 50, bias=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.transformer["wte"](ids) + self.transformer["wpe"](torch.arange(ids.shape[1]))
        for block in self.transformer["h"]:  # type: ignore[union-attr]
            x = block(x)
        y: torch.Tensor = self.lm_head(self.transformer["ln_f"](x))
        return y


class _Gated(nn.Module):
    """A dilated layer with two gates, whose result goes on and aside."""

    def __init__(self, size: int, dilation: int) -> None:
        super().__init__()
        self.dilated = nn.Conv1d(size, 2 * size, 3, padding=dilation, dilation=dilation)
        self.conditions, self.out = nn.Conv1d(6, 2 * size, 1), nn.Conv1d(size, 2 * size, 1)

    def forward(self, x: torch.Tensor, hints: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        gate, value = (self.dilated(x) + self.conditions(hints)).chunk(2, 1)
        kept, aside = self.out(torch.sigmoid(gate) * torch.tanh(value)).chunk(2, 1)
        return (x + kept) / 2**0.5, aside


class _Waves(nn.Module):
    """A stack of gated layers whose skips are summed, as vocoders and diffusion over sound have it."""

    def __init__(self) -> None:
        super().__init__()
        self.input_projection, self.output_projection = nn.Conv1d(1, 12, 1), nn.Conv1d(12, 1, 1)
        self.step = nn.Sequential(nn.Linear(8, 16), nn.SiLU(), nn.Linear(16, 12))
        self.residual_layers = nn.ModuleList(_Gated(12, 2**at) for at in range(4))
        self.skip_projection = nn.Conv1d(12, 12, 1)

    def forward(self, audio: torch.Tensor, hints: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.input_projection(audio))
        angles = time * torch.exp(-torch.arange(4, dtype=time.dtype))
        x = x + self.step(torch.cat((angles.sin(), angles.cos()), 1)).unsqueeze(-1)
        skips = []
        for layer in self.residual_layers:
            x, aside = layer(x, hints)
            skips.append(aside)
        y: torch.Tensor = self.output_projection(torch.relu(self.skip_projection(sum(skips) / len(skips) ** 0.5)))
        return y


class _Convoluted(nn.Module):
    """A block of speech recognition: half a feed forward, attention, gated convolutions, the other half."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.ff1, self.ff2 = (nn.Sequential(nn.LayerNorm(size), nn.Linear(size, 48), nn.SiLU(), nn.Dropout(0.1),
                                            nn.Linear(48, size)) for _ in range(2))  # fmt: skip
        self.norm_att, self.attention = nn.LayerNorm(size), nn.MultiheadAttention(size, 4, batch_first=True)
        self.norm_conv, self.norm_final = nn.LayerNorm(size), nn.LayerNorm(size)
        self.pointwise_conv1, self.glu = nn.Conv1d(size, 2 * size, 1), nn.GLU(1)
        self.depthwise_conv = nn.Conv1d(size, size, 5, padding=2, groups=size)
        self.batch_norm, self.activation = nn.BatchNorm1d(size), nn.SiLU()
        self.pointwise_conv2 = nn.Conv1d(size, size, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + 0.5 * self.ff1(x)
        y = self.norm_att(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        y = self.glu(self.pointwise_conv1(self.norm_conv(x).transpose(1, 2)))
        y = self.activation(self.batch_norm(self.depthwise_conv(y)))
        x = x + self.pointwise_conv2(y).transpose(1, 2)
        return self.norm_final(x + 0.5 * self.ff2(x))


class _Hearer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.subsampling = nn.Sequential(nn.Conv2d(1, 8, 3, 2), nn.ReLU(), nn.Conv2d(8, 8, 3, 2), nn.ReLU())
        self.linear, self.dropout = nn.Linear(24, 24), nn.Dropout(0.1)
        self.layers = nn.ModuleList(_Convoluted(24) for _ in range(2))
        self.decoder = nn.Conv1d(24, 10, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.subsampling(x.unsqueeze(1)).transpose(1, 2).flatten(2)
        x = self.dropout(self.linear(x))
        for layer in self.layers:
            x = layer(x)
        return self.decoder(x.transpose(1, 2)).log_softmax(1)


class _Positions(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("pe", torch.randn(1, 32, size))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.pe[:, : x.shape[1]]


class _Translator(nn.Module):
    """torch's own transformer, encoder and decoder, between embeddings that are scaled."""

    def __init__(self) -> None:
        super().__init__()
        self.src_tok_emb, self.tgt_tok_emb = nn.Embedding(40, 24), nn.Embedding(40, 24)
        self.positional_encoding, self.generator = _Positions(24), nn.Linear(24, 40)
        self.transformer = nn.Transformer(24, 4, 2, 2, 48, batch_first=True)

    def forward(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        mask = torch.full((target.shape[1], target.shape[1]), float("-inf")).triu(1)
        a = self.positional_encoding(self.src_tok_emb(source) * 24**0.5)
        b = self.positional_encoding(self.tgt_tok_emb(target) * 24**0.5)
        return self.generator(self.transformer(a, b, tgt_mask=mask))


class _Temporal(nn.Module):
    """Two dilated convolutions, cut to be causal, in one list; the sum has an activation."""

    def __init__(self, inside: int, size: int, dilation: int) -> None:
        super().__init__()
        self.pad = dilation
        self.net = nn.Sequential(
            nn.Conv1d(inside, size, 2, dilation=dilation, padding=dilation),
            _Chomp(dilation),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Conv1d(size, size, 2, dilation=dilation, padding=dilation),
            _Chomp(dilation),
            nn.ReLU(),
            nn.Dropout(0.1),
        )
        self.downsample = nn.Conv1d(inside, size, 1) if inside != size else None
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.relu(self.net(x) + (x if self.downsample is None else self.downsample(x)))


class _Chomp(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, :, : -self.size]


class _Causal(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tcn = nn.Module()
        self.tcn.network = nn.Sequential(_Temporal(4, 12, 1), _Temporal(12, 12, 2), _Temporal(12, 12, 4))
        self.linear = nn.Linear(12, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(self.tcn.network(x)[:, :, -1])


class _Reader(nn.Module):
    """Text in images: convolutions by number, recurrent layers each with a product of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.cnn = nn.Sequential()
        for at, (inside, outside) in enumerate(((1, 8), (8, 16), (16, 16))):
            self.cnn.add_module(f"conv{at}", nn.Conv2d(inside, outside, 3, padding=1))
            if at:
                self.cnn.add_module(f"batchnorm{at}", nn.BatchNorm2d(outside))
            self.cnn.add_module(f"relu{at}", nn.ReLU())
            self.cnn.add_module(f"pooling{at}", nn.MaxPool2d(2))
        self.rnn = nn.ModuleList([nn.LSTM(32, 12, bidirectional=True), nn.LSTM(12, 12, bidirectional=True)])
        self.embedding = nn.ModuleList([nn.Linear(24, 12), nn.Linear(24, 10)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.cnn(x).flatten(1, 2).permute(2, 0, 1)
        for rnn, embedding in zip(self.rnn, self.embedding, strict=True):
            x = embedding(rnn(x)[0])
        return x.log_softmax(2)


class _Points(nn.Module):
    """A cloud of points: convolutions of width one, activations as functions, a transform that is learnt."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3 = nn.Conv1d(3, 16, 1), nn.Conv1d(16, 32, 1), nn.Conv1d(32, 32, 1)
        self.bn1, self.bn2, self.bn3 = nn.BatchNorm1d(16), nn.BatchNorm1d(32), nn.BatchNorm1d(32)
        self.turn = nn.Sequential(nn.Conv1d(3, 8, 1), nn.BatchNorm1d(8), nn.ReLU(), nn.AdaptiveMaxPool1d(1))
        self.fc, self.fc1, self.fc2 = nn.Linear(8, 9), nn.Linear(32, 16), nn.Linear(16, 4)

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        turn = self.fc(self.turn(points).flatten(1)).view(-1, 3, 3) + torch.eye(3)
        x = torch.bmm(points.transpose(2, 1), turn).transpose(2, 1)
        x = torch.relu(self.bn1(self.conv1(x)))
        x = self.bn3(self.conv3(torch.relu(self.bn2(self.conv2(x))))).amax(2)
        return self.fc2(nn.functional.dropout(torch.relu(self.fc1(x)), training=self.training)).log_softmax(-1)


class _Clicks(nn.Module):
    """Tables and numbers that meet in products of all pairs, as recommenders do."""

    def __init__(self) -> None:
        super().__init__()
        self.emb_l = nn.ModuleList(nn.Embedding(20, 8) for _ in range(4))
        self.bot_l = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU())
        self.top_l = nn.Sequential(nn.Linear(33, 16), nn.ReLU(), nn.Linear(16, 1), nn.Sigmoid())

    def forward(self, x: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        x = self.bot_l(x)
        tables = torch.stack([x, *(table(ids[:, at]) for at, table in enumerate(self.emb_l))], 1)
        pairs = torch.bmm(tables, tables.transpose(1, 2)).flatten(1)
        return self.top_l(torch.cat([x, pairs], 1))


class _Field(nn.Module):
    """A radiance field: waves of positions, a list of products with a skip, branches at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.pts_linears = nn.ModuleList([nn.Linear(27, 16)] + [nn.Linear(16 + 27 * (at == 2), 16) for at in range(5)])
        self.views_linears = nn.ModuleList([nn.Linear(19, 8)])
        self.feature_linear, self.alpha_linear, self.rgb_linear = nn.Linear(16, 16), nn.Linear(16, 1), nn.Linear(8, 3)

    def forward(self, points: torch.Tensor, views: torch.Tensor) -> torch.Tensor:
        waves = torch.cat([points] + [f(points * 2.0**at) for at in range(4) for f in (torch.sin, torch.cos)], -1)
        x = waves
        for at, linear in enumerate(self.pts_linears):
            x = torch.relu(linear(x))
            if at == 2:
                x = torch.cat([waves, x], -1)
        alpha, x = self.alpha_linear(x), torch.cat([self.feature_linear(x), views], -1)
        for linear in self.views_linears:
            x = torch.relu(linear(x))
        return torch.cat([self.rgb_linear(x), alpha], -1)


MODELS: dict[str, Builder] = {
    "nano": lambda: (_Nano(), {"ids": torch.randint(0, 50, (BATCH, 9))}),
    "waves": lambda: (
        _Waves(),
        {**numbers("audio", 1, 24)(), **numbers("hints", 6, 24)(), "time": torch.rand(BATCH, 1)},
    ),
    "hearer": lambda: (_Hearer(), numbers("x", 24, 16)()),
    "translator": lambda: (
        _Translator(),
        {"source": torch.randint(0, 40, (BATCH, 7)), "target": torch.randint(0, 40, (BATCH, 5))},
    ),
    "causal": lambda: (_Causal(), numbers("x", 4, 16)()),
    "reader": lambda: (_Reader(), numbers("x", 1, 16, 32)()),
    "points": lambda: (_Points(), numbers("points", 3, 20)()),
    "clicks": lambda: (_Clicks(), {**numbers("x", 6)(), "ids": torch.randint(0, 20, (BATCH, 4))}),
    "field": lambda: (_Field(), {**numbers("points", 3)(), **numbers("views", 3)()}),
}
