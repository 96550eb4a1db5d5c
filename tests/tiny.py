"""A tiny random model with its own tokenizer, and preference rows for it: small enough to train in seconds on a CPU.

Deterministic: the same arguments give the same weights, vocabulary and rows.
"""

import json
import random
from pathlib import Path

WORDS = [
    "the",
    "a",
    "cat",
    "dog",
    "bird",
    "helps",
    "answers",
    "question",
    "please",
    "what",
    "is",
    "why",
    "how",
    "sky",
    "blue",
    "water",
    "hot",
    "cold",
    "yes",
    "no",
    "thanks",
    "good",
    "bad",
    "very",
    "big",
    "small",
    "runs",
    "sleeps",
    "eats",
    "reads",
    "writes",
    "code",
    "python",
    "list",
    "loop",
]
CHAT_TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def _sentence(rng: random.Random, words: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(words))


def tiny_tokenizer():
    """Return a byte-level BPE tokenizer (about 400 tokens) trained on random sentences, with a chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    rng = random.Random(0)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=800,
        special_tokens=["<|pad|>", "<|im_start|>", "<|im_end|>", "<|endoftext|>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator([_sentence(rng, 30) for _ in range(500)], trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<|pad|>", eos_token="<|im_end|>", bos_token="<|endoftext|>"
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def tiny_model(path: str | Path, arch: str = "llama", hidden: int = 64, seed: int = 0) -> Path:
    """Write a random causal LM (125 k parameters; `arch` llama or qwen2) and its tokenizer to `path`; return it."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

    config_class, model_class = {"llama": (LlamaConfig, LlamaForCausalLM), "qwen2": (Qwen2Config, Qwen2ForCausalLM)}[
        arch
    ]
    tokenizer = tiny_tokenizer()
    torch.manual_seed(seed)
    config = config_class(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=hidden * 2,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
        tie_word_embeddings=False,
    )
    model_class(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return Path(path)


def tiny_preferences(path: str | Path, n: int = 32, kind: str = "preference", seed: int = 0) -> Path:
    """Write `n` JSON lines to the file `path` and return it.

    `kind` is TRL's dataset format: preference (prompt, chosen, rejected), unpaired (prompt, completion, label),
    language_modeling (text) or prompt_completion.
    """
    rng = random.Random(seed)
    rows = []
    for index in range(n):
        prompt, good, bad = "what is " + _sentence(rng, 5), "good " + _sentence(rng, 8), "bad " + _sentence(rng, 8)
        rows.append(
            {
                "preference": {"prompt": prompt, "chosen": good, "rejected": bad},
                "unpaired": {"prompt": prompt, "completion": good if index % 2 else bad, "label": bool(index % 2)},
                "language_modeling": {"text": f"{prompt} {good}"},
                "prompt_completion": {"prompt": prompt, "completion": good},
            }[kind]
        )
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Path(path)
