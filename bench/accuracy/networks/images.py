"""Networks that see, written by hand as users write them, each by other conventions."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
import torch.nn as nn
from models_common import BATCH, Builder, numbers


class _Vgg(nn.Module):
    """Convolutions, activations and pools in one list by number, as in torchvision; so is what classifies."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inside, outside in ((3, 8), (8, 16), (16, 16)):
            layers += [nn.Conv2d(inside, outside, 3, padding=1), nn.BatchNorm2d(outside), nn.ReLU(), nn.MaxPool2d(2)]
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(2)
        self.classifier = nn.Sequential(
            nn.Linear(64, 32), nn.ReLU(), nn.Dropout(), nn.Linear(32, 32), nn.ReLU(), nn.Dropout(), nn.Linear(32, 5)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


class _DenseLayer(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.norm1, self.relu1, self.conv1 = nn.BatchNorm2d(size), nn.ReLU(), nn.Conv2d(size, 16, 1, bias=False)
        self.norm2, self.relu2, self.conv2 = nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 8, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, self.conv2(self.relu2(self.norm2(self.conv1(self.relu1(self.norm1(x))))))], 1)


class _Dense(nn.Module):
    """Dense blocks of norms before convolutions, with activations that have names, and some that are functions."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential()
        self.features.add_module("conv0", nn.Conv2d(3, 8, 3, padding=1, bias=False))
        self.features.add_module("denseblock1", nn.Sequential(*(_DenseLayer(8 + 8 * at) for at in range(3))))
        self.features.add_module("transition1", nn.Sequential(nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 8, 1)))
        self.features.add_module("pool", nn.AvgPool2d(2))
        self.features.add_module("denseblock2", nn.Sequential(*(_DenseLayer(8 + 8 * at) for at in range(2))))
        self.features.add_module("norm5", nn.BatchNorm2d(24))
        self.classifier = nn.Linear(24, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.relu(self.features(x))
        return self.classifier(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))


class _Bottleneck(nn.Module):
    """Functions between norms, one activation that all share, a projection by number."""

    def __init__(self, inside: int, size: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inside, size, 1, bias=False), nn.BatchNorm2d(size)
        self.conv2, self.bn2 = nn.Conv2d(size, size, 3, stride, 1, bias=False), nn.BatchNorm2d(size)
        self.conv3, self.bn3 = nn.Conv2d(size, 2 * size, 1, bias=False), nn.BatchNorm2d(2 * size)
        self.relu = nn.ReLU()
        self.downsample = nn.Sequential(nn.Conv2d(inside, 2 * size, 1, stride, bias=False), nn.BatchNorm2d(2 * size))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn3(self.conv3(self.relu(self.bn2(self.conv2(y)))))
        return self.relu(y + self.downsample(x))


class _Pyramid(nn.Module):
    """A residual backbone whose levels meet by sums of functions, and one head for all levels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1, self.maxpool = nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.MaxPool2d(2)
        self.layer1 = nn.Sequential(_Bottleneck(8, 8, 1), _Bottleneck(16, 8, 1))
        self.layer2 = nn.Sequential(_Bottleneck(16, 16, 2), _Bottleneck(32, 16, 1))
        self.lateral = nn.ModuleList([nn.Conv2d(16, 16, 1), nn.Conv2d(32, 16, 1)])
        self.output = nn.ModuleList([nn.Conv2d(16, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1)])
        self.head = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 6, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        fine = self.layer1(self.maxpool(torch.relu(self.bn1(self.conv1(x)))))
        levels = [lateral(x) for lateral, x in zip(self.lateral, (fine, self.layer2(fine)), strict=True)]
        levels[0] = levels[0] + nn.functional.interpolate(levels[1], scale_factor=2.0)
        found = [self.head(output(x)).flatten(2) for output, x in zip(self.output, levels, strict=True)]
        return torch.cat(found, 2).sigmoid()


