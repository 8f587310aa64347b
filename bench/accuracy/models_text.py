"""Models that read text: encoders, decoders, both; attention, recurrence, state spaces, Fourier transforms."""

from __future__ import annotations

from models_common import Builder, hugging, text, tokens, two_texts

_ENCODER = {
    "vocab_size": 100,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 40,
}
_DECODER = {
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
_GPT = {
    "vocab_size": 100,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 2,
    "n_positions": 32,
    "use_cache": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_STATES = {"vocab_size": 100, "hidden_size": 32, "num_hidden_layers": 2, "use_cache": False}
_BOTH = {
    "vocab_size": 100,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "max_position_embeddings": 32,
    "use_cache": False,
}


def _encoder(kind: str, **more: object) -> Builder:
    return hugging(kind, "Model", text, _ENCODER, **more)


def _decoder(kind: str, **more: object) -> Builder:
    return hugging(kind, "ForCausalLM", text, _DECODER, **more)


MODELS: dict[str, Builder] = {
    "bert": _encoder("Bert"),
    "roberta": _encoder("Roberta", pad_token_id=1),
    "electra": _encoder("Electra", embedding_size=16),
    "albert": _encoder("Albert", embedding_size=16),
    "deberta": _encoder("DebertaV2", relative_attention=True, pos_att_type=["p2c", "c2p"]),
    "distilbert": hugging(
        "DistilBert",
        "Model",
        text,
        vocab_size=100,
        dim=32,
        n_layers=2,
        n_heads=2,
        hidden_dim=64,
        max_position_embeddings=32,
    ),
    "mpnet": _encoder("MPNet"),
    "convbert": _encoder("ConvBert", embedding_size=32, head_ratio=2, conv_kernel_size=3),
    "roformer": _encoder("RoFormer", embedding_size=32),
    "modernbert": _encoder(
        "ModernBert",
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        cls_token_id=1,
        sep_token_id=2,
        local_attention=8,
        global_attn_every_n_layers=2,
        attn_implementation="eager",
    ),
    "squeezebert": _encoder("SqueezeBert", embedding_size=32, q_groups=2, k_groups=2, v_groups=2),
    "fnet": hugging("FNet", "Model", tokens, _ENCODER),
    "xlnet": hugging("XLNet", "Model", text, vocab_size=100, d_model=32, n_layer=2, n_head=4, d_inner=64),
    "gpt2": hugging("GPT2", "LMHeadModel", text, _GPT),
    "gptj": hugging("GPTJ", "ForCausalLM", text, _GPT, rotary_dim=8),
    "bigcode": hugging("GPTBigCode", "ForCausalLM", text, _GPT),
    "opt": _decoder("OPT", ffn_dim=64, word_embed_proj_dim=32),
    "llama": _decoder("Llama"),
    "qwen3": _decoder("Qwen3", head_dim=8),
    "gemma": _decoder("Gemma", head_dim=8),
    "gemma2": _decoder("Gemma2", head_dim=8),
    "phi": _decoder("Phi", num_key_value_heads=4),
    "phi3": _decoder("Phi3"),
    "olmo": _decoder("Olmo"),
    "starcoder2": _decoder("Starcoder2"),
    "gptneox": _decoder("GPTNeoX"),
    "falcon": hugging("Falcon", "ForCausalLM", text, _STATES, num_attention_heads=4, alibi=False),
    "bloom": hugging(
        "Bloom", "ForCausalLM", text, vocab_size=100, hidden_size=32, n_layer=2, n_head=4, use_cache=False
    ),
    "mamba": hugging("Mamba", "ForCausalLM", tokens, _STATES, state_size=4),
    "rwkv": hugging("Rwkv", "ForCausalLM", lambda: tokens(4), _STATES, attention_hidden_size=32, intermediate_size=64),
    "lfm2": _decoder("Lfm2", layer_types=["conv", "full_attention"], block_auto_adjust_ff_dim=False),
    "t5": hugging(
        "T5",
        "ForConditionalGeneration",
        two_texts,
        vocab_size=100,
        d_model=32,
        d_kv=16,
        d_ff=64,
        num_layers=2,
        num_heads=2,
        use_cache=False,
        decoder_start_token_id=0,
    ),
    "bart": hugging("Bart", "Model", two_texts, _BOTH),
    "m2m100": hugging("M2M100", "Model", two_texts, _BOTH, pad_token_id=1),
    "marian": hugging(
        "Marian", "MTModel", two_texts, _BOTH, pad_token_id=0, decoder_start_token_id=0, scale_embedding=True
    ),
}
