"""Precomputed reference log-probabilities are computed once and shared, and change nothing."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import tiny_model, tiny_preferences
from tests.trainer_runs import LORA, Bench, Outcome

PRECOMPUTED = {"precompute_ref_log_probs": True, "gradient_checkpointing": False}
OFF = {"optimizations": {"referenceCache": False}}
# Forwards can be counted
AS_TRL = {"completionHead": False, "packedPairs": False, "skipAdapterCasts": False, "fusedAdapterSum": False}
EVALUATED = {"eval_strategy": "steps", "eval_steps": 2}


@pytest.fixture(autouse=True)
def volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache volume; the entries are in the folder that is returned."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    return tmp_path / "huggingface" / "reference-log-probs"


@pytest.fixture
def forwards(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows of every forward pass without gradients: those of a reference, and of evaluation."""
    import torch
    from transformers.models.llama.modeling_llama import LlamaModel

    seen: list[int] = []
    forward = LlamaModel.forward

    @functools.wraps(forward)
    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            seen.append(1)
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(LlamaModel, "forward", counted)
    return seen


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The section of the spec for which each model was loaded."""
    from alignment_trainer import models

    seen: list[str] = []
    get_model = models.get_model

    @functools.wraps(get_model)
    def noted(model_args: Any, training_args: Any, section: str = "spec.model", **overrides: Any) -> Any:
        seen.append(section)
        return get_model(model_args, training_args, section, **overrides)

    monkeypatch.setattr(models, "get_model", noted)
    return seen


@pytest.fixture
def other_model(bench: Bench) -> Path:
    path = bench.root / "other-model"
    return path if path.exists() else tiny_model(path, seed=1)


def build(bench: Bench, recipe: dict[str, Any], method: str = "dpo", **run: Any) -> Any:
    """The trainer, ready to train: its datasets hold the reference's log-probabilities."""
    from alignment_trainer import train
    from alignment_trainer.config import load_config
    from alignment_trainer.data import load_datasets
    from alignment_trainer.lifecycle import NoLifecycle

    config = load_config(*bench.files(recipe, method, **run))
    return train.build_trainer(config, NoLifecycle(), *load_datasets(config))


def evaluations(outcome: Outcome) -> list[float]:
    return [entry["eval_loss"] for entry in outcome.trainer.state.log_history if "eval_loss" in entry]


def entries(volume: Path) -> set[str]:
    return {path.name for path in volume.glob("*.safetensors")}


@pytest.mark.parametrize(
    ("method", "kind", "fields"),
    [
        ("dpo", "preference", {}),
        ("dpo", "preference", LORA),
        ("dpo", "preference", {"ld_alpha": 0.5, "loss_type": ["ipo"]}),
        ("kto", "unpaired", {}),
        ("kto", "unpaired", {"loss_type": "apo_zero_unpaired"}),  # no KL term: one column
    ],
    ids=["full", "lora", "ld_alpha", "kto", "kto without KL"],
)
def test_a_sweep_over_beta_asks_the_reference_once_and_trains_as_without_a_cache(
    bench: Bench, volume: Path, forwards: list[int], method: str, kind: str, fields: dict[str, Any]
) -> None:
    def recipe(beta: float) -> dict[str, Any]:
        return bench.recipe(dataset_name=str(bench.data(kind)), beta=beta, **PRECOMPUTED, **fields)

    def run(cached: bool) -> Outcome:
        forwards.clear()
        return bench.run(recipe(0.5), method, optimizations={**AS_TRL, "referenceCache": cached})

    trainer = build(bench, recipe(0.1), method, optimizations=AS_TRL)
    asked = len(forwards)
    assert asked == 8 * (2 if "ref_KL_logps" in trainer.train_dataset.column_names else 1), "32 rows, 4 a batch"
    shared = run(cached=True)
    policy_alone = len(forwards)
    stock = run(cached=False)
    assert len(forwards) == policy_alone + asked
    assert shared.losses == pytest.approx(stock.losses, abs=1e-6)
    assert shared.losses[-1] != shared.losses[0]
    assert len(entries(volume)) == 1


def test_evaluation_sets_have_entries_of_their_own(bench: Bench, volume: Path) -> None:
    build(bench, bench.recipe(**PRECOMPUTED, **EVALUATED))
    assert len(entries(volume)) == 2
    shared, stock = (evaluations(bench.run(bench.recipe(**PRECOMPUTED, **EVALUATED), **s)) for s in ({}, OFF))
    assert len(entries(volume)) == 2
    assert len(shared) == 2
    assert shared == pytest.approx(stock, abs=1e-6)


