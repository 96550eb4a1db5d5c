"""Every optimization gives stock TRL's numbers: one batch of DPO in fp32, with TRL's own forward and with ours."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.fast_runs import (
    ARCHITECTURES,
    OFF,
    ON,
    architecture,
    assert_same,
    batch_numbers,
    build,
    logged,
    one_batch,
    only,
    pairs,
)
from tests.trainer_runs import LORA, Bench

# DiscoPOP divides the margin of two sums over all tokens by 0.05 (discopop_tau): the last digit counts twenty times
NORM = {"discopop": 20 * 1e-5}
FOUR_BIT = {**LORA, "load_in_4bit": True}
TUNINGS: dict[str, dict[str, Any]] = {"full": {}, "lora": LORA}
LOSSES = (
    *("sigmoid", "hinge", "ipo", "exo_pair", "nca_pair", "robust", "bco_pair", "sppo_hard", "aot", "aot_unpaired"),
    *("apo_zero", "apo_down", "discopop", "sft", "sigmoid_norm"),
)


@pytest.fixture(scope="module")
def data(bench: Bench) -> str:
    folder = bench.rows(pairs())
    (folder / "test.jsonl").write_text((folder / "train.jsonl").read_text())
    return str(folder)


@pytest.fixture(autouse=True)
def answered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The architectures that the fast forward has answered for: without it all of this would compare TRL with TRL."""
    from alignment_trainer.fast.forward import FastForward

    models: list[str] = []
    call = FastForward.__call__

    def counted(self: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
        models.append(model.config.model_type)
        return call(self, model, *args, **kwargs)

    monkeypatch.setattr(FastForward, "__call__", counted)
    return models


@pytest.fixture(autouse=True)
def is_not_vacuous(answered: list[str]) -> Iterator[None]:
    yield
    assert answered


def recipe(bench: Bench, data: str, **fields: Any) -> dict[str, Any]:
    return bench.recipe(dataset_name=data, max_length=64, **fields)


def compare(bench: Bench, data: str, switches: dict[str, bool] = ON, run: dict | None = None, **fields: Any) -> Any:
    """Asserts equality and returns the optimized trainer."""
    stock = build(bench, recipe(bench, data, **fields), OFF, **(run or {}))
    ours = build(bench, recipe(bench, data, **fields), switches, **(run or {}))
    assert_same(one_batch(ours), one_batch(stock))
    return ours


@pytest.fixture(scope="module")
def trainers(bench: Bench, data: str) -> Any:
    """(stock, ours) for a way of tuning, built once."""

    @cache
    def of(tuning: str) -> tuple[Any, Any]:
        both = [build(bench, recipe(bench, data, **TUNINGS[tuning]), switches) for switches in (OFF, ON)]
        for trainer in both:
            one_batch(trainer)  # wakes the adapters
        return both[0], both[1]

    return of


@pytest.mark.parametrize("tuning", TUNINGS)
@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_is_the_same(trainers: Any, loss: str, tuning: str) -> None:
    numbers = []
    for trainer in trainers(tuning):
        trainer.loss_types, trainer.loss_weights, trainer.label_smoothing = [loss], [1.0], 0.1
        batch = trainer.data_collator([trainer.train_dataset[row] for row in range(5)])
        numbers.append(batch_numbers(trainer, batch))
    assert_same(*numbers, norm=NORM.get(loss, 1e-5))
    assert trainers(tuning)[1].optimizations["packedPairs"] == "on"


@pytest.mark.parametrize(
    "fields",
    [
        {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.5]},
        {"ld_alpha": 0.5},
        {"use_weighting": True},
        {"f_divergence_type": "js_divergence"},
    ],
    ids=lambda fields: "+".join(fields),
)
def test_what_else_a_loss_reads_is_the_same(bench: Bench, data: str, fields: dict[str, Any]) -> None:
    compare(bench, data, **LORA, **fields)


@pytest.mark.parametrize("tuning", TUNINGS)
@pytest.mark.parametrize("name", ["completionHead", "packedPairs"])
def test_each_piece_alone_is_the_same(bench: Bench, data: str, name: str, tuning: str) -> None:
    report = compare(bench, data, only(name), **TUNINGS[tuning]).optimizations
    assert [piece for piece, said in report.items() if said == "on"] == [name]


@pytest.mark.parametrize(
    ("run", "fields"),
    [
        ({}, {}),
        ({}, LORA),
        ({"referenceModel": {"strategy": "Resident"}}, LORA),
        ({"referenceModel": {"strategy": "Precomputed"}}, {}),
        ({"referenceModel": {"strategy": "Precomputed"}}, FOUR_BIT),
        ({"referenceModel": {"strategy": "Resident"}}, FOUR_BIT),
        ({}, {**FOUR_BIT, "use_dora": True}),
        ({}, {**LORA, "load_in_8bit": True}),
        ({}, {**LORA, "lora_modules_to_save": ["lm_head"], "lora_target_modules": ["q_proj", "v_proj"]}),
    ],
    ids=[
        "resident",
        "shared",
        "resident+lora",
        "precomputed",
        "precomputed+4bit",
        "resident+4bit",
        "dora",
        "8bit",
        "head",
    ],
)
def test_every_reference_and_adapter_is_the_same(bench: Bench, data: str, run: dict, fields: dict[str, Any]) -> None:
    ours = compare(bench, data, run=run, **fields)
    assert (ours.optimizations["completionHead"], ours.optimizations["packedPairs"]) == ("on", "on")


@pytest.mark.parametrize("tuning", TUNINGS)
@pytest.mark.parametrize("checkpointing", [True, False])
def test_checkpointed_activations_are_the_same(bench: Bench, data: str, checkpointing: bool, tuning: str) -> None:
    compare(bench, data, gradient_checkpointing=checkpointing, **TUNINGS[tuning])


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_is_the_same(bench: Bench, data: str, name: str, tmp_path: Path) -> None:
    model = str(architecture(tmp_path / name, name))
    attention = {"attn_implementation": "eager"} if name == "gemma2" else {}
    report = compare(bench, data, model_name_or_path=model, **attention).optimizations
    assert report["completionHead"] == "on"
    assert (report["packedPairs"] == "on") == (name != "gemma2")


@pytest.mark.parametrize("length", [None, 64, 24])
def test_truncated_pairs_are_the_same(bench: Bench, data: str, length: int | None) -> None:
    stock, ours = (build(bench, recipe(bench, data) | {"max_length": length}, switches) for switches in (OFF, ON))
    assert_same(one_batch(ours), one_batch(stock))


@pytest.mark.parametrize(
    "fields",
    [
        {**LORA, "gradient_accumulation_steps": 2, "eval_strategy": "steps", "eval_steps": 2},
        {"precompute_ref_log_probs": True, "eval_strategy": "steps", "eval_steps": 2},
        {"train_sampling_strategy": "group_by_length"},
    ],
    ids=["accumulated+evaluated", "precomputed+evaluated", "grouped"],
)
def test_a_whole_run_logs_the_same(bench: Bench, data: str, fields: dict[str, Any]) -> None:
    steps = {"max_steps": 3, "learning_rate": 1e-4, **fields}
    trainers = (build(bench, recipe(bench, data, **steps), switches) for switches in (OFF, ON))
    # At the first step rewards are zero but for rounding, and which of them is larger is chance
    stock, ours = (logged(trainer, but=("rewards/accuracies",)) for trainer in trainers)
    assert len(ours) == len(stock) > 3
    for got, expected in zip(ours, stock, strict=True):
        assert got == pytest.approx(expected, rel=2e-5, abs=1e-4)
