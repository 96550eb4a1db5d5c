"""A worker executes bitsandbytes only where something is quantized, and trains alike either way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.trainer_runs import LORA, Bench, offline

WORKER = """
import json, sys
from alignment_trainer import worker
code = worker.main()
print(json.dumps({"code": code, "executed": "bitsandbytes.nn" in sys.modules}))
"""
SAVED = {"save_strategy": "steps", "save_steps": 4}


def losses(output: Path) -> list[float]:
    state = json.loads((output / "checkpoint-4" / "trainer_state.json").read_text())
    return [entry["loss"] for entry in state["log_history"] if "loss" in entry]


@pytest.mark.parametrize(
    ("fields", "executed"), [(LORA, False), ({**LORA, "load_in_4bit": True}, True)], ids=["lora", "4bit"]
)
def test_bitsandbytes_is_executed_only_for_quantized_weights(
    bench: Bench, fields: dict[str, Any], executed: bool
) -> None:
    recipe = bench.recipe(**fields, **SAVED)
    environment = {**os.environ, "ALIGNMENT_CONFIG_DIR": str(bench.files(recipe)[0].parent)}
    offline(environment)
    done = subprocess.run(
        [sys.executable, "-c", WORKER], env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == {"code": 0, "executed": executed}
    in_process = bench.run(bench.recipe(**fields, **SAVED))  # here bitsandbytes is imported as PEFT would
    assert losses(Path(recipe["output_dir"])) == pytest.approx(in_process.losses, abs=1e-6)