@pytest.mark.parametrize("fields", [{}, LORA], ids=["full", "lora"])
def test_a_reference_of_its_own_is_not_loaded_when_its_numbers_are_known(
    bench: Bench, other_model: Path, loads: list[str], fields: dict[str, Any]
) -> None:
    reference = {"strategy": "Precomputed", "model": {"model_name_or_path": str(other_model)}}

    def recipe(beta: float) -> dict[str, Any]:
        loads.clear()
        return bench.recipe(beta=beta, **PRECOMPUTED, **fields)

    trainer = build(bench, recipe(0.1), referenceModel=reference)
    assert loads == ["spec.model", "spec.referenceModel.model"]
    assert trainer.ref_model is None
    shared = bench.run(recipe(0.5), referenceModel=reference)
    assert loads == ["spec.model"]
    stock = bench.run(recipe(0.5), referenceModel=reference, **OFF)
    assert loads == ["spec.model", "spec.referenceModel.model"]
    assert shared.losses == pytest.approx(stock.losses, abs=1e-6)


def rows(bench: Bench, **fields: Any) -> dict[str, Any]:
    return bench.recipe(**{"max_length": 24, **PRECOMPUTED, **fields})


def other_weights(bench: Bench) -> dict[str, Any]:
    """The same path, other content: the content counts."""
    path = bench.root / "replaced"
    shutil.rmtree(path, ignore_errors=True)
    tiny_model(path, seed=7)
    return {"model_name_or_path": str(path)}


def same_weights_elsewhere(bench: Bench) -> dict[str, Any]:
    path = bench.root / "copy"
    shutil.copytree(bench.model, path, dirs_exist_ok=True)
    return {"model_name_or_path": str(path)}


def other_rows(bench: Bench) -> dict[str, Any]:
    folder = bench.rows([])
    tiny_preferences(folder / "train.jsonl", 32, seed=3)
    return {"dataset_name": str(folder)}


def other_tokenizer(bench: Bench) -> dict[str, Any]:
    """The same weights; every text ends with another token."""
    path = bench.root / "other-tokenizer"
    shutil.copytree(bench.model, path, dirs_exist_ok=True)
    settings = json.loads((path / "tokenizer_config.json").read_text())
    (path / "tokenizer_config.json").write_text(json.dumps({**settings, "eos_token": "<|endoftext|>"}))
    return {"model_name_or_path": str(path)}


CHANGES: dict[str, tuple[dict[str, Any] | Callable[[Bench], dict[str, Any]], int]] = {
    "other weights": (other_weights, 1),
    "other rows": (other_rows, 1),
    "other tokenizer": (other_tokenizer, 1),
    "dtype": ({"dtype": "bfloat16"}, 1),
    "attention": ({"attn_implementation": "eager"}, 1),
    "quantization": ({**LORA, "load_in_4bit": True}, 1),
    "max_length": ({"max_length": 20}, 1),
    "truncation_mode": ({"truncation_mode": "keep_end"}, 1),
    "ld_alpha": ({"ld_alpha": 0.5}, 1),
    "the same weights elsewhere": (same_weights_elsewhere, 0),
    "beta, loss and schedule": ({"beta": 0.9, "loss_type": ["ipo"], "learning_rate": 1e-5, "seed": 3}, 0),
    "batches": ({"per_device_train_batch_size": 2, "precompute_ref_batch_size": 8}, 0),
    "an adapter that is trained": (LORA, 0),
}


@pytest.fixture(scope="module")
def base(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache volume with the entry of the run that CHANGES change."""
    home = tmp_path_factory.mktemp("volume")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HOME", str(home))
        build(bench, rows(bench))
    return home


@pytest.mark.parametrize("change", CHANGES)
def test_an_entry_is_shared_by_all_that_ask_for_the_same_numbers_and_nobody_else(
    bench: Bench, base: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    monkeypatch.setenv("HF_HOME", str(base))
    before = entries(base / "reference-log-probs")
    fields, new = CHANGES[change]
    build(bench, rows(bench, **(fields if isinstance(fields, dict) else fields(bench))))
    assert len(entries(base / "reference-log-probs") - before) == new


def test_the_adapter_that_a_run_starts_from_is_part_of_the_reference(bench: Bench, volume: Path) -> None:
    adapters = [str(bench.run(bench.recipe(seed=seed, max_steps=2, **LORA)).output) for seed in (1, 2)]
    for adapter in (*adapters, adapters[0]):
        build(bench, rows(bench), adapterNameOrPath=adapter)
    assert len(entries(volume)) == 2


def test_a_damaged_entry_is_computed_again(bench: Bench, volume: Path, caplog: pytest.LogCaptureFixture) -> None:
    recipe = {**PRECOMPUTED, "beta": 0.3}
    first = bench.run(bench.recipe(**recipe))
    (entry,) = volume.glob("*.safetensors")
    entry.write_bytes(entry.read_bytes()[:-10])
    second = bench.run(bench.recipe(**recipe))
    assert "are computed again" in caplog.text
    assert second.losses == first.losses
    caplog.clear()
    build(bench, bench.recipe(**recipe))
    assert "are computed again" not in caplog.text, "the entry is whole again"
