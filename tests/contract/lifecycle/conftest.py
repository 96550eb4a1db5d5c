"""Runs of the real trainer in real processes, on a tiny model."""

import itertools

import pytest

from tests.contract.lifecycle.pods import Run
from tests.tiny import tiny_model, tiny_preferences

LORA = {"use_peft": True, "lora_r": 8, "lora_target_modules": "all-linear"}


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Folder with `model` and `data`."""
    root = tmp_path_factory.mktemp("tiny")
    tiny_model(root / "model", hidden=32)
    (root / "data").mkdir()
    tiny_preferences(root / "data" / "train.jsonl", 64)
    tiny_preferences(root / "data" / "test.jsonl", 8, seed=1)
    return root


@pytest.fixture(scope="session")
def new_run(tiny, tmp_path_factory):
    """Makes a Run: `new_run(run={...}, **recipe fields)`."""
    counter, runs = itertools.count(1), []

    def make(run=None, environment=None, **fields):
        recipe = {
            "model_name_or_path": str(tiny / "model"),
            "dataset_name": str(tiny / "data"),
            "max_steps": 60,
            "logging_steps": 1,
            "save_steps": 10,
            "per_device_train_batch_size": 4,
            "learning_rate": 1e-3,
            "max_length": 64,
            "bf16": False,
            "gradient_checkpointing": False,
            **fields,
        }
        root = tmp_path_factory.mktemp(f"run-{next(counter)}")
        runs.append(Run(root, recipe, run or {}, environment or {}))
        return runs[-1]

    yield make
    for run in runs:
        run.end()


@pytest.fixture(scope="session")
def straight(new_run):
    """Runs that nothing disturbed, made once: full fine-tuning and LoRA."""
    made = {}

    def get(kind):
        if kind not in made:
            made[kind] = new_run(**(LORA if kind == "lora" else {}))
            made[kind].complete()
        return made[kind]

    return get
