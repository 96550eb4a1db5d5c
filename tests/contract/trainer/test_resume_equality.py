"""A run that goes on from a checkpoint gives the losses of the run that wrote it, whatever is trained and how."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from alignment_trainer import train
from alignment_trainer.lifecycle import NoLifecycle
from tests.trainer_runs import LORA, Bench

STEPS = {"max_steps": 8, "save_strategy": "steps", "save_steps": 4, "gradient_checkpointing": False}
FOUR_BIT = {**LORA, "load_in_4bit": True}


class Resumed(NoLifecycle):
    """Trains from a checkpoint of another run."""

    def __init__(self, checkpoint: Path) -> None:
        super().__init__()
        self.checkpoint = checkpoint

    def resume_from(self) -> str:
        return str(self.checkpoint)


def losses(trainer: Any) -> dict[int, float]:
    return {entry["step"]: entry["loss"] for entry in trainer.state.log_history if "loss" in entry}


def assert_resumes_to_the_same_losses(bench: Bench, fields: dict[str, Any], method: str = "dpo", **run: Any) -> Any:
    """Returns the trainer that was resumed."""
    straight = bench.run(bench.recipe(**STEPS, **fields), method, **run)
    lifecycle = Resumed(straight.output / "checkpoint-4")
    train.run(*bench.files(bench.recipe(**STEPS, **fields), method, **run), lifecycle)
    expected = losses(straight.trainer)
    assert len(set(expected.values())) == 8, "every step learns"
    assert losses(lifecycle.trainer) == expected
    return lifecycle.trainer


@pytest.fixture(scope="module")
def adapter(bench: Bench) -> str:
    """A trained adapter to start from."""
    return str(bench.run(bench.recipe(max_steps=3, **LORA)).output)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        LORA,
        FOUR_BIT,
        {**FOUR_BIT, "dtype": "bfloat16", "use_bnb_nested_quant": True},
        {**FOUR_BIT, "use_dora": True},
        {**LORA, "load_in_8bit": True},
        {**LORA, "dtype": "bfloat16"},
    ],
    ids=["full", "lora", "4bit", "4bit nested bf16", "4bit dora", "8bit", "lora bf16"],
)
def test_a_resumed_run_gives_the_same_losses(bench: Bench, fields: dict[str, Any]) -> None:
    assert_resumes_to_the_same_losses(bench, fields)


@pytest.mark.parametrize(
    ("method", "kind", "fields"),
    [
        ("sft", "prompt_completion", LORA),  # its dropout draws random numbers in every step
        ("kto", "unpaired", {}),
        ("orpo", "preference", FOUR_BIT),
        ("reward", "preference", {**LORA, "max_length": 512}),
    ],
    ids=["sft", "kto", "orpo 4bit", "reward"],
)
def test_so_does_a_run_of_another_method(bench: Bench, method: str, kind: str, fields: dict[str, Any]) -> None:
    assert_resumes_to_the_same_losses(bench, {"dataset_name": str(bench.data(kind)), **fields}, method)


@pytest.mark.parametrize(
    "fields",
    [{}, {"load_in_4bit": True}, {"precompute_ref_log_probs": True}],
    ids=["lora", "4bit", "precomputed"],
)
def test_a_run_that_started_from_an_adapter_keeps_that_adapter_as_its_reference(
    bench: Bench, adapter: str, fields: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from safetensors.torch import load_file

    monkeypatch.setenv("HF_HOME", str(tmp_path))
    trainer = assert_resumes_to_the_same_losses(bench, fields, adapterNameOrPath=adapter)
    saved = load_file(f"{trainer.args.output_dir}/adapter_model.safetensors")
    started_from = load_file(f"{adapter}/adapter_model.safetensors")
    assert saved.keys() == started_from.keys()
    assert any(not torch.equal(saved[name].float(), started_from[name].float()) for name in saved)
    assert not list(Path(trainer.args.output_dir).glob("ref/*")), "the reference is no part of the result"
