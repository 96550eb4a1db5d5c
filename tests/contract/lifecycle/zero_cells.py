"""Calibration of the memory estimate under ZeRO: two processes on the CPU, their tensors beside what is predicted.

    python -m tests.contract.lifecycle.zero_cells     # prints the table of docs/memory.md

As memory_cells.py, with DeepSpeed's buckets a thousandth of their usual size, or they would hide all else.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.contract.lifecycle.pods import Run
from tests.contract.lifecycle.zygote import Zygote
from tests.contract.trainer.memory_cells import ACCUMULATED, BF16, KEPT, LORA, PRECOMPUTED, RESIDENT, STOCK, Calibration
from tests.trainer_runs import offline

PACKAGE = Path(sys.prefix) / "deepspeed"
PROCESSES = 2
BUCKET = 500_000
MIB = 2**20


@dataclass(frozen=True)
class ZeroCell:
    """One row: a ZeRO stage, and fields of recipe.yaml and run.yaml."""

    name: str
    stage: int
    recipe: dict[str, Any]
    run: dict[str, Any]


def cells() -> Iterator[ZeroCell]:
    kinds: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "full fp32, resident": ({}, RESIDENT),
        "full bf16, precomputed": (BF16, PRECOMPUTED),
        "full bf16, precomputed, accumulated": ({**BF16, **ACCUMULATED}, PRECOMPUTED),
        "LoRA fp32, shared": (LORA, {}),
        "LoRA bf16, shared": ({**LORA, **BF16}, {}),
    }
    for stage in (1, 2, 3):
        for name, (recipe, run) in kinds.items():
            yield ZeroCell(f"ZeRO-{stage}, {name}", stage, {**KEPT, **recipe}, run)


class ZeroCalibration:
    """The model and the batches of memory_cells.Calibration, trained by two processes."""

    def __init__(self, root: Path) -> None:
        offline(os.environ)
        self.root, self.calibration = root, Calibration(root)
        self.zygote = Zygote(
            "tests.contract.lifecycle.zero_on_cpus",
            "tests.contract.lifecycle.zero_count",
            python_path=str(PACKAGE),
        )

    def measure(self, cell: ZeroCell) -> list[dict[str, dict[str, int]]]:
        """What each process counted, and what is predicted for it."""
        shared = {"stage": cell.stage, "reduce_bucket_size": BUCKET}
        bench = self.calibration.bench
        recipe = bench.recipe(
            dataset_name=str(self.calibration.padded),
            deepspeed=json.dumps({"zero_optimization": shared}),
            **self.calibration.fields,
            **cell.recipe,
        )
        settings = {"processesPerNode": PROCESSES, "optimizations": STOCK, **cell.run}
        run = Run(self.root / cell.name.replace(" ", "-"), recipe, settings, {}, self.zygote.start)
        run.complete()
        return [json.loads((run.root / f"counted-{rank}.json").read_text()) for rank in range(PROCESSES)]


def row(cell: ZeroCell, reports: list[dict[str, dict[str, int]]]) -> str:
    """Counted (of the process that has most) and predicted, in MiB."""
    predicted, counted = (
        reports[0]["predicted"],
        {name: max(report["counted"][name] for report in reports) for name in reports[0]["counted"]},
    )
    pairs = [
        (predicted["weights"] + predicted["adapter"], counted["weights"]),
        (predicted["reference"], counted["reference"]),
        (predicted["gradients"], counted["gradients"]),
        (predicted["optimizer"], counted["optimizer"]),
        (max(reports[0]["moments"].values()), counted["peak"]),
    ]
    return f"| {cell.name} | " + " | ".join(f"{ours / MIB:.1f} / {theirs / MIB:.1f}" for ours, theirs in pairs) + " |"


def main() -> None:
    print("| | weights | reference | gradients | optimizer | peak |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as root:
        calibration = ZeroCalibration(Path(root))
        for cell in cells():
            print(row(cell, calibration.measure(cell)), flush=True)
        calibration.zygote.close()


if __name__ == "__main__":
    main()
