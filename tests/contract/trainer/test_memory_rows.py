"""The longest sequence that a dataset gives, foretold from its text, against what TRL's trainer makes of it."""

from __future__ import annotations

from typing import Any

import pytest

from alignment_trainer.config import load_config
from alignment_trainer.data import load_datasets
from alignment_trainer.memory import check, device
from alignment_trainer.memory.rows import longest_sequence
from tests.trainer_runs import Bench

TOKENIZED = (("prompt_ids", "chosen_ids"), ("prompt_ids", "rejected_ids"), ("prompt_ids", "completion_ids"))
MESSAGES = [
    {"role": "user", "content": "Name a colour, any colour, that is not red."},
    {"role": "assistant", "content": "Green, as the leaves of the trees are. " * 6},
]


def longest_of(trainer: Any) -> int:
    """Tokens of the longest row that the trainer made."""
    dataset = trainer.train_dataset
    if "input_ids" in dataset.column_names:
        return max(map(len, dataset["input_ids"]))
    sides = [side for side in TOKENIZED if set(side) <= set(dataset.column_names)]
    return max(sum(len(row[name]) for name in side) for row in dataset for side in sides)


@pytest.mark.parametrize(
    ("method", "rows"),
    [
        pytest.param("dpo", None, id="pairs"),
        pytest.param("dpo", [{"chosen": MESSAGES, "rejected": MESSAGES[:1] + MESSAGES[1:]}] * 3, id="conversations"),
        pytest.param("kto", [{"prompt": "a b c", "completion": " d e" * 20, "label": True}] * 4, id="unpaired"),
        pytest.param("sft", [{"messages": MESSAGES}] * 3, id="messages"),
        pytest.param("sft", [{"text": "a word " * 30}, {"text": "short"}], id="text"),
    ],
)
def test_the_bound_is_above_the_longest_row_and_near_it(
    bench: Bench, method: str, rows: list[dict[str, Any]] | None
) -> None:
    data = bench.rows(rows) if rows else bench.data()
    recipe = bench.recipe(dataset_name=str(data), max_length=1024, max_steps=1, per_device_train_batch_size=2)
    config = load_config(*bench.files(recipe, method))
    bound = longest_sequence(config, load_datasets(config)[0])
    real = longest_of(bench.run(recipe, method).trainer)
    assert bound is not None
    assert real <= bound <= 1.3 * real + 100


@pytest.mark.parametrize(
    "fields",
    [{"dataset_streaming": True}, {"packing": True}],
    ids=["a stream is not read ahead", "packed rows are full"],
)
def test_where_rows_say_nothing_max_length_counts(bench: Bench, fields: dict[str, Any]) -> None:
    config = load_config(*bench.files(bench.recipe(dataset_name=str(bench.data("language_modeling")), **fields), "sft"))
    assert longest_sequence(config, load_datasets(config)[0]) is None


def test_short_rows_are_not_refused_for_a_large_max_length(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The GPU is this test's: the answer of torch.cuda.mem_get_info."""
    config = load_config(*bench.files(bench.recipe(max_length=65536, gradient_checkpointing=False)))
    config.run = config.run.model_copy(update={"device": "gpu"})
    monkeypatch.setattr(device, "gpu_free_bytes", lambda: 400 << 20)
    check.check_memory(config, load_datasets(config)[0])
