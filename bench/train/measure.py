"""One measured run: a fresh process with empty caches, as a new pod has them, watched by the probe."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from . import record
from .record import Run
from .workloads import Variant

PROBE = Path(__file__).with_name("probe")
TIMEOUT_SECONDS = 3600


class RunFailed(RuntimeError):
    """A measured program ended with an error; the message has the end of what it said."""


def measure(variant: Variant, recipe: dict[str, Any], run_config: dict[str, Any]) -> Run:
    """Run `variant` of the recipe and take its figures.

    Raises:
        RunFailed: the program's exit code is not 0, or it took no step.
    """
    with tempfile.TemporaryDirectory(prefix="bench-train-") as name:
        folder = Path(name)
        command = write_files(variant, recipe, run_config, folder)
        records = folder / "records"
        records.mkdir()
        begun, peak_rss = execute(command, environment(folder, records), folder / "log")
        found = [json.loads(file.read_text()) for file in sorted(records.glob("*.json"))]
        samples = recipe["per_device_train_batch_size"] * recipe.get("gradient_accumulation_steps", 1)
        try:
            return record.parse(found, begun, samples, peak_rss)
        except record.NoTraining as error:
            raise RunFailed(f"{variant.name}: {error}\n{tail(folder / 'log')}") from error


def write_files(variant: Variant, recipe: dict[str, Any], run_config: dict[str, Any], folder: Path) -> list[str]:
    """recipe.yaml and, for ours, run.yaml; returns the command that runs them."""
    output, path = str(folder / "output"), folder / "recipe.yaml"
    path.write_text(yaml.safe_dump({**recipe, "output_dir": output, **variant.recipe}))
    if variant.is_stock:
        return [str(Path(sys.executable).with_name("trl")), run_config["method"], "--config", str(path)]
    run = {**run_config, "outputPath": output, **variant.run}
    (folder / "run.yaml").write_text(yaml.safe_dump(run))
    return [sys.executable, "-m", "alignment_trainer"]


def environment(folder: Path, records: Path) -> dict[str, str]:
    """The same for both programs: offline, empty caches, every core (accelerate would take one for itself)."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, (str(PROBE), os.environ.get("PYTHONPATH")))),
        "BENCH_RECORD": str(records),
        "ALIGNMENT_CONFIG_DIR": str(folder),
        "ALIGNMENT_TERMINATION_LOG": str(folder / "termination"),
        "HF_HOME": str(folder / "huggingface"),
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS") or str(len(os.sched_getaffinity(0))),
    }


def execute(command: list[str], environment: dict[str, str], log: Path) -> tuple[float, int]:
    """Run to the end; returns (monotonic clock at the start, peak bytes of the largest process, by wait4).

    Raises:
        RunFailed: exit code other than 0.
    """
    with log.open("wb") as file:
        begun = time.monotonic()
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RunFailed(f"{' '.join(command)} ended with {process.returncode}:\n{tail(log)}")
    return begun, usage.ru_maxrss * 1024


def tail(log: Path) -> str:
    return log.read_text(errors="replace")[-3000:]


def versions() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("torch", "transformers", "trl", "peft", "datasets", "accelerate")}


def processor() -> str:
    """The CPU's name as Linux gives it, and how many of it this process may use."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown CPU")
    return f"{len(os.sched_getaffinity(0))} x {name}"
