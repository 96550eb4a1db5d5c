"""When training stops and saves, and with what it resumes."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.contract.rules import harness
from tests.contract.rules.harness import World
from tests.contract.rules.shown.case import bad
from tests.rule_cases import Case, merge


def zero_steps_train_one(case: Case, world: World, out: Path) -> None:
    """Neither none nor all: one step, and then a state that no success rule knows (1 step of 0)."""
    state = harness.run(merge(bad(case), {"training": {"numTrainEpochs": 1}}), world, out).state
    assert (state.global_step, state.max_steps) == (1, 0)


def zero_save_steps_write_no_checkpoint(case: Case, world: World, out: Path) -> None:
    harness.run(merge(bad(case), {"training": {"maxSteps": 3}}), world, out)
    assert "checkpoint-1" not in {path.name for path in out.glob("checkpoint-*")}


def best_without_eval_saves_nothing(case: Case, world: World, out: Path) -> None:
    harness.run(bad(case), world, out)
    assert not list(out.glob("checkpoint-*"))


def resume_without_optimizer_differs(case: Case, world: World, out: Path) -> None:
    def last_weights(only_model: bool) -> list[Any]:
        folder = out / str(only_model)
        settings = {"maxSteps": 4, "saveSteps": 2, "learningRate": 0.01, "saveOnlyModel": only_model}
        straight = harness.run(merge(bad(case), {"training": settings}), world, folder)
        resumed = harness.trainer(merge(bad(case), {"training": settings}), world, folder)
        resumed.train(resume_from_checkpoint=str(folder / "checkpoint-2"))
        return [straight.model.lm_head.weight, resumed.model.lm_head.weight]

    assert torch.equal(*last_weights(False))
    assert not torch.equal(*last_weights(True))


def the_new_checkpointing_name_wins(case: Case, world: World, out: Path) -> None:
    section, config = harness.snake(bad(case)["training"]), harness.training_config(bad(case), out)
    for name in ("checkpointing", "checkpointing_kwargs"):
        if f"activation_{name}" in section:
            assert getattr(config, f"gradient_{name}") == section[f"activation_{name}"]
            assert section[f"gradient_{name}"] != section[f"activation_{name}"]


def optimizer_asks_for_targets(case: Case, world: World, out: Path) -> None:
    with pytest.raises((ValueError, ImportError), match=r"optim_target_modules|galore|apollo"):
        harness.run(bad(case), world, out)
