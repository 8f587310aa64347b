"""Models that see or hear: images, films, sound, also beside text."""

from __future__ import annotations

import torch
from models_common import BATCH, Builder, Built, hugging, image, numbers, text

_VIT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": 32,
    "patch_size": 8,
}
_LAYERS = {key: value for key, value in _VIT.items() if key not in ("image_size", "patch_size")}
_WAVES = {
    **_LAYERS,
    "conv_dim": (16, 16),
    "conv_stride": (5, 2),
    "conv_kernel": (10, 3),
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}


def _vision(kind: str, head: str = "ForImageClassification", size: int = 32, **more: object) -> Builder:
    return hugging(kind, head, lambda: image(size), **more)


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
    decoder = text(4)
    return transformers.WhisperModel(config), {
        "input_features": torch.randn(BATCH, 16, 40),
        "decoder_input_ids": decoder["input_ids"],
        "decoder_attention_mask": decoder["attention_mask"],
    }


MODELS: dict[str, Builder] = {
    "vit": _vision("ViT", **_VIT),
    "deit": _vision("DeiT", **_VIT),
    "beit": _vision("Beit", "Model", **_VIT),
    "dinov2": _vision("Dinov2", "Model", **_VIT, mlp_ratio=2),
    "siglip": _vision("SiglipVision", "Model", **_VIT),
    "yolos": _vision("Yolos", "ForObjectDetection", **{**_VIT, "image_size": [32, 32]}, num_detection_tokens=4),
    "timesformer": hugging("Timesformer", "Model", numbers("pixel_values", 2, 3, 32, 32), _VIT, num_frames=2),
    "videomae": hugging("VideoMAE", "Model", numbers("pixel_values", 2, 3, 32, 32), _VIT, num_frames=2, tubelet_size=2),
    "swin": _vision("Swin", image_size=32, patch_size=4, embed_dim=16, depths=[2, 2], num_heads=[2, 4], window_size=4),
    "swinv2": _vision(
        "Swinv2", image_size=32, patch_size=4, embed_dim=16, depths=[2, 2], num_heads=[2, 4], window_size=4
    ),
    "swin2sr": _vision(
        "Swin2SR",
        "ForImageSuperResolution",
        size=16,
        image_size=16,
        patch_size=1,
        embed_dim=12,
        depths=[2],
        num_heads=[2],
        window_size=4,
        upscale=2,
        mlp_ratio=2.0,
    ),
    "convnext": _vision("ConvNext", hidden_sizes=[16, 32], depths=[2, 2], num_stages=2),
    "convnextv2": _vision("ConvNextV2", hidden_sizes=[16, 32], depths=[2, 2], num_stages=2),
    "focalnet": _vision(
        "FocalNet",
        image_size=32,
        patch_size=4,
        embed_dim=16,
        hidden_sizes=[16, 32],
        depths=[1, 1],
        focal_levels=[2, 2],
        focal_windows=[3, 3],
    ),
    "poolformer": _vision("PoolFormer", size=64, depths=[1, 1, 1, 1], hidden_sizes=[8, 16, 16, 32]),
    "resnet": _vision("ResNet", size=64, embedding_size=16, hidden_sizes=[16, 32], depths=[2, 2], layer_type="basic"),
    "bit": _vision("Bit", size=64, embedding_size=16, hidden_sizes=[32, 64], depths=[1, 1], num_groups=4),
    "regnet": _vision("RegNet", size=64, embedding_size=16, hidden_sizes=[16, 32], depths=[1, 2], groups_width=8),
    "mobilenetv2": _vision("MobileNetV2", size=64, depth_multiplier=0.35),
    "efficientnet": _vision(
        "EfficientNet", "Model", size=64, width_coefficient=0.25, depth_coefficient=0.3, hidden_dim=320
    ),
    "mobilevit": _vision(
        "MobileViT",
        size=64,
        image_size=64,
        hidden_sizes=[16, 24, 32],
        neck_hidden_sizes=[8, 8, 16, 16, 24, 32, 40],
        num_attention_heads=2,
    ),
    "pvt": _vision(
        "Pvt",
        size=64,
        image_size=64,
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 16, 16, 32],
        num_attention_heads=[1, 2, 2, 4],
        mlp_ratios=[2, 2, 2, 2],
    ),
    "dpt": _vision(
        "DPT",
        "ForDepthEstimation",
        **{**_VIT, "num_hidden_layers": 4},
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 16, 16],
        reassemble_factors=[4, 2, 1, 0.5],
        fusion_hidden_size=16,
    ),
    "levit": _vision(
        "Levit",
        "Model",
        size=64,
        image_size=64,
        hidden_sizes=[16, 24, 32],
        num_attention_heads=[2, 2, 2],
        depths=[1, 1, 1],
        key_dim=[8, 8, 8],
    ),
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
    "clip": hugging(
        "CLIP",
        "Model",
        lambda: {**text(), **image()},
        text_config={**_LAYERS, "vocab_size": 100, "max_position_embeddings": 16},
        vision_config=_VIT,
        projection_dim=16,
    ),
    "perceiver": hugging(
        "Perceiver",
        "Model",
        numbers("inputs", 6, 32),
        d_model=32,
        d_latents=16,
        num_latents=8,
        num_blocks=1,
        num_self_attends_per_block=2,
        num_self_attention_heads=2,
        num_cross_attention_heads=2,
    ),
    "whisper": _whisper,
    "wav2vec2": hugging("Wav2Vec2", "Model", numbers("input_values", 400), _WAVES, vocab_size=32),
    "wavlm": hugging("WavLM", "Model", numbers("input_values", 400), _WAVES, vocab_size=32),
    "sew": hugging("SEW", "Model", numbers("input_values", 1600), _WAVES, squeeze_factor=2, num_feat_extract_layers=2),
    "ast": hugging(
        "AST",
        "Model",
        numbers("input_values", 32, 16),
        _LAYERS,
        max_length=32,
        num_mel_bins=16,
        patch_size=8,
        frequency_stride=4,
        time_stride=4,
    ),
    "patchtst": hugging(
        "PatchTST",
        "ForPrediction",
        numbers("past_values", 32, 3),
        num_input_channels=3,
        context_length=32,
        patch_length=8,
        patch_stride=8,
        d_model=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        ffn_dim=32,
        prediction_length=4,
    ),
    "dac": hugging(
        "Dac",
        "Model",
        numbers("input_values", 1, 256),
        encoder_hidden_size=8,
        downsampling_ratios=[2, 4],
        decoder_hidden_size=32,
        upsampling_ratios=[4, 2],
        n_codebooks=2,
        codebook_size=16,
        codebook_dim=4,
        hidden_size=32,
    ),
    "hifigan": hugging(
        "SpeechT5HifiGan",
        "",
        numbers("spectrogram", 12, 8),
        model_in_dim=8,
        upsample_initial_channel=16,
        upsample_rates=[4, 4],
        upsample_kernel_sizes=[8, 8],
        resblock_kernel_sizes=[3, 7],
        resblock_dilation_sizes=[[1, 3], [1, 3]],
    ),
}
