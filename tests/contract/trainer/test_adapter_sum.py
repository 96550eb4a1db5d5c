"""LoRA layers that add as they multiply: PEFT's numbers, and PEFT's own forward for what they do not answer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from alignment_trainer.fast.adapter_sum import fuse_sums
from tests.fast_runs import OFF, build, pairs, wake_adapters
from tests.trainer_runs import LORA, Bench

LAYER = ("num_hidden_layers", "hidden_size", "intermediate_size")


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


class _Products(TorchDispatchMode):
    """Counts the matrix products of these sizes ([inputs, outputs])."""

    def __init__(self, *sizes: tuple[int, int]) -> None:
        super().__init__()
        self._sizes, self.count = {tuple(sorted(size)) for size in sizes}, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        products = (torch.ops.aten.mm, torch.ops.aten.addmm, torch.ops.aten.addmm_)
        if func.overloadpacket in products and tuple(sorted(args[-1].shape)) in self._sizes:
            self.count += 1
        return func(*args, **(kwargs or {}))


def test_the_last_product_of_a_checkpointed_layer_is_not_computed_again(bench: Bench) -> None:
    """Of a layer's three products with matrices of this size the forward needs 3, the backward 3, and recomputing 2."""
    model = build(bench, bench.recipe(dataset_name=str(bench.rows(pairs())), **LORA), OFF).model.train()
    wake_adapters(model)
    model.get_base_model().activation_checkpointing_enable()
    inputs = torch.arange(1, 25).view(2, 12)
    layers, hidden, inner = (getattr(model.config, name) for name in LAYER)

    def products() -> int:
        with _Products((hidden, inner)) as counted:
            model(input_ids=inputs).logits.square().mean().backward()
        return counted.count

    assert products() == layers * (3 + 3 + 3)
    assert fuse_sums(model) > 0
    assert products() == layers * (3 + 3 + 2)
