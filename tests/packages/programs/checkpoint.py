"""A small checkpoint of random weights, as a training would leave one."""

import sys

import torch
import transformers

torch.manual_seed(0)
kind, folder = sys.argv[1:]
sizes = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "vocab_size": 100,
}
if kind == "bert":
    transformers.BertModel(transformers.BertConfig(**sizes)).save_pretrained(folder)
elif kind == "llama":
    transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes, num_key_value_heads=2)).save_pretrained(folder)
else:
    config = transformers.T5Config(vocab_size=100, d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2)
    config.decoder_start_token_id = 0
    transformers.T5ForConditionalGeneration(config).save_pretrained(folder)
