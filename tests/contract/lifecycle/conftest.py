"""Runs of the real trainer in real processes, on a tiny model."""

import itertools
import json
import socket
from pathlib import Path

import jsonschema
import pytest

from tests.contract.lifecycle.listener import Listener
from tests.contract.lifecycle.pods import Run
from tests.tiny import tiny_model, tiny_preferences

PROGRESS = json.loads((Path(__file__).parents[3] / "docs/contract/progress.schema.json").read_text())
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
def new_run(tiny, zygote, tmp_path_factory):
    """Makes a Run: `new_run(run={...}, **recipe fields)`; its pods start as `launch` does it, or from the zygote."""
    counter, runs = itertools.count(1), []

    def make(run=None, environment=None, launch=None, **fields):
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
        runs.append(Run(root, recipe, run or {}, environment or {}, launch or zygote.start))
        return runs[-1]

    yield make
    for run in runs:
        run.end()


def two_pods(new_run, run=None, **fields):
    """A run of two pods on this machine; each is started with its JOB_COMPLETION_INDEX."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return new_run(run={"nodes": 2, "masterAddress": "127.0.0.1", "masterPort": port, **(run or {})}, **fields)


@pytest.fixture
def operator():
    """Who receives the progress; every report is valid by the contract."""
    listener = Listener()
    yield listener
    listener.close()
    for report in listener.reports:
        jsonschema.validate(report, PROGRESS)


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
