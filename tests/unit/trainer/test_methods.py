"""Every method runs from its recipe to a saved model, and what our trainers add to TRL's."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from alignment_trainer import exits
from alignment_trainer.diagnosis import classify
from alignment_trainer.methods import METHODS
from alignment_trainer.trainers import pair_lengths
from tests.tiny import tiny_model
from tests.trainer_runs import LORA, Bench

KINDS = {"sft": "prompt_completion", "kto": "unpaired"}
LONG = "what is why how " * 60


def pairs_of_many_lengths(n: int = 32) -> list[dict[str, str]]:
    source = random.Random(0)
    return [
        {"prompt": "why ", "chosen": "good " * source.randint(1, 20), "rejected": "bad " * source.randint(1, 20)}
        for _ in range(n)
    ]


@pytest.mark.parametrize("fields", [{}, LORA], ids=["full", "lora"])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_and_saves(bench: Bench, method: str, fields: dict[str, Any]) -> None:
    data = str(bench.data(KINDS.get(method, "preference")))
    outcome = bench.run(bench.recipe(dataset_name=data, max_steps=3, **fields), method)
    assert len(outcome.losses) == 3
    assert all(loss == loss and 0 < abs(loss) < 100 for loss in outcome.losses)
    kind, weights = ("adapter", "adapter_model.safetensors") if fields else ("model", "model.safetensors")
    assert outcome.artifacts == {kind: "."}
    assert (outcome.output / weights).exists()
    assert (outcome.output / "tokenizer.json").exists()
    assert (outcome.rows, outcome.dropped) == (32, 0)


def test_the_table_imports_nothing_until_it_is_asked():
    import subprocess
    import sys

    code = "import sys, alignment_trainer.train; print([name for name in ('torch', 'trl') if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


@pytest.mark.parametrize("method", ["dpo", "orpo", "cpo", "reward", "kto", "sft"])
def test_batches_are_grouped_by_length(bench: Bench, method: str) -> None:
    rows: list[dict[str, Any]] = pairs_of_many_lengths()
    if method == "sft":
        rows = [{"prompt": row["prompt"], "completion": row["chosen"]} for row in rows]
    loss = {"loss_type": "apo_zero_unpaired"} if method == "kto" else {}  # KTO's own needs neighbours in their order
    grouped = {"train_sampling_strategy": "group_by_length", **loss}
    recipe = bench.recipe(dataset_name=str(bench.rows(rows)), max_steps=1, **grouped)
    outcome = bench.run(recipe, method)
    dataset = outcome.trainer.train_dataset
    lengths = list(map(len, dataset["input_ids"])) if method == "sft" else pair_lengths(dataset, 128)
    order = list(outcome.trainer._get_train_sampler())
    assert sorted(order) == list(range(len(lengths)))
    batches = [[lengths[index] for index in order[start : start + 4]] for start in range(0, len(order), 4)]
    unordered = [lengths[start : start + 4] for start in range(0, len(lengths), 4)]
    assert padding(batches) < 0.7 * padding(unordered)


def padding(batches: list[list[int]]) -> int:
    return sum(max(batch) - length for batch in batches for length in batch)


@pytest.mark.parametrize("method", ["dpo", "orpo", "cpo", "kto", "reward", "sft"])
def test_rows_that_lose_their_completion_are_dropped_and_counted(bench: Bench, method: str) -> None:
    pairs = [{"prompt": "why", "chosen": "good", "rejected": "bad"}] * 6
    rows: list[dict[str, Any]] = [*pairs, {"prompt": LONG, "chosen": "good", "rejected": "bad"}]
    if method == "sft":
        rows = [{"prompt": row["prompt"], "completion": row["chosen"]} for row in rows]
    recipe = bench.recipe(dataset_name=str(bench.rows(rows)), max_length=64, max_steps=2)
    outcome = bench.run(recipe, method)
    assert (outcome.rows, outcome.dropped) == ((14, 2) if method == "kto" else (7, 1))
    assert all(loss == loss for loss in outcome.losses)


@pytest.mark.parametrize(
    ("method", "fields", "truncated"),
    [
        ("dpo", {}, 2),
        ("dpo", {"truncation_mode": "keep_end"}, 2),
        ("dpo", {"max_length": None}, 0),
        ("kto", {}, 2),
        ("reward", {}, 0),  # what is too long is dropped whole
        ("sft", {}, None),  # cut while it is tokenized: TRL does not say of which rows
        ("orpo", {}, None),
    ],
)
def test_rows_whose_completion_is_cut_short_are_counted(
    bench: Bench, method: str, fields: dict[str, Any], truncated: int | None
) -> None:
    """One row lacks a part of its chosen completion, one of its rejected; one loses a part of its prompt at most."""
    short = {"prompt": "why", "chosen": "good", "rejected": "bad"}
    rows = [short, short, {**short, "chosen": LONG}, {**short, "rejected": LONG}]
    if fields.get("truncation_mode") == "keep_end":
        rows.append({**short, "prompt": LONG})
    if method == "sft":
        rows = [{"prompt": row["prompt"], "completion": row["chosen"]} for row in rows]
    recipe = bench.recipe(dataset_name=str(bench.rows(rows)), max_length=64, max_steps=1)
    outcome = bench.run({**recipe, **fields}, method)
    assert outcome.truncated == truncated


@pytest.mark.parametrize("fields", [{}, {"precompute_ref_log_probs": True}], ids=["plain", "precomputed"])
@pytest.mark.parametrize("method", ["dpo", "orpo"])
def test_a_dataset_of_which_nothing_is_left_is_refused(bench: Bench, method: str, fields: dict[str, Any]) -> None:
    rows = [{"prompt": LONG, "chosen": "good", "rejected": "bad"}] * 3
    recipe = bench.recipe(dataset_name=str(bench.rows(rows)), max_length=64, **(fields if method == "dpo" else {}))
    with pytest.raises(exits.DataError, match="All 3 rows of the train split lose their completion: max_length is 64"):
        bench.run(recipe, method)


def test_no_length_limit_drops_nothing(bench: Bench) -> None:
    rows = [{"prompt": LONG, "chosen": "good", "rejected": "bad"}] * 4
    recipe = bench.recipe(dataset_name=str(bench.rows(rows)), max_length=None, max_steps=1)
    recipe["max_length"] = None
    outcome = bench.run(recipe)
    assert (outcome.rows, outcome.dropped) == (4, 0)


def test_a_streamed_dataset_trains_and_its_rows_are_not_known(bench: Bench) -> None:
    outcome = bench.run(bench.recipe(dataset_streaming=True, max_steps=3))
    assert len(outcome.losses) == 3
    assert (outcome.rows, outcome.dropped, outcome.truncated) == (None, None, None)


def test_a_given_adapter_is_trained_on_and_its_copy_is_the_reference(bench: Bench) -> None:
    first = bench.run(bench.recipe(**LORA, max_steps=8))
    again = bench.run(bench.recipe(max_steps=3), adapterNameOrPath=str(first.output))
    assert again.losses[0] == pytest.approx(0.693147, abs=1e-5)  # the policy starts at its reference: the adapter
    assert again.losses[-1] < again.losses[0]
    assert again.artifacts == {"adapter": "."}
    settings = json.loads((again.output / "adapter_config.json").read_text())
    assert settings["r"] == 8
    assert not (again.output / "ref").exists()
    from safetensors.torch import load_file

    weights = [load_file(outcome.output / "adapter_model.safetensors") for outcome in (first, again)]
    assert weights[0].keys() == weights[1].keys()
    assert any((weights[0][name] != weights[1][name]).any() for name in weights[0])


@pytest.mark.parametrize(
    ("adapter", "error"),
    [("/no/adapter", exits.ModelUnavailable), ("other", exits.UserError)],
    ids=["missing", "misfit"],
)
def test_an_adapter_that_does_not_fit_is_refused(bench: Bench, adapter: str, error: type) -> None:
    if adapter == "other":
        wide = str(tiny_model(bench.root / "wide", hidden=32))
        adapter = str(bench.run(bench.recipe(**LORA, model_name_or_path=wide, max_steps=1)).output)
    with pytest.raises(error) as caught:
        bench.run(bench.recipe(max_steps=1), adapterNameOrPath=adapter)
    assert "spec.model" in str(caught.value)


@pytest.mark.parametrize("fields", [{}, {"load_in_4bit": True}], ids=["fp32", "4bit"])
def test_merged_weights_are_base_plus_adapter_and_not_quantized(bench: Bench, fields: dict[str, Any]) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    outcome = bench.run(bench.recipe(**LORA, **fields, max_steps=3), merge=True)
    assert outcome.artifacts == {"adapter": ".", "merged": "merged"}
    merged = AutoModelForCausalLM.from_pretrained(outcome.output / "merged")
    base = AutoModelForCausalLM.from_pretrained(bench.model)
    adapted = PeftModel.from_pretrained(base, str(outcome.output))
    tokens = torch.arange(12).reshape(1, 12)
    with torch.no_grad():
        wanted, got, plain = adapted(tokens).logits, merged(tokens).logits, merged(tokens).logits
        with adapted.disable_adapter():
            plain = adapted(tokens).logits
    assert torch.allclose(got, wanted, atol=1e-5)
    assert not torch.allclose(got, plain, atol=1e-5)
    assert merged.config.use_cache
    assert (outcome.output / "merged/tokenizer.json").exists()


def test_a_full_model_is_already_merged(bench: Bench) -> None:
    assert bench.run(bench.recipe(max_steps=1), merge=True).artifacts == {"model": "."}


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"loss_type": ["exo_pair"]}, "Label smoothing"),
        ({**LORA, "sync_ref_model": True}, "sync_ref_model"),
        ({**LORA, "lora_target_modules": ["nothing_like_it"]}, "nothing_like_it"),
        ({**LORA, "lora_target_modules": ["lm_head"]}, "lm_head"),
    ],
    ids=["exo_pair", "sync", "target", "head"],
)
def test_what_trl_refuses_when_it_is_built_is_a_user_error(bench: Bench, fields: dict[str, Any], says: str) -> None:
    with pytest.raises((ValueError, NotImplementedError)) as caught:
        bench.run(bench.recipe(**fields))
    known = classify(caught.value)
    assert isinstance(known, exits.UserError)
    assert says in known.message
