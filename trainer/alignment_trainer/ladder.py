"""The out-of-memory ladder (run.yaml: outOfMemoryLadder): a run that does not fit goes on with less at a time.

Each rung halves the micro-batch and doubles the accumulation, so that the global batch, the steps and the schedule stay
what they were; the last one recomputes activations (gradient checkpointing). The rung is a file in the output folder:
the process that ran out of memory is not to be trusted any more, and every later attempt stays on it.
Losses that compare the pairs of a micro-batch with each other (aot, KTO's KL term) see fewer of them on a lower rung.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from . import durable
from .exits import StorageError

FILE = "memory-rung.json"
VARIABLE = "ALIGNMENT_MEMORY_RUNG"  # what the launcher read: all processes of an attempt stand on the same rung


def read(folder: str | Path) -> dict[str, Any]:
    """Recipe fields of the rung that the run stands on, in TRL's names; empty at the top."""
    try:
        fields = json.loads((Path(folder) / FILE).read_bytes())
    except (OSError, ValueError):
        return {}
    return fields if isinstance(fields, dict) else {}


def current() -> dict[str, Any]:
    """The rung of this worker's attempt: recipe fields, empty at the top."""
    return json.loads(os.environ.get(VARIABLE) or "{}")


def descend(folder: str | Path, training_args: Any) -> dict[str, Any]:
    """Write the rung below the one of `training_args` and return it; empty if there is none. Raises StorageError."""
    rung = next_rung(training_args)
    if not rung:
        return {}
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        durable.write_file(
            Path(folder) / FILE, json.dumps(rung).encode(), shared=True
        )  # several ranks may fall at once
    except OSError as error:
        message = f"The rung of the out-of-memory ladder cannot be written: {error.strerror or error}."
        raise StorageError(message, "Check spec.output.volume.") from error
    return rung


def next_rung(training_args: Any) -> dict[str, Any]:
    """Recipe fields of the next rung; empty when micro-batches are of one row and activations are recomputed."""
    micro, accumulation = training_args.per_device_train_batch_size, training_args.gradient_accumulation_steps
    checkpointing = bool(training_args.gradient_checkpointing)
    if micro == 1 and checkpointing:
        return {}
    factor = _smallest_factor(micro)
    micro, accumulation = micro // factor, accumulation * factor
    return {
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": accumulation,
        "per_device_eval_batch_size": min(micro, training_args.per_device_eval_batch_size),
        "gradient_checkpointing": checkpointing or factor == 1,
        "activation_checkpointing": checkpointing or factor == 1,  # its new name, which wins where a recipe has both
    }


def describe(rung: dict[str, Any]) -> str:
    """In the words of the spec."""
    words = [
        f"perDeviceTrainBatchSize {rung['per_device_train_batch_size']}",
        f"gradientAccumulationSteps {rung['gradient_accumulation_steps']}",
    ]
    return ", ".join([*words, "gradientCheckpointing true"] if rung["gradient_checkpointing"] else words)


def _smallest_factor(number: int) -> int:
    """2 for even numbers; an odd micro-batch can keep the global batch only with another one. 1 for 1."""
    return next((factor for factor in range(2, number + 1) if number % factor == 0), 1)
