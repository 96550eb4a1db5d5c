"""Tokens that SFT brought into a model (`chatTemplatePath`): merged, and where a run starts from the adapter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainer_runs import LORA, Bench

TOKENS = ["<|think|>", "<|/think|>", "<|tool|>"]


@pytest.fixture(scope="module")
def tokenizer_with_more_tokens(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `chatTemplatePath` may name: a tokenizer with a chat template and tokens that the model lacks."""
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("template")
    tokenizer = AutoTokenizer.from_pretrained(bench.model)
    tokenizer.add_tokens(TOKENS, special_tokens=True)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def conversations(bench: Bench) -> Path:
    rows = [json.loads(line) for line in (bench.data() / "train.jsonl").read_text().splitlines()]
    turns = {"user": "prompt", "assistant": "chosen"}
    return bench.rows([{"messages": [{"role": r, "content": row[c]} for r, c in turns.items()]} for row in rows])


def logits(folder: Path, adapter: Path | None = None, tokens: int | None = None) -> torch.Tensor:
    """Of a fixed sentence, with the model in a folder, or with an adapter on it and its vocabulary made so large."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(adapter or folder)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype="float32")
    if adapter:
        model.resize_token_embeddings(tokens)
        model = PeftModel.from_pretrained(model, adapter)
    with torch.no_grad():
        return model.eval()(**tokenizer("what is <|think|> blue <|tool|>", return_tensors="pt")).logits


def test_merged_weights_have_the_tokens_that_the_chat_template_brought(
    bench: Bench, tokenizer_with_more_tokens: Path, conversations: Path
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    recipe = bench.recipe(
        **LORA, chat_template_path=str(tokenizer_with_more_tokens), dataset_name=str(conversations), dtype="float32"
    )
    done = bench.run(recipe, "sft", merge=True)
    merged = done.output / done.artifacts["merged"]
    tokenizer = AutoTokenizer.from_pretrained(merged)
    model = AutoModelForCausalLM.from_pretrained(merged)
    tokens = len(tokenizer)
    assert set(TOKENS) <= tokenizer.get_vocab().keys()
    assert model.get_input_embeddings().weight.shape[0] == model.config.vocab_size == tokens
    assert tokens > AutoModelForCausalLM.from_pretrained(bench.model).config.vocab_size
    torch.testing.assert_close(logits(merged), logits(bench.model, done.output, tokens), atol=1e-5, rtol=1e-5)


def test_a_run_starts_from_an_adapter_with_new_tokens(bench: Bench, tokenizer_with_more_tokens: Path) -> None:
    """SFT, not merged, then DPO from its adapter (`model.fromJob`), merged: every token that SFT brought is there."""
    from transformers import AutoTokenizer

    turns = [{"role": "user", "content": "what is"}, {"role": "assistant", "content": "<|think|> blue <|tool|>"}]
    talk, pairs = {"messages": turns}, {"prompt": "what is", "chosen": "<|think|> blue", "rejected": "<|tool|> hot"}
    template = {"chat_template_path": str(tokenizer_with_more_tokens), "dtype": "float32"}
    sft = bench.run(bench.recipe(**LORA, **template, dataset_name=str(bench.rows([talk] * 16))), "sft")
    tokens = len(AutoTokenizer.from_pretrained(sft.output))
    recipe = bench.recipe(dataset_name=str(bench.rows([pairs] * 16)), dtype="float32")
    dpo = bench.run(recipe, adapterNameOrPath=str(sft.output), merge=True)

    first, *_, last = (record for record in dpo.trainer.state.log_history if "loss" in record)
    assert first["rewards/chosen"] == first["rewards/rejected"] == 0.0, "the reference has all that SFT learnt"
    assert last["rewards/chosen"] != 0.0
    assert len(dpo.trainer.processing_class) == tokens
    trained = logits(bench.model, dpo.output, tokens)
    assert not torch.allclose(trained, logits(bench.model, sft.output, tokens), atol=1e-5)
    torch.testing.assert_close(logits(dpo.output / "merged"), trained, atol=1e-5, rtol=1e-5)
