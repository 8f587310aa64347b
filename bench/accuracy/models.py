"""Small random-initialised models from public definitions, and one made to be awkward.

``get(name)`` gives (model in eval mode, example keyword arguments). Parameters and statistics are shifted a little, so
that no two are equal by accident, as in a trained model.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import torch
import torch.nn as nn

Example = dict[str, torch.Tensor]
Built = tuple[nn.Module, Example]
BATCH, LENGTH = 2, 8


def _text(length: int = LENGTH) -> Example:
    mask = torch.ones(BATCH, length, dtype=torch.long)
    return {"input_ids": torch.randint(3, 99, (BATCH, length)), "attention_mask": mask}


def _image(size: int = 32) -> Example:
    return {"pixel_values": torch.randn(BATCH, 3, size, size)}


def _bert_like(kind: str, **more: object) -> Callable[[], Built]:
    def build() -> Built:
        import transformers

        sizes = {
            "vocab_size": 100,
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 64,
            "max_position_embeddings": 40,
        }
        config = getattr(transformers, f"{kind}Config")(**{**sizes, **more})
        return getattr(transformers, f"{kind}Model")(config), _text()

    return build


def _causal(kind: str, **more: object) -> Callable[[], Built]:
    def build() -> Built:
        import transformers

        sizes = {
            "vocab_size": 100,
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "intermediate_size": 64,
            "max_position_embeddings": 32,
            "use_cache": False,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
        }
        config = getattr(transformers, f"{kind}Config")(**{**sizes, **more})
        return getattr(transformers, f"{kind}ForCausalLM")(config), _text()

    return build


def _vision(kind: str, head: str = "ForImageClassification", size: int = 32, **more: object) -> Callable[[], Built]:
    def build() -> Built:
        import transformers

        config = getattr(transformers, f"{kind}Config")(**more)
        return getattr(transformers, f"{kind}{head}")(config), _image(size)

    return build


_VIT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": 32,
    "patch_size": 8,
}


def _distilbert() -> Built:
    import transformers

    config = transformers.DistilBertConfig(
        vocab_size=100, dim=32, n_layers=2, n_heads=2, hidden_dim=64, max_position_embeddings=32
    )
    return transformers.DistilBertModel(config), _text()


def _gpt2() -> Built:
    import transformers

    config = transformers.GPT2Config(
        vocab_size=100, n_embd=32, n_layer=2, n_head=2, n_positions=32, use_cache=False, bos_token_id=1, eos_token_id=2
    )
    return transformers.GPT2LMHeadModel(config), _text()


def _t5() -> Built:
    import transformers

    config = transformers.T5Config(
        vocab_size=100,
        d_model=32,
        d_kv=16,
        d_ff=64,
        num_layers=2,
        num_heads=2,
        use_cache=False,
        decoder_start_token_id=0,
    )
    return transformers.T5ForConditionalGeneration(config), {**_text(), "decoder_input_ids": _text(4)["input_ids"]}


def _bart() -> Built:
    import transformers

    config = transformers.BartConfig(
        vocab_size=100,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_position_embeddings=32,
        use_cache=False,
    )
    return transformers.BartModel(config), {**_text(), "decoder_input_ids": _text(4)["input_ids"]}


def _whisper() -> Built:
    import transformers

    config = transformers.WhisperConfig(
        vocab_size=100,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        num_mel_bins=16,
        max_source_positions=20,
        max_target_positions=32,
        use_cache=False,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )
    decoder = _text(4)
    return transformers.WhisperModel(config), {
        "input_features": torch.randn(BATCH, 16, 40),
        "decoder_input_ids": decoder["input_ids"],
        "decoder_attention_mask": decoder["attention_mask"],
    }


def _wav2vec2() -> Built:
    import transformers

    config = transformers.Wav2Vec2Config(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        conv_dim=(16, 16),
        conv_stride=(5, 2),
        conv_kernel=(10, 3),
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
        vocab_size=32,
    )
    return transformers.Wav2Vec2Model(config), {"input_values": torch.randn(BATCH, 400)}


def _mamba() -> Built:
    import transformers

    config = transformers.MambaConfig(
        vocab_size=100, hidden_size=32, num_hidden_layers=2, state_size=4, use_cache=False
    )
    return transformers.MambaForCausalLM(config), {"input_ids": _text()["input_ids"]}


def _clip() -> Built:
    import transformers

    text = {**_VIT, "vocab_size": 100, "max_position_embeddings": 16}
    text = {k: v for k, v in text.items() if k not in ("image_size", "patch_size")}
    config = transformers.CLIPConfig(text_config=text, vision_config=dict(_VIT), projection_dim=16)
    return transformers.CLIPModel(config), {**_text(), **_image()}


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


MODELS: dict[str, Callable[[], Built]] = {
    "bert": _bert_like("Bert"),
    "roberta": _bert_like("Roberta", pad_token_id=1),
    "electra": _bert_like("Electra", embedding_size=16),
    "albert": _bert_like("Albert", embedding_size=16),
    "deberta": _bert_like("DebertaV2", relative_attention=True, pos_att_type=["p2c", "c2p"]),
    "distilbert": _distilbert,
    "gpt2": _gpt2,
    "opt": _causal("OPT", ffn_dim=64, word_embed_proj_dim=32),
    "llama": _causal("Llama"),
    "qwen3": _causal("Qwen3", head_dim=8),
    "gemma": _causal("Gemma", head_dim=8),
    "phi": _causal("Phi", num_key_value_heads=4),
    "mamba": _mamba,
    "t5": _t5,
    "bart": _bart,
    "whisper": _whisper,
    "wav2vec2": _wav2vec2,
    "vit": _vision("ViT", **_VIT),
    "deit": _vision("DeiT", **_VIT),
    "swin": _vision("Swin", image_size=32, patch_size=4, embed_dim=16, depths=[2, 2], num_heads=[2, 4], window_size=4),
    "convnext": _vision("ConvNext", hidden_sizes=[16, 32], depths=[2, 2], num_stages=2),
    "resnet": _vision("ResNet", size=64, embedding_size=16, hidden_sizes=[16, 32], depths=[2, 2], layer_type="basic"),
    "mobilenetv2": _vision("MobileNetV2", size=64, depth_multiplier=0.35),
    "segformer": _vision(
        "Segformer",
        size=64,
        num_encoder_blocks=2,
        depths=[1, 1],
        sr_ratios=[2, 1],
        hidden_sizes=[16, 32],
        num_attention_heads=[1, 2],
        patch_sizes=[7, 3],
        strides=[4, 2],
        mlp_ratios=[2, 2],
        decoder_hidden_size=32,
    ),
    "clip": _clip,
    "awkward": lambda: (_Awkward(), {"image": torch.randn(BATCH, 3, 16, 16)}),
}


def get(name: str) -> Built:
    """A model and its example, the same at every call."""
    torch.manual_seed(zlib.crc32(name.encode()))
    model, example = MODELS[name]()
    model.eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.requires_grad_(False)
            parameter.add_(0.02 * torch.randn_like(parameter))
        for key, buffer in model.named_buffers():
            if key.endswith(("running_mean", "running_var")):
                buffer.add_(0.02 * torch.rand_like(buffer))
    return model, example
