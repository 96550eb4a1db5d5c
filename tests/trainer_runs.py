"""Runs of the real trainer on the tiny model, in this process: what tests of its core share."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.tiny import tiny_model, tiny_preferences

LORA = {"use_peft": True, "lora_r": 8, "lora_target_modules": "all-linear"}


@dataclass
class Outcome:
    """What a run left behind."""

    output: Path
    artifacts: dict[str, str]
    trainer: Any
    rows: int | None
    dropped: int | None
    truncated: int | None

    @property
    def losses(self) -> list[float]:
        return [entry["loss"] for entry in self.trainer.state.log_history if "loss" in entry]


class Bench:
    """A tiny model, tiny datasets and the two files of a run, under one temporary folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.model = tiny_model(root / "model")
        self._runs = itertools.count(1)

    def data(self, kind: str = "preference", n: int = 32) -> Path:
        """A dataset folder with a train and a test split."""
        folder = self.root / f"{kind}-{n}"
        if not folder.exists():
            folder.mkdir()
            tiny_preferences(folder / "train.jsonl", n, kind)
            tiny_preferences(folder / "test.jsonl", 4, kind, seed=1)
        return folder

    def rows(self, rows: list[dict[str, Any]], name: str = "train.jsonl") -> Path:
        """A dataset folder with these rows."""
        folder = self.root / f"rows-{next(self._runs)}"
        folder.mkdir()
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        return folder

    def recipe(self, **fields: Any) -> dict[str, Any]:
        """A recipe of a few fast steps in fp32 on the CPU; `fields` come on top, None removes one."""
        recipe = {
            "model_name_or_path": str(self.model),
            "dataset_name": str(self.data()),
            "output_dir": str(self.root / f"out-{next(self._runs)}"),
            "learning_rate": 1e-3,
            "max_steps": 4,
            "logging_steps": 1,
            "per_device_train_batch_size": 4,
            "per_device_eval_batch_size": 4,
            "max_length": 128,
            "bf16": False,
            "use_cpu": True,
            "save_strategy": "no",
            **fields,
        }
        return {name: value for name, value in recipe.items() if value is not None}

    def files(self, recipe: dict[str, Any], method: str = "dpo", **run: Any) -> tuple[Path, Path]:
        """recipe.yaml and run.yaml, written."""
        config = self.root / f"config-{next(self._runs)}"
        config.mkdir()
        run_config = {
            "contractVersion": 1,
            "method": method,
            "job": {"namespace": "team-a", "name": "tiny", "run": 1},
            "outputPath": recipe["output_dir"],
            "device": "cpu",
            "nodes": 1,
            "processesPerNode": 1,
            **run,
        }
        (config / "recipe.yaml").write_text(yaml.safe_dump(recipe))
        (config / "run.yaml").write_text(yaml.safe_dump(run_config))
        return config / "recipe.yaml", config / "run.yaml"

    def run(self, recipe: dict[str, Any] | None = None, method: str = "dpo", **run: Any) -> Outcome:
        """Train for real, in this process."""
        from alignment_trainer import train
        from alignment_trainer.lifecycle import NoLifecycle

        recipe = recipe or self.recipe()
        lifecycle = NoLifecycle()
        artifacts = train.run(*self.files(recipe, method, **run), lifecycle)
        counts = lifecycle.rows, lifecycle.dropped, lifecycle.truncated
        return Outcome(Path(recipe["output_dir"]), artifacts, lifecycle.trainer, *counts)


def offline(environment: Any) -> None:
    """Nothing that a test trains comes from a hub; `environment` is os.environ or a copy of it."""
    environment.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", TRL_EXPERIMENTAL_SILENCE="1")
