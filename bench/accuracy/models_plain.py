"""Networks written by hand with torch alone: ordinary ones, and ones made to be awkward."""

from __future__ import annotations

import torch
import torch.nn as nn
from models_common import BATCH, Builder, Built, numbers


class _Leaf(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(size, size) / size**0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x @ self.weight)


class _Again(nn.Module):
    """Calls itself."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.inner = nn.Linear(size, size)

    def forward(self, x: torch.Tensor, times: int = 2) -> torch.Tensor:
        return self(torch.tanh(self.inner(x)), times - 1) if times else x


class _Unit(nn.Module):
    """Attributes that look like call suffixes, and functional code beside modules."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(size)
        self.ln_2 = nn.LayerNorm(size)
        self.proj = nn.Linear(size, 3 * size)
        self.act = nn.GELU()
        self.out_1 = nn.Linear(size, size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a, b, c = self.proj(self.ln_1(x)).chunk(3, -1)
        scores = torch.softmax(a @ b.transpose(-1, -2) / a.shape[-1] ** 0.5, -1)
        return x + self.out_1(self.act(self.ln_2(scores @ c)))


@torch.jit.script
def _scripted(x: torch.Tensor) -> torch.Tensor:
    return x * 2.0 + x.sigmoid()


class _Awkward(nn.Module):
    """Shared, tied, recursive, hooked and nested modules, a holder that is never called, functions between modules."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1))
        self.shared = nn.Linear(16, 16)
        self.alias = self.shared
        self.tied = nn.Linear(16, 16)
        self.tied.weight = self.shared.weight
        self.units = nn.ModuleList([_Unit(16), _Unit(16)])
        self.table = nn.ModuleDict({"left": _Leaf(16), "right": _Leaf(16)})
        self.holder = nn.Module()
        self.holder.inside = _Leaf(16)
        self.again = _Again(16)
        self.hooked = nn.Linear(16, 16)
        self.hooked.register_forward_hook(lambda module, inputs, output: output * 3.0 + 1.0)
        self.hooked.register_forward_pre_hook(lambda module, inputs: (inputs[0] - 0.5,))
        self.tail = nn.Sequential(nn.Linear(16, 16), nn.Sequential(nn.LayerNorm(16), nn.SiLU()), nn.Linear(16, 4))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        y = self.stem(image).flatten(2).transpose(1, 2)
        y = self.alias(self.shared(y) * 2) + self.tied(y)
        for unit in self.units:
            y = unit(y)
        y = self.table["left"](y) - self.table["right"](y)
        y = self.again(self.holder.inside(y))
        y = _scripted(self.hooked(y))
        y = torch.nn.functional.layer_norm(y, (16,)).view(y.shape[0], -1, 4, 4).mean(1).flatten(1)
        return self.tail(y)


class _Pair(nn.Module):
    """Children whose names differ by what looks like a call suffix."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.layer_1 = nn.Linear(size, size)
        self.layer_1_1 = nn.Linear(size, size)
        self.layer = _Leaf(size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(self.layer_1(x) + self.layer(self.layer_1_1(x))) * x.mean(-1, keepdim=True)


class _Names(nn.Module):
    """Modules called like operators, like numbers and like call suffixes."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.layer_1 = _Pair(size)
        self.block_2_3 = _Pair(size)
        self.MatMul = nn.Linear(size, size, bias=False)
        self.Add = _Leaf(size)
        self.Relu_1 = nn.ReLU()
        self.Constant = nn.LayerNorm(size)
        self.add_module("0", nn.Linear(size, size))
        self.add_module("1", _Leaf(size))
        self.Add_1 = nn.Linear(size, size)
        self.Reshape = nn.Flatten(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.block_2_3(self.layer_1(x))
        y = self.Relu_1(self.MatMul(y))
        y = self.Add(y) + y
        y = self.get_submodule("1")(self.get_submodule("0")(y))
        y = self.Add_1(self.Add(self.Constant(y)))
        return self.Reshape(y) + self.layer_1(x).sum()


class _Nested(nn.Module):
    """Sequentials in sequentials, numbers as keys, a part called three times and one called out of turn."""

    def __init__(self, size: int) -> None:
        super().__init__()
        inner = nn.Sequential(nn.Linear(size, size), nn.ReLU(), nn.Sequential(_Leaf(size), nn.GELU()))
        self.seq = nn.Sequential(inner, nn.Linear(size, size), nn.Sequential(nn.Sequential(nn.LayerNorm(size))))
        ten = nn.ModuleList([_Leaf(size), nn.Linear(size, size)])
        self.table = nn.ModuleDict({"0": nn.Linear(size, size), "1": nn.ModuleDict({"2": _Leaf(size), "10": ten})})
        self.thrice = nn.Sequential(nn.Linear(size, size), nn.SiLU(), nn.Softmax(-1))
        self.holder = nn.Module()
        self.holder.leaf_1 = _Leaf(size)
        self.holder.leaf = _Leaf(size)
        self.scale = nn.ParameterList([nn.Parameter(torch.randn(size)) for _ in range(2)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.seq(x)
        x = self.table["0"](x) + self.table["1"]["2"](x)
        for part in self.table["1"]["10"]:
            x = part(x)
        for _ in range(3):
            x = self.thrice(x) * self.scale[0] + self.scale[1]
        x = self.holder.leaf(self.holder.leaf(self.holder.leaf_1(x)))
        return self.seq[0](x)


class _Chain(nn.Module):
    """Each module has one child; only the last does anything."""

    def __init__(self, size: int, depth: int) -> None:
        super().__init__()
        self.only = _Chain(size, depth - 1) if depth else nn.Linear(size, size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.only(x)


class _Twins(nn.Module):
    """Two lists of one class, a norm that all share, tied weights, blocks that are never called."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.enc = nn.ModuleList([_Pair(size) for _ in range(6)])
        self.dec = nn.ModuleList([_Pair(size) for _ in range(3)])
        self.norm = nn.LayerNorm(size)
        self.shared = self.enc[1].layer
        self.tied = nn.Linear(size, size)
        self.tied.weight = self.dec[0].layer_1.weight
        self.blocks = nn.ModuleList(
            [
                nn.ModuleDict({"lin": nn.Linear(size, size), "act": nn.GELU(), "ln_1": nn.LayerNorm(size)})
                for _ in range(2)
            ]
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for part in self.enc:
            x = self.norm(part(x))
        x = self.shared(x)
        for part in self.dec:
            x = x + part(x)
        for block in self.blocks:
            x = block["act"](block["lin"](block["ln_1"](x))).clamp(min=0) + x
        return self.tied(x.flatten(0, 1)).view(x.shape)


class _ConvNorm(nn.Sequential):
    def __init__(self, inside: int, outside: int, act: nn.Module) -> None:
        super().__init__(nn.Conv2d(inside, outside, 3, padding=1, bias=False), nn.BatchNorm2d(outside), act)


class _UNet(nn.Module):
    """Down, up and across, with a gate of channels."""

    def __init__(self) -> None:
        super().__init__()
        self.down_1 = nn.Sequential(_ConvNorm(3, 8, nn.ReLU()), _ConvNorm(8, 8, nn.ReLU()))
        self.down_2 = nn.Sequential(_ConvNorm(8, 16, nn.Hardswish()), _ConvNorm(16, 16, nn.SiLU()))
        self.pool = nn.MaxPool2d(2)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 16), nn.Sigmoid())
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        self.widen = nn.ConvTranspose2d(16, 16, 3, padding=1)
        self.head = nn.Conv2d(24, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = self.down_1(x)
        b = self.down_2(self.pool(a))
        b = self.widen(b * self.gate(b)[:, :, None, None])
        return self.head(torch.cat([a, self.up(b)], 1))


class _Recurrent(nn.Module):
    """torch's own transformer layers, LSTM and GRU."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.emb = nn.Embedding(50, size)
        layer = nn.TransformerEncoderLayer(size, 2, 2 * size, batch_first=True)
        self.enc_1 = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.lstm = nn.LSTM(size, size, batch_first=True)
        self.gru = nn.GRU(size, size, batch_first=True, bidirectional=True)
        self.out = nn.Linear(2 * size, 50)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        x, _ = self.lstm(self.enc_1(self.emb(words)))
        x, _ = self.gru(x)
        return self.out(x).log_softmax(-1)


def _recurrent() -> Built:
    torch.backends.mha.set_fastpath_enabled(False)  # one fused operator, which no exporter knows
    return _Recurrent(16), {"words": torch.randint(0, 50, (BATCH, 6))}


def _plain(build: type[nn.Module], *sizes: int) -> Builder:
    return lambda: (build(*sizes), numbers("x", 5, 8)())


MODELS: dict[str, Builder] = {
    "awkward": lambda: (_Awkward(), numbers("image", 3, 16, 16)()),
    "names": _plain(_Names, 8),
    "nested": _plain(_Nested, 8),
    "chain": _plain(_Chain, 8, 6),
    "twins": _plain(_Twins, 8),
    "unet": lambda: (_UNet(), numbers("x", 3, 16, 16)()),
    "recurrent": _recurrent,
}
