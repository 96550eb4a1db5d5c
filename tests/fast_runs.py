"""Trainers with and without the optimizations, on one tiny model and one batch: what their equality tests share."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from tests.tiny import WORDS, tiny_tokenizer
from tests.trainer_runs import Bench

PIECES = (
    *("completionHead", "packedPairs", "skipAdapterCasts", "fusedAdapterSum", "selectiveCheckpointing"),
    "wideProducts",
)
OFF = dict.fromkeys(PIECES, False)
ON = dict.fromkeys(OFF, True)


def only(*names: str) -> dict[str, bool]:
    return OFF | dict.fromkeys(names, True)


def pairs(n: int = 12, seed: int = 0) -> list[dict[str, str]]:
    """Preference rows of many lengths; completions that begin alike, and some that max_length 64 cuts."""
    source = random.Random(seed)

    def words(least: int, most: int) -> str:
        return " ".join(source.choice(WORDS) for _ in range(source.randint(least, most)))

    return [
        {
            "prompt": "what is " + words(1, 14),
            "chosen": ("yes " if index % 3 == 0 else "good ") + words(0, 30),
            "rejected": "yes " + words(0, 30),
        }
        for index in range(n)
    ]


def build(bench: Bench, recipe: dict[str, Any], switches: dict[str, bool], method: str = "dpo", **run: Any) -> Any:
    """The trainer of a run, as train.py builds it."""
    from alignment_trainer.config import load_config
    from alignment_trainer.data import load_datasets
    from alignment_trainer.lifecycle import NoLifecycle
    from alignment_trainer.train import build_trainer

    config = load_config(*bench.files(recipe, method, optimizations=switches, **run))
    return build_trainer(config, NoLifecycle(), *load_datasets(config))


def wake_adapters(model: Any) -> None:
    """At first the policy is the reference: rewards are zero, and LoRA's B is, with half of the gradients."""
    import torch

    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        if parameter.requires_grad:
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float32)
            parameter.data += (0.02 * noise).to(parameter.dtype)


def one_batch(trainer: Any) -> dict[str, Any]:
    """Loss, gradients and metrics of the first batch; `gradients` are by name, all else is a number."""
    import torch

    wake_adapters(trainer.model)
    torch.manual_seed(0)
    batch = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
    return batch_numbers(trainer, batch)


def batch_numbers(trainer: Any, batch: dict[str, Any]) -> dict[str, Any]:
    import torch

    trainer.model.train()
    trainer.model.zero_grad()
    trainer._metrics["train"].clear()
    loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    gradients = {name: p.grad.clone() for name, p in trainer.model.named_parameters() if p.grad is not None}
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(grad) for grad in gradients.values()]))
    metrics = {name: sum(values) / len(values) for name, values in trainer._metrics["train"].items()}
    return {"loss": loss.item(), "grad_norm": norm.item(), "gradients": gradients, **metrics}


def logged(trainer: Any, but: tuple[str, ...] = ()) -> list[dict[str, float]]:
    """What a whole run logs, record by record, without its times and without names that end like one of `but`."""
    trainer.train()
    left_out = ("runtime", "per_second", "flos", *but)
    records = trainer.state.log_history
    return [{name: value for name, value in record.items() if not name.endswith(left_out)} for record in records]


def assert_same(ours: dict[str, Any], stock: dict[str, Any], norm: float = 1e-5) -> None:
    """fp32: 1e-5 relative (`norm`: the gradient's), a parameter's gradient 1e-4 of its norm; rewards 1e-4 absolute."""
    import pytest
    import torch

    assert ours.keys() == stock.keys()
    # k-bit training has bf16 adapters: what goes through them is rounded to 8 bits
    is_rounded = any(gradient.dtype == torch.bfloat16 for gradient in stock["gradients"].values())
    allowed, norm = (1e-2, 1e-3) if is_rounded else (1e-4, norm)
    for name, value in stock.items():
        if name == "gradients":
            assert ours[name].keys() == value.keys()
            for parameter, gradient in value.items():
                difference = torch.linalg.vector_norm((ours[name][parameter] - gradient).float())
                assert difference <= allowed * torch.linalg.vector_norm(gradient.float()) + 1e-6, parameter
        elif "rewards" in name and "accuracies" not in name:
            assert ours[name] == pytest.approx(value, abs=1e-4), name
        elif name == "num_tokens":
            assert ours[name] == value
        elif name == "grad_norm":
            assert ours[name] == pytest.approx(value, rel=norm), name
        else:
            assert ours[name] == pytest.approx(value, rel=1e-5, abs=1e-7), name


ARCHITECTURES = {
    "llama": {"num_key_value_heads": 2, "tie_word_embeddings": True},
    "smollm3": {"num_key_value_heads": 2, "no_rope_layer_interval": 2},
    "mistral": {"num_key_value_heads": 2, "sliding_window": None},
    "qwen2": {"num_key_value_heads": 2},
    "qwen3": {"num_key_value_heads": 2, "head_dim": 16},
    "gemma": {"num_key_value_heads": 1, "head_dim": 16},
    "gemma2": {"num_key_value_heads": 2, "head_dim": 16},
    "gemma3_text": {"num_key_value_heads": 2, "head_dim": 16, "sliding_window": 128},
    "phi3": {"num_key_value_heads": 2},
}


def architecture(folder: Path, name: str, **fields: Any) -> Path:
    """A tiny random causal LM of transformers' model_type `name`, with its tokenizer; two layers, hidden size 64."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    tokenizer = tiny_tokenizer()
    size = {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 512,
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": tokenizer.bos_token_id,
    }
    torch.manual_seed(0)
    config = AutoConfig.for_model(name, **(size | ARCHITECTURES.get(name, {}) | fields))
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
