"""The same recipe.yaml, run by stock TRL and by our trainer, gives the same losses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fast_runs import OFF, ON
from tests.trainer_runs import LORA, Bench, offline

FOUR_BIT = {**LORA, "load_in_4bit": True}


def switches(fields: dict[str, Any]) -> dict[str, bool]:
    """On in fp32. Sums in another order differ in bf16's third digit (4-bit runs have bf16 adapters): off there."""
    return OFF if {"load_in_4bit", "dtype"} & fields.keys() else ON


def losses_of_cli(bench: Bench, recipe: dict[str, Any]) -> list[float]:
    """`trl dpo --config recipe.yaml`, the real command, and the losses that it logged, unrounded."""
    recipe_path, _ = bench.files(recipe)
    environment = dict(os.environ)
    offline(environment)
    command = [str(Path(sys.executable).with_name("trl")), "dpo", "--config", str(recipe_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    state = json.loads(
        (Path(recipe["output_dir"]) / f"checkpoint-{recipe['max_steps']}/trainer_state.json").read_text()
    )
    return [entry["loss"] for entry in state["log_history"] if "loss" in entry]


def losses_of_script(bench: Bench, recipe: dict[str, Any], method: str, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """TRL's own script for the method, in this process (a fresh interpreter costs more than the training)."""
    import importlib

    import trl

    script = importlib.import_module(f"trl.scripts.{method}")
    trainer_class = {"dpo": "DPOTrainer", "sft": "SFTTrainer", "kto": "KTOTrainer", "reward": "RewardTrainer"}[method]
    trainers: list[Any] = []

    class Kept(getattr(trl, trainer_class)):  # the script returns nothing
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            trainers.append(self)

    monkeypatch.setattr(trl, trainer_class, Kept)
    recipe_path, _ = bench.files(recipe, method)
    script.main(*script.make_parser().parse_args_and_config(["--config", str(recipe_path)]))
    monkeypatch.undo()
    return [entry["loss"] for entry in trainers[0].state.log_history if "loss" in entry]


@pytest.mark.parametrize("fields", [{}, LORA, FOUR_BIT], ids=["full", "lora", "4bit"])
def test_the_trl_command_gives_the_same_losses(bench: Bench, fields: dict[str, Any]) -> None:
    steps = {"max_steps": 12, "save_strategy": "steps", "save_steps": 12}
    stock = losses_of_cli(bench, bench.recipe(**steps, **fields))
    ours = bench.run(bench.recipe(**steps, **fields), optimizations=switches(fields))
    assert len(ours.losses) == 12
    assert ours.losses[0] != ours.losses[-1]
    assert ours.losses == pytest.approx(stock, abs=5e-6)


@pytest.mark.parametrize(
    ("method", "kind", "fields"),
    [
        ("dpo", "preference", {**LORA, "use_dora": True}),
        ("dpo", "preference", {**LORA, "load_in_8bit": True}),
        ("dpo", "preference", {**FOUR_BIT, "bnb_4bit_quant_type": "fp4", "use_bnb_nested_quant": True}),
        ("dpo", "preference", {"dtype": "bfloat16"}),
        ("dpo", "preference", {"attn_implementation": "eager", "gradient_checkpointing": False}),
        ("dpo", "preference", {"precompute_ref_log_probs": True, "eval_strategy": "steps", "eval_steps": 2}),
        ("dpo", "preference", {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.5], "beta": 0.3}),
        ("sft", "prompt_completion", LORA),
        ("kto", "unpaired", {}),
        ("reward", "preference", {"max_length": 512}),
        ("reward", "preference", {**LORA, "lora_task_type": "SEQ_CLS", "max_length": 512}),
    ],
    ids=lambda value: value if isinstance(value, str) else "+".join(value) or "plain",
)
def test_trls_script_gives_the_same_losses(
    bench: Bench, method: str, kind: str, fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = str(bench.data(kind))
    stock = losses_of_script(bench, bench.recipe(dataset_name=data, **fields), method, monkeypatch)
    ours = bench.run(bench.recipe(dataset_name=data, **fields), method, optimizations=switches(fields))
    assert len(ours.losses) == 4
    assert ours.losses == pytest.approx(stock, abs=5e-6)
