"""The out-of-memory ladder: every rung needs less memory and keeps the global batch, and there is a last one."""

from dataclasses import dataclass, replace
from typing import Any

import pytest

from alignment_trainer import ladder


@dataclass
class Settings:
    """The fields of TrainingArguments that the ladder reads and writes."""

    per_device_train_batch_size: int
    gradient_accumulation_steps: int = 1
    per_device_eval_batch_size: int = 8
    gradient_checkpointing: bool = False
    activation_checkpointing: bool = False


def rungs(settings: Settings) -> list[dict[str, Any]]:
    found = []
    while rung := ladder.next_rung(settings):
        found.append(rung)
        settings = replace(settings, **rung)
    return found


@pytest.mark.parametrize(
    ("settings", "batches"),
    [
        (Settings(8), ["4x2", "2x4", "1x8", "1x8 recomputed"]),
        (Settings(8, 4), ["4x8", "2x16", "1x32", "1x32 recomputed"]),
        (Settings(6), ["3x2", "1x6", "1x6 recomputed"]),
        (Settings(4, gradient_checkpointing=True), ["2x2 recomputed", "1x4 recomputed"]),
        (Settings(1), ["1x1 recomputed"]),
        (Settings(1, gradient_checkpointing=True), []),
    ],
    ids=["8", "8x4", "6", "4 recomputed", "1", "1 recomputed"],
)
def test_the_rungs_of_a_run(settings: Settings, batches: list[str]) -> None:
    def name(rung: dict[str, Any]) -> str:
        batch = f"{rung['per_device_train_batch_size']}x{rung['gradient_accumulation_steps']}"
        return f"{batch} recomputed" if rung["gradient_checkpointing"] else batch

    assert [name(rung) for rung in rungs(settings)] == batches


def test_evaluation_takes_no_larger_batches_than_training() -> None:
    assert [rung["per_device_eval_batch_size"] for rung in rungs(Settings(16))] == [8, 4, 2, 1, 1]


def test_the_rung_is_kept_in_the_output_folder(tmp_path) -> None:
    assert ladder.read(tmp_path / "out") == {}
    rung = ladder.descend(tmp_path / "out", Settings(2))
    assert ladder.read(tmp_path / "out") == rung
    assert ladder.describe(rung) == "perDeviceTrainBatchSize 1, gradientAccumulationSteps 2"


def test_where_no_rung_is_left_none_is_written(tmp_path) -> None:
    assert ladder.descend(tmp_path, Settings(1, gradient_checkpointing=True)) == {}
    assert ladder.read(tmp_path) == {}


@pytest.mark.parametrize("content", ["", "{", "[]", "null"])
def test_a_torn_file_stands_for_the_top(tmp_path, content: str) -> None:
    (tmp_path / ladder.FILE).write_text(content)
    assert ladder.read(tmp_path) == {}
