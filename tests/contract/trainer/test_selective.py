"""Selective activation checkpointing: the same numbers, no product and no attention computed again, where it fits."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from alignment_trainer.config import load_config
from alignment_trainer.data import load_datasets
from alignment_trainer.fast.selective import Outputs, keep_outputs
from alignment_trainer.memory import check, device
from alignment_trainer.memory.estimate import estimate
from alignment_trainer.memory.settings import workload_of
from tests.fast_runs import OFF, ON, architecture, assert_same, build, one_batch, only, pairs, wake_adapters
from tests.trainer_runs import LORA, Bench

NAME = "selectiveCheckpointing"
FULL: dict[str, Any] = {}
TUNINGS = {
    "full": FULL,
    "lora": LORA,
    "dora": {**LORA, "use_dora": True},
    "dropout": {**LORA, "lora_dropout": 0.3, "disable_dropout": False},
    "4bit": {**LORA, "load_in_4bit": True},
    "adapter-of-another-dtype": {**LORA, "dtype": "bfloat16", "bf16": False},
    "biased": {**LORA, "model_name_or_path": "qwen2"},
    "some-layers": {**LORA, "lora_target_modules": ["q_proj", "down_proj"]},
}


@pytest.fixture(scope="module")
def data(bench: Bench) -> str:
    return str(bench.rows(pairs()))


@pytest.mark.parametrize("beside", [OFF, ON], ids=["alone", "with-all-others"])
@pytest.mark.parametrize("tuning", TUNINGS)
def test_it_changes_no_number(
    bench: Bench, data: str, tuning: str, beside: dict[str, bool], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Against the same run with the whole layer computed again: the draws of dropout, too, are the same."""
    fields = dict(TUNINGS[tuning])
    if name := fields.get("model_name_or_path"):
        fields["model_name_or_path"] = str(architecture(tmp_path_factory.mktemp(name), name))
    recipe = bench.recipe(dataset_name=data, max_length=64, gradient_checkpointing=True, **fields)
    whole, selective = (build(bench, recipe, {**beside, NAME: on}) for on in (False, True))
    assert_same(one_batch(selective), one_batch(whole))
    assert selective.optimizations[NAME].startswith("on")


@pytest.mark.parametrize("name", ["gradient_checkpointing", "activation_checkpointing"])
def test_a_recipe_that_says_how_to_checkpoint_is_heeded(bench: Bench, data: str, name: str) -> None:
    """Reentrant checkpointing knows no contexts: torch would refuse ours."""
    how = {name: True, f"{name}_kwargs": {"use_reentrant": True}}
    trainer = build(bench, bench.recipe(dataset_name=data, max_length=64, max_steps=1, **how), ON)
    trainer.train()
    assert trainer.optimizations[NAME] == "off: gradient_checkpointing_kwargs say how to checkpoint"


class Computed(TorchDispatchMode):
    """Counts products with matrices that are larger than an adapter's, and attention."""

    def __init__(self) -> None:
        super().__init__()
        self.products = self.attention = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        self.products += name in ("mm", "addmm", "addmm_") and min(*args[-1].shape, *args[-2].shape) > LORA_RANK
        self.attention += name == "_scaled_dot_product_flash_attention_for_cpu"
        return func(*args, **(kwargs or {}))


LORA_RANK = LORA["lora_r"]


@pytest.mark.parametrize("pieces", [(NAME,), (NAME, "packedPairs", "fusedAdapterSum", "completionHead")], ids=len)
@pytest.mark.parametrize("tuning", [FULL, LORA], ids=["full", "lora"])
def test_nothing_dear_is_computed_again(
    bench: Bench, data: str, tuning: dict[str, Any], pieces: tuple[str, ...]
) -> None:
    """A step costs the products of a step without checkpointing; attention as well where rows are packed."""

    def counted(checkpointing: bool, *pieces: str) -> Computed:
        recipe = bench.recipe(dataset_name=data, max_length=64, gradient_checkpointing=checkpointing, **tuning)
        trainer = build(bench, recipe, only(*pieces))
        if checkpointing:
            trainer.model.activation_checkpointing_enable()
        elif tuning:
            trainer.model.enable_input_require_grads()  # as checkpointing does
        one_batch(trainer)
        with Computed() as computed:
            one_batch(trainer)
        return computed

    others = [piece for piece in pieces if piece != NAME]
    unchecked, whole, selective = counted(False, *others), counted(True, *others), counted(True, *pieces)
    assert whole.products > unchecked.products
    assert whole.attention > unchecked.attention
    assert selective.products == unchecked.products
    assert (selective.attention == unchecked.attention) == ("packedPairs" in pieces)


