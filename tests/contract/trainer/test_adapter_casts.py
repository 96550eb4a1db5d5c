"""LoRA layers that leave the cast of their input to autocast, and cast it themselves where there is none."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import TrainerCallback

from tests.fast_runs import OFF, ON, build, only, pairs, wake_adapters
from tests.trainer_runs import LORA, Bench

BF16 = LORA | {"lora_dropout": 0.0, "dtype": "bfloat16", "bf16": True, "max_length": 64, "max_steps": 1}
PROMPT = torch.arange(1, 9).view(1, 8)


def trainer(bench: Bench, switches: dict[str, bool]) -> Any:
    built = build(bench, bench.recipe(dataset_name=str(bench.rows(pairs())), **BF16), switches)
    wake_adapters(built.model)
    return built


class Samples(TrainerCallback):
    """What many a callback does: text from the model, outside the autocast of the trainer's own forwards."""

    def __init__(self) -> None:
        self.made: list[torch.Tensor] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        assert not torch.is_autocast_enabled("cpu")
        text = given["model"].generate(input_ids=PROMPT, min_new_tokens=4, max_new_tokens=4, do_sample=False)
        self.made.append(text)


@pytest.mark.parametrize("switches", [only("skipAdapterCasts"), ON], ids=["casts alone", "every piece"])
def test_a_callback_may_generate_from_bf16_weights(bench: Bench, switches: dict[str, bool]) -> None:
    ours, samples = trainer(bench, switches), Samples()
    assert ours.optimizations["skipAdapterCasts"] == "on"
    ours.add_callback(samples)
    ours.train()
    (text,) = samples.made
    assert text.shape == (1, 12)


def test_outside_autocast_the_numbers_are_pefts(bench: Bench) -> None:
    stock, ours = (trainer(bench, switches).model.eval() for switches in (OFF, only("skipAdapterCasts")))
    with torch.no_grad():
        assert torch.equal(ours(input_ids=PROMPT).logits, stock(input_ids=PROMPT).logits)


def test_under_autocast_no_copy_in_fp32_is_made(bench: Bench) -> None:
    """Every digit stays: PEFT's cast to fp32 is undone by autocast."""
    stock, ours = (trainer(bench, switches).model.eval() for switches in (OFF, only("skipAdapterCasts")))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        seen = [dtypes_into_adapters(model) for model in (stock, ours)]
        assert torch.equal(ours(input_ids=PROMPT).logits, stock(input_ids=PROMPT).logits)
    assert seen == [{torch.float32}, {torch.bfloat16}]


def dtypes_into_adapters(model: Any) -> set[torch.dtype]:
    """Of the inputs that `lora_A` of every layer is given in one forward."""
    seen: set[torch.dtype] = set()
    hooks = [
        module.register_forward_pre_hook(lambda _, inputs: seen.add(inputs[0].dtype))
        for name, module in model.named_modules()
        if name.endswith("lora_A.default")
    ]
    model(input_ids=PROMPT)
    for hook in hooks:
        hook.remove()
    return seen
