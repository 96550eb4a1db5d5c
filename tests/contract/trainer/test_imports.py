"""On a CPU a worker executes Triton never, bitsandbytes where something is quantized, and trains alike either way."""

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
print(json.dumps({"code": code, "executed": [name for name in sys.argv[1:] if name in sys.modules]}))
"""
FOR_QUANTIZED = ("bitsandbytes.nn", "torch._inductor.ir")
HEAVY = (*FOR_QUANTIZED, "triton.language")
SAVED = {"save_strategy": "steps", "save_steps": 4}


def losses(output: Path) -> list[float]:
    state = json.loads((output / "checkpoint-4" / "trainer_state.json").read_text())
    return [entry["loss"] for entry in state["log_history"] if "loss" in entry]


@pytest.mark.parametrize(
    ("fields", "executed"), [(LORA, ()), ({**LORA, "load_in_4bit": True}, FOR_QUANTIZED)], ids=["lora", "4bit"]
)
def test_heavy_packages_are_executed_only_for_quantized_weights(
    bench: Bench, fields: dict[str, Any], executed: tuple[str, ...]
) -> None:
    recipe = bench.recipe(**fields, **SAVED)
    environment = {**os.environ, "ALIGNMENT_CONFIG_DIR": str(bench.files(recipe)[0].parent)}
    offline(environment)
    done = subprocess.run(
        [sys.executable, "-c", WORKER, *HEAVY],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == {"code": 0, "executed": list(executed)}
    in_process = bench.run(bench.recipe(**fields, **SAVED))  # here bitsandbytes is imported as PEFT would
    assert losses(Path(recipe["output_dir"])) == pytest.approx(in_process.losses, abs=1e-6)
