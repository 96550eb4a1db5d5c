"""What the other methods take over from DPO's optimizations: whole runs log what stock TRL logs."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fast_runs import OFF, ON, build, logged, only, pairs
from tests.trainer_runs import LORA as WITH_DROPOUT
from tests.trainer_runs import Bench

LORA = {**WITH_DROPOUT, "lora_dropout": 0.0}  # SFT, ORPO and CPO leave dropout on

NOT_COMPARED = ("logits/chosen", "logits/rejected")  # odds.py: other positions


@pytest.fixture(scope="module")
def folders(bench: Bench) -> dict[str, str]:
    rows = pairs()
    completions = [{"prompt": row["prompt"], "completion": row["chosen"]} for row in rows]
    labelled = [row | {"label": index % 2 == 0} for index, row in enumerate(completions)]
    return {kind: str(bench.rows(rows)) for kind, rows in (("pairs", rows), ("sft", completions), ("kto", labelled))}


def run(bench: Bench, method: str, switches: dict[str, bool], **fields: Any) -> Any:
    """(trainer, what it logged) of a few steps."""
    recipe = bench.recipe(max_steps=2, max_length=64, learning_rate=1e-4, **fields)
    trainer = build(bench, recipe, switches, method)
    return trainer, logged(trainer, but=NOT_COMPARED)


CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("sft", "sft", {}),
    ("sft", "sft", {**LORA, "gradient_accumulation_steps": 2}),
    ("sft", "sft", {"completion_only_loss": False, "loss_type": "dft"}),
    ("kto", "kto", {}),
    ("kto", "kto", {**LORA, "loss_type": "apo_zero_unpaired", "precompute_ref_log_probs": True}),
    ("orpo", "pairs", {}),
    ("orpo", "pairs", LORA),
    ("cpo", "pairs", {"loss_type": "simpo", "cpo_alpha": 0.0}),
    ("cpo", "pairs", LORA),
]


@pytest.mark.parametrize(
    ("method", "kind", "fields"), CASES, ids=lambda value: "+".join(value) if isinstance(value, dict) else value
)
def test_a_run_logs_the_same(bench: Bench, folders: dict[str, str], method: str, kind: str, fields: dict) -> None:
    data = {"dataset_name": folders[kind], **fields}
    (_, stock), (trainer, ours) = (run(bench, method, switches, **data) for switches in (OFF, ON))
    assert {name: trainer.optimizations[name] for name in ("completionHead", "packedPairs")} == {
        "completionHead": "on",
        "packedPairs": "on",
    }
    for got, expected in zip(ours, stock, strict=True):
        assert got == pytest.approx(expected, rel=2e-5, abs=1e-4)


@pytest.mark.parametrize("name", ["completionHead", "packedPairs"])
def test_each_piece_of_orpo_alone_is_the_same(bench: Bench, folders: dict[str, str], name: str) -> None:
    data = {"dataset_name": folders["pairs"]}
    (_, stock), (_, ours) = (run(bench, "orpo", switches, **data) for switches in (OFF, only(name)))
    for got, expected in zip(ours, stock, strict=True):
        assert got == pytest.approx(expected, rel=2e-5, abs=1e-4)


def test_a_padding_free_batch_is_left_to_trl(bench: Bench, folders: dict[str, str]) -> None:
    """It has no attention mask, and no padding that could be saved."""
    recipe = bench.recipe(dataset_name=folders["sft"], padding_free=True) | {"max_length": None}
    losses = []
    for switches in (OFF, ON):
        trainer = build(bench, recipe, switches, "sft")
        batch = trainer._prepare_inputs(trainer.data_collator([trainer.train_dataset[row] for row in range(3)]))
        assert "attention_mask" not in batch
        losses.append(trainer.compute_loss(trainer.model, batch).item())
    assert losses[0] == losses[1]


REWARD = {"lora_task_type": "SEQ_CLS"}


@pytest.mark.parametrize(
    "fields", [{}, {**LORA, **REWARD}, {**LORA, **REWARD, "use_dora": True}], ids=["full", "lora", "dora"]
)
def test_of_a_reward_model_only_the_layers_change(bench: Bench, folders: dict[str, str], fields: dict) -> None:
    data = {"dataset_name": folders["pairs"], "gradient_checkpointing": True, **fields}
    (_, stock), (trainer, ours) = (run(bench, "reward", switches, **data) for switches in (OFF, ON))
    said = trainer.optimizations
    assert {said[name] for name in ("completionHead", "packedPairs")} == {"off: a reward model scores no tokens"}
    assert said["selectiveCheckpointing"] == "on"
    assert (said["fusedAdapterSum"] == "on") == ("use_peft" in fields and "use_dora" not in fields)
    assert any("grad_norm" in record for record in stock)
    for got, expected in zip(ours, stock, strict=True):
        assert got == pytest.approx(expected, rel=2e-5, abs=1e-4)
