"""Runs in the trainer image: what an adapter learned to prefer, measured on held-out pairs. Prints JSON.

Usage: margin.py MODEL ADAPTER PAIRS.jsonl BETA MAX_LENGTH

The reward margin of a pair (Rafailov et al. 2023, eq. 7; TRL's `rewards/margins`), in nats, is
beta * ((log p(chosen) - log p_ref(chosen)) - (log p(rejected) - log p_ref(rejected))).
The reference is the model without the adapter, quantized as it was in training. Before training the policy is the
reference, so every margin is 0 by definition; what is measured before and after is log p(chosen) - log p(rejected).
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
from transformers.utils.logging import disable_progress_bar

BATCH = 4  # pairs; similar lengths together, so that little is padded

Answer = tuple[list[int], int]  # token ids of prompt and answer, length of the prompt


def main(model_path: str, adapter: str, pairs: str, beta: float, max_length: int) -> None:
    disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(model_path)
    rows = [json.loads(line) for line in Path(pairs).read_text().splitlines()]
    encoded = [pair for row in rows if (pair := encode(tokenizer, row, max_length))]
    encoded.sort(key=lambda pair: max(len(tokens) for tokens, _ in pair))
    model = load(model_path, adapter)
    with model.disable_adapter():
        before = preferences(model, encoded)
    after = preferences(model, encoded)
    margins = beta * (after - before)
    measured = {
        "pairs": len(encoded),
        "tooLong": len(rows) - len(encoded),
        "before": before.mean().item(),
        "after": after.mean().item(),
        "margin": margins.mean().item(),
        "preferred": int((margins > 0).sum()),
    }
    print(json.dumps(measured))


def load(model_path: str, adapter: str) -> PeftModel:
    """The 4-bit weights of the training, expanded once to the bf16 values that each of its steps computed with."""
    quantization = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
    )
    base = AutoModelForCausalLM.from_pretrained(model_path, dtype=torch.bfloat16, quantization_config=quantization)
    return PeftModel.from_pretrained(base.dequantize(dtype=torch.bfloat16), adapter).eval()


def encode(tokenizer: Any, row: dict, max_length: int) -> list[Answer] | None:
    """Chosen and rejected, cut at `max_length` tokens as in training; None if the prompt alone fills them."""
    prompt = ids(tokenizer, row["prompt"], add_generation_prompt=True)
    if len(prompt) >= max_length:
        return None
    return [(ids(tokenizer, row["prompt"] + row[kind])[:max_length], len(prompt)) for kind in ("chosen", "rejected")]


def ids(tokenizer: Any, messages: list[dict], **options: bool) -> list[int]:
    return tokenizer.apply_chat_template(messages, tokenize=True, return_dict=True, **options)["input_ids"]


@torch.no_grad()
def preferences(model: PeftModel, pairs: list[list[Answer]]) -> torch.Tensor:
    """log p(chosen) - log p(rejected) of each pair, summed over the answers' tokens, in nats: shape (pairs,)."""
    batches = [pairs[start : start + BATCH] for start in range(0, len(pairs), BATCH)]
    found = [log_probabilities(model, [answer for pair in batch for answer in pair]) for batch in batches]
    return torch.cat([values[0::2] - values[1::2] for values in found])


def log_probabilities(model: PeftModel, answers: list[Answer]) -> torch.Tensor:
    """Sum of the answer tokens' log-probabilities: shape (answers,)."""
    padded = torch.nn.utils.rnn.pad_sequence([torch.tensor(tokens) for tokens, _ in answers], batch_first=True)
    position = torch.arange(padded.shape[1])
    lengths = torch.tensor([[len(tokens), prompt] for tokens, prompt in answers])
    answer = (position >= lengths[:, 1:]) & (position < lengths[:, :1])
    # Padding stands on the right, where no token of an answer can see it: no attention mask is needed.
    logits = model(input_ids=padded).logits[:, :-1][answer[:, 1:]].float()
    chosen = logits.gather(1, padded[answer][:, None])[:, 0] - logits.logsumexp(-1)
    return torch.stack([part.sum() for part in chosen.split(answer.sum(1).tolist())])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4]), int(sys.argv[5]))
