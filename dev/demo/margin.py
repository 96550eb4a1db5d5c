"""Runs in the trainer image: the mean reward margin of an adapter on held-out pairs. Prints JSON.

Usage: margin.py MODEL ADAPTER PAIRS.jsonl BETA MAX_LENGTH

The reward margin of a pair (Rafailov et al. 2023, eq. 7; TRL's `rewards/margins`), in nats, is
beta * ((log p(chosen) - log p_ref(chosen)) - (log p(rejected) - log p_ref(rejected))).
The reference is the model without the adapter, quantized as it was in training. Before training the policy is the
reference, so every margin is 0 and no pair is preferred.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
from transformers.utils.logging import disable_progress_bar


def main(model_path: str, adapter: str, pairs: str, beta: float, max_length: int) -> None:
    disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(model_path)
    rows = [json.loads(line) for line in Path(pairs).read_text().splitlines()]
    encoded = [encode(tokenizer, row, max_length) for row in rows]
    usable = [pair for pair in encoded if pair is not None]
    model = load(model_path, adapter)
    margins = [beta * margin(model, pair) for pair in usable]
    preferred = sum(value > 0 for value in margins)
    mean = sum(margins) / len(margins)
    print(
        json.dumps({"pairs": len(usable), "tooLong": len(rows) - len(usable), "margin": mean, "preferred": preferred})
    )


def load(model_path: str, adapter: str) -> PeftModel:
    quantization = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
    )
    base = AutoModelForCausalLM.from_pretrained(model_path, dtype=torch.bfloat16, quantization_config=quantization)
    return PeftModel.from_pretrained(base, adapter).eval()


def encode(tokenizer: Any, row: dict, max_length: int) -> list[tuple[torch.Tensor, int]] | None:
    """(token ids of shape (1, length), length of the prompt) of chosen and rejected; None if the prompt is too long."""
    prompt = ids(tokenizer, row["prompt"], add_generation_prompt=True)
    if len(prompt) >= max_length:
        return None
    answers = [ids(tokenizer, row["prompt"] + row[kind]) for kind in ("chosen", "rejected")]
    return [(torch.tensor([answer[:max_length]]), len(prompt)) for answer in answers]


def ids(tokenizer: Any, messages: list[dict], **options: bool) -> list[int]:
    return tokenizer.apply_chat_template(messages, tokenize=True, return_dict=True, **options)["input_ids"]


def margin(model: PeftModel, pair: list[tuple[torch.Tensor, int]]) -> float:
    with model.disable_adapter():
        reference = preference(model, pair)
    return preference(model, pair) - reference


@torch.no_grad()
def preference(model: PeftModel, pair: list[tuple[torch.Tensor, int]]) -> float:
    """log p(chosen) - log p(rejected), summed over the answers' tokens, in nats."""
    chosen, rejected = (log_probability(model, tokens, prompt) for tokens, prompt in pair)
    return chosen - rejected


def log_probability(model: PeftModel, tokens: torch.Tensor, prompt: int) -> float:
    logits = model(input_ids=tokens).logits[0, prompt - 1 : -1].float()
    return torch.log_softmax(logits, -1).gather(1, tokens[0, prompt:, None]).sum().item()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4]), int(sys.argv[5]))
