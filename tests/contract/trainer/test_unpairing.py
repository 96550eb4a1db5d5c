"""KTO from preference pairs: no batch order of TRL's that hides one kind of answer."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fast_runs import OFF, build
from tests.trainer_runs import Bench

BATCH, PAIRS = 4, 96


def preferences(with_prompt: bool) -> list[dict[str, Any]]:
    """Pairs whose answers name them; without `prompt` both sides begin with it."""
    rows = []
    for index in range(PAIRS):
        prompt, good, bad = f"what is {index}? ", f"good {index}", f"bad {index}"
        rows.append(
            {"prompt": prompt, "chosen": good, "rejected": bad}
            if with_prompt
            else {"chosen": prompt + good, "rejected": prompt + bad}
        )
    return rows


def answers(bench: Bench, rows: list[dict[str, Any]], **fields: Any) -> list[tuple[str, bool]]:
    """(prompt and completion, label) of the rows in the order in which KTO trains on them."""
    recipe = bench.recipe(dataset_name=str(bench.rows(rows)), per_device_train_batch_size=BATCH, **fields)
    trainer = build(bench, recipe, OFF, "kto")
    decode = trainer.processing_class.decode
    return [(decode(row["prompt_ids"] + row["completion_ids"]), row["label"]) for row in trainer.train_dataset]


@pytest.mark.parametrize("with_prompt", [True, False], ids=["prompt", "prompt in both answers"])
def test_every_answer_of_a_pair_is_there_and_both_kinds_come_from_the_start(bench: Bench, with_prompt: bool) -> None:
    rows = answers(bench, preferences(with_prompt))
    assert len({text for text, _ in rows}) == len(rows) == 2 * PAIRS
    assert all(("good" in text) == label for text, label in rows)
    batches = [{label for _, label in rows[at : at + BATCH]} for at in range(0, len(rows), BATCH)]
    assert sum(len(kinds) == 2 for kinds in batches) > len(batches) / 2
    assert 0.25 < sum(label for _, label in rows[: len(rows) // 4]) / (len(rows) // 4) < 0.75


def test_the_order_is_the_seeds(bench: Bench) -> None:
    """A run that is resumed skips what it has seen: the same rows must come first."""
    first, again, other = (answers(bench, preferences(True), seed=seed) for seed in (7, 7, 8))
    assert first == again
    assert first != other


def test_rows_that_were_never_pairs_keep_their_order(bench: Bench) -> None:
    labelled = [{"prompt": f"what is {n}? ", "completion": f"answer {n}", "label": n < 8} for n in range(16)]
    assert [label for _, label in answers(bench, labelled)] == [True] * 8 + [False] * 8
