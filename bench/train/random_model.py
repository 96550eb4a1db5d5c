"""Writes a Llama of a known shape with random bf16 weights: for speed and memory only the shape counts.

Usage: python -m bench.train.random_model SHAPE TOKENIZER_FOLDER FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

# hidden, intermediate, layers, heads, key-value heads (config.json of Llama 3.2 1B, Llama 3.2 3B and Llama 3.1 8B)
SHAPES = {
    "1b": (2048, 8192, 16, 32, 8),
    "3b": (3072, 8192, 28, 24, 8),
    "8b": (4096, 14336, 32, 32, 8),
}


def write(shape: str, tokenizer_folder: str, folder: Path) -> None:
    """A model folder that `from_pretrained` loads, with the tokenizer of another model and its vocabulary."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    hidden, intermediate, layers, heads, kv_heads = SHAPES[shape]
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=8192,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
        dtype=torch.bfloat16,
    )
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    write(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