class _DenseResidual(nn.Module):
    """Five convolutions that read all before, one activation for all, sums that are scaled: super-resolution."""

    def __init__(self, size: int, grow: int) -> None:
        super().__init__()
        for at in range(4):
            self.add_module(f"conv{at + 1}", nn.Conv2d(size + at * grow, grow, 3, padding=1))
        self.conv5 = nn.Conv2d(size + 4 * grow, size, 3, padding=1)
        self.lrelu = nn.LeakyReLU(0.2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        held = [x]
        for at in range(4):
            held.append(self.lrelu(self.get_submodule(f"conv{at + 1}")(torch.cat(held, 1))))
        return self.conv5(torch.cat(held, 1)) * 0.2 + x


class _Upscaler(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv_first = nn.Conv2d(3, 8, 3, padding=1)
        self.body = nn.Sequential(*(_DenseResidual(8, 4) for _ in range(3)))
        self.conv_body, self.conv_up = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 32, 3, padding=1)
        self.shuffle, self.conv_last = nn.PixelShuffle(2), nn.Conv2d(8, 3, 3, padding=1)
        self.lrelu = nn.LeakyReLU(0.2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv_first(x)
        x = x + self.conv_body(self.body(x))
        return self.conv_last(self.lrelu(self.shuffle(self.conv_up(x)))).clamp(0, 1)


class _Generator(nn.Module):
    """One list of transposed convolutions, norms and activations."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inside, outside in ((8, 16), (16, 8), (8, 8)):
            layers += [nn.ConvTranspose2d(inside, outside, 4, 2, 1, bias=False), nn.BatchNorm2d(outside), nn.ReLU(True)]
        self.main = nn.Sequential(*layers, nn.ConvTranspose2d(8, 3, 4, 2, 1, bias=False), nn.Tanh())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.main(x.view(x.shape[0], 8, 1, 1))


class _ConvNorm(nn.Sequential):
    def __init__(self, inside: int, outside: int, *act: nn.Module) -> None:
        super().__init__(nn.Conv2d(inside, outside, 3, padding=1, bias=False), nn.BatchNorm2d(outside), *act)


class _Squeeze(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.avgpool, self.activation, self.scale_activation = nn.AdaptiveAvgPool2d(1), nn.ReLU(), nn.Hardsigmoid()
        self.fc1, self.fc2 = nn.Conv2d(size, 8, 1), nn.Conv2d(8, size, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale_activation(self.fc2(self.activation(self.fc1(self.avgpool(x)))))


class _Inverted(nn.Module):
    """Widen, weigh the channels, narrow: lists in lists; those that keep the size add their input."""

    def __init__(self, inside: int, outside: int, act: type[nn.Module]) -> None:
        super().__init__()
        wide = 2 * inside
        self.block = nn.Sequential(
            _ConvNorm(inside, wide, act()), _ConvNorm(wide, wide, act()), _Squeeze(wide), _ConvNorm(wide, outside)
        )
        self.adds = inside == outside

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.block(x) if self.adds else self.block(x)


class _Inverts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        kinds = ((8, 8, nn.ReLU), (8, 16, nn.ReLU), (16, 16, nn.Hardswish), (16, 16, nn.Hardswish))
        self.features = nn.Sequential(_ConvNorm(3, 8, nn.Hardswish()), *(_Inverted(*kind) for kind in kinds))
        self.classifier = nn.Sequential(nn.Linear(16, 32), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(32, 5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(nn.functional.adaptive_avg_pool2d(self.features(x), 1).flatten(1))


class _Step(nn.Module):
    """A block of a denoising network: activations as functions, the time's product added, a projection where needed."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(4, inside), nn.Conv2d(inside, outside, 3, padding=1)
        self.norm2, self.conv2 = nn.GroupNorm(4, outside), nn.Conv2d(outside, outside, 3, padding=1)
        self.temb_proj = nn.Linear(16, outside)
        if inside != outside:
            self.nin_shortcut = nn.Conv2d(inside, outside, 1)

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        y = self.conv1(nn.functional.silu(self.norm1(x)))
        y = y + self.temb_proj(nn.functional.silu(time))[:, :, None, None]
        y = self.conv2(nn.functional.silu(self.norm2(y)))
        return y + (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x)


class _Across(nn.Module):
    """Attention over an image by convolutions of width one."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.norm, self.proj_out = nn.GroupNorm(4, size), nn.Conv2d(size, size, 1)
        self.q, self.k, self.v = nn.Conv2d(size, size, 1), nn.Conv2d(size, size, 1), nn.Conv2d(size, size, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(x)
        q, k, v = self.q(y).flatten(2), self.k(y).flatten(2), self.v(y).flatten(2)
        found = v @ (q.transpose(1, 2) @ k * x.shape[1] ** -0.5).softmax(2).transpose(1, 2)
        return x + self.proj_out(found.view(x.shape))


class _Denoiser(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.temb = nn.Module()
        self.temb.dense = nn.ModuleList([nn.Linear(8, 16), nn.Linear(16, 16)])
        self.conv_in, self.conv_out = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 3, padding=1)
        self.down = nn.ModuleList([_Step(8, 8), _Step(8, 16)])
        self.downsample, self.upsample = nn.Conv2d(8, 8, 3, 2, 1), nn.Conv2d(16, 16, 3, padding=1)
        self.mid = nn.Module()
        self.mid.block_1, self.mid.attn_1, self.mid.block_2 = _Step(16, 16), _Across(16), _Step(16, 16)
        self.up = nn.ModuleList([_Step(32, 16), _Step(24, 8)])
        self.norm_out = nn.GroupNorm(4, 8)

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        angles = time * torch.exp(-torch.arange(4, dtype=time.dtype))
        first, second = self.temb.dense
        time = second(nn.functional.silu(first(torch.cat([angles.sin(), angles.cos()], 1))))
        fine = self.down[0](self.conv_in(x), time)
        low = self.down[1](self.downsample(fine), time)
        y = self.mid.block_2(self.mid.attn_1(self.mid.block_1(low, time)), time)
        y = self.up[0](torch.cat([y, low], 1), time)
        y = self.upsample(nn.functional.interpolate(y, scale_factor=2.0))
        y = self.up[1](torch.cat([y, fine], 1), time)
        return self.conv_out(nn.functional.silu(self.norm_out(y)))


class _Residual(nn.Module):
    """A wrapper that norms what goes into a function and adds it to what comes out."""

    def __init__(self, size: int, fn: nn.Module) -> None:
        super().__init__()
        self.norm, self.fn = nn.LayerNorm(size), fn

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.fn(self.norm(x)) + x
        return y


def _feed(size: int, wide: int, kind: Callable[..., nn.Module] = nn.Linear) -> nn.Sequential:
    return nn.Sequential(kind(size, wide), nn.GELU(), nn.Dropout(0.1), kind(wide, size), nn.Dropout(0.1))


class _Mixer(nn.Sequential):
    """Patches that are mixed along both axes, all of it in lists by number."""

    def __init__(self) -> None:
        across = functools.partial(nn.Conv1d, kernel_size=1)
        blocks = (nn.Sequential(_Residual(24, _feed(16, 32, across)), _Residual(24, _feed(24, 48))) for _ in range(3))
        patches = (nn.Conv2d(3, 24, 4, 4), nn.Flatten(2), _Swap())
        super().__init__(*patches, *blocks, nn.LayerNorm(24), _Mean(), nn.Linear(24, 5))


class _Swap(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.transpose(1, 2)


class _Mean(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(1)


class _ToHeads(nn.Module):
    """Attention whose products and output are lists by number, held in pairs with the layer that follows."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.norm, self.attend, self.dropout = nn.LayerNorm(size), nn.Softmax(-1), nn.Dropout(0.1)
        self.to_qkv = nn.Linear(size, 96, bias=False)
        self.to_out = nn.Sequential(nn.Linear(32, size), nn.Dropout(0.1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (p.unflatten(-1, (4, 8)).transpose(1, 2) for p in self.to_qkv(self.norm(x)).chunk(3, -1))
        found = self.dropout(self.attend(q @ k.transpose(-1, -2) * 8**-0.5)) @ v
        y: torch.Tensor = self.to_out(found.transpose(1, 2).flatten(2))
        return y


class _Pairs(nn.Module):
    """An image transformer with sums in its loop, a class token and positions as parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Sequential(nn.LayerNorm(48), nn.Linear(48, 24), nn.LayerNorm(24))
        self.cls_token, self.positions = nn.Parameter(torch.randn(1, 1, 24)), nn.Parameter(torch.randn(1, 17, 24))
        self.layers = nn.ModuleList(
            nn.ModuleList([_ToHeads(24), nn.Sequential(nn.LayerNorm(24), *_feed(24, 48))]) for _ in range(3)
        )
        self.norm, self.mlp_head = nn.LayerNorm(24), nn.Linear(24, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.unflatten(3, (4, 4)).unflatten(2, (4, 4)).permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)
        x = torch.cat((self.cls_token.expand(x.shape[0], -1, -1), self.patch(x)), 1) + self.positions
        for attention, feed in self.layers:  # type: ignore[misc]
            x = attention(x) + x
            x = feed(x) + x
        y: torch.Tensor = self.mlp_head(self.norm(x)[:, 0])
        return y


MODELS: dict[str, Builder] = {
    "vgg": lambda: (_Vgg(), numbers("x", 3, 16, 16)()),
    "dense": lambda: (_Dense(), numbers("x", 3, 16, 16)()),
    "pyramid": lambda: (_Pyramid(), numbers("x", 3, 32, 32)()),
    "upscaler": lambda: (_Upscaler(), numbers("x", 3, 12, 12)()),
    "generator": lambda: (_Generator(), numbers("x", 8)()),
    "inverted": lambda: (_Inverts(), numbers("x", 3, 16, 16)()),
    "denoiser": lambda: (_Denoiser(), {**numbers("x", 3, 8, 8)(), "time": torch.rand(BATCH, 1)}),
    "mixer": lambda: (_Mixer(), numbers("input", 3, 16, 16)()),
    "pairs": lambda: (_Pairs(), numbers("x", 3, 16, 16)()),
}
