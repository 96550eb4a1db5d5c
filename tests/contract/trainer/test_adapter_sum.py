"""LoRA layers that add as they multiply: PEFT's numbers, and PEFT's own forward for what they do not answer."""

from __future__ import annotations

import pytest
import torch

from alignment_trainer.fast.adapter_sum import fuse_sums
from tests.fast_runs import OFF, build, pairs, wake_adapters
from tests.trainer_runs import LORA, Bench


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_the_adapters_sum_alone_is_the_same(bench: Bench, dropout: float) -> None:
    """With dropout, too: the layer's input is dropped where PEFT drops it, with the same draws."""
    fields = bench.recipe(dataset_name=str(bench.rows(pairs())), **LORA | {"lora_dropout": dropout})
    model = build(bench, fields, OFF).model
    wake_adapters(model)
    inputs = torch.arange(1, 25).view(2, 12)

    def outputs() -> tuple[torch.Tensor, ...]:
        torch.manual_seed(0)
        logits = model(input_ids=inputs).logits
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        return logits, *torch.autograd.grad(logits.square().mean(), trained)

    expected = outputs()
    assert fuse_sums(model) > 0
    torch.testing.assert_close(outputs(), expected, rtol=1e-5, atol=1e-7)


def test_an_adapter_that_is_off_or_merged_is_peft_s_business(bench: Bench) -> None:
    model = build(bench, bench.recipe(dataset_name=str(bench.rows(pairs())), **LORA), OFF).model
    wake_adapters(model)
    inputs = torch.arange(1, 25).view(2, 12)
    fuse_sums(model)
    adapted = model(input_ids=inputs).logits
    with model.disable_adapter():
        base = model(input_ids=inputs).logits
    model.merge_adapter()
    torch.testing.assert_close(model(input_ids=inputs).logits, adapted, rtol=1e-4, atol=1e-5)
    model.unmerge_adapter()
    assert (base - adapted).abs().max() > 1e-3


def test_without_autocast_an_adapter_of_another_dtype_gives_peft_s_numbers(bench: Bench) -> None:
    model = build(bench, bench.recipe(dataset_name=str(bench.rows(pairs())), **LORA, dtype="bfloat16"), OFF).model
    wake_adapters(model)
    inputs = torch.arange(1, 25).view(2, 12)
    expected = model(input_ids=inputs).logits
    fuse_sums(model)
    torch.testing.assert_close(model(input_ids=inputs).logits, expected, rtol=0, atol=2e-2)