def small_model(bench: Bench, data: str) -> Any:
    model = build(bench, bench.recipe(dataset_name=data, **LORA), OFF).model.train()
    wake_adapters(model)
    return model


def gradients(model: Any, loss: torch.Tensor, **kwargs: Any) -> list[torch.Tensor]:
    return list(torch.autograd.grad(loss, [p for p in model.parameters() if p.requires_grad], **kwargs))


def test_a_graph_that_is_kept_can_be_gone_through_again(bench: Bench, data: str) -> None:
    model = small_model(bench, data)
    inputs = torch.arange(1, 25).view(2, 12)
    expected = gradients(model, model(input_ids=inputs).logits.square().mean())
    keep_outputs(model.get_base_model())
    model.get_base_model().activation_checkpointing_enable()
    loss = model(input_ids=inputs).logits.square().mean()
    for kept in (True, False):
        torch.testing.assert_close(gradients(model, loss, retain_graph=kept), expected, rtol=1e-5, atol=1e-7)


def test_what_is_kept_is_copied_to_one_place_and_given_once() -> None:
    made = [torch.randn(3, 5), torch.randn(2, 7).bfloat16(), torch.randn(0, 4), torch.randn(4, 4)]
    expected = [each.clone() for each in made]
    outputs = Outputs()
    for number, each in enumerate(made):
        outputs.keep(each, may_be_last=number == 3, beside=number)
    outputs.end_first()
    for each in made:
        each.zero_()
    outputs.begin(again=True)
    found = [outputs.next() for _ in made]
    assert found.pop() is None  # the last is not reached again
    assert [beside for _, beside in found] == [0, 1, 2]
    assert all(torch.equal(one, other) for (one, _), other in zip(found, expected, strict=False))
    assert len({one.untyped_storage().data_ptr() for one, _ in found}) == 1
    outputs.begin(again=True)
    assert outputs.next() is None


def test_an_output_that_was_changed_in_place_is_no_gradient(bench: Bench, data: str) -> None:
    """None of the tested architectures does it."""
    model = small_model(bench, data).get_base_model()
    keep_outputs(model)
    model.activation_checkpointing_enable()
    model.model.layers[0].self_attn.q_proj.base_layer.register_forward_hook(lambda module, args, output: output.mul_(1))
    with pytest.raises(RuntimeError, match="changed in place"):
        gradients(model, model(input_ids=torch.arange(1, 25).view(2, 12)).logits.square().mean())


@pytest.mark.parametrize("fits", [True, False], ids=["fits", "does-not-fit"])
def test_it_is_left_out_where_memory_is_short(
    bench: Bench, data: str, monkeypatch: pytest.MonkeyPatch, fits: bool
) -> None:
    recipe = bench.recipe(dataset_name=data, max_length=64, gradient_checkpointing=True)
    config = load_config(*bench.files(recipe, optimizations=ON))
    needed = estimate(workload_of(config)).with_reserve
    # the longest row is shorter than max_length: a little less than what was asked for is needed
    limit = check.PYTHON_BYTES + (needed if fits else needed * 4 // 5)
    monkeypatch.setattr(device, "host_bytes", lambda: limit)
    train_dataset, _ = load_datasets(config)
    check.check_memory(config, train_dataset)
    from alignment_trainer.lifecycle import NoLifecycle
    from alignment_trainer.train import build_trainer

    told = build_trainer(config, NoLifecycle(), train_dataset, None).optimizations[NAME]
    assert told == "on" if fits else told.startswith("off: training might not fit in")
