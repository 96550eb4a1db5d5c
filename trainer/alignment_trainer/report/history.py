"""metrics.jsonl: every log record of a run, over all its attempts.

The Trainer's `state.log_history` travels in the checkpoints, so after a resume it goes on where the checkpoint stood:
what an attempt logged and lost is not in it. Only the summary at the end needs mending, for transformers computes it
as if this attempt had made every step.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import checkpoint, durable

METRICS_FILE = "metrics.jsonl"
Record = dict[str, Any]

_NOT_METRICS = ("step", "epoch")
_OF_ONE_ATTEMPT = ("train_samples_per_second", "train_steps_per_second")  # computed from the steps of the whole run


def records(log_history: Iterable[Mapping[str, Any]], resumed_from: int = 0) -> list[Record]:
    """The log records, oldest first, `step` first in each; of two alike the later one; no NaN (null), as JSON has none.

    resumed_from: the step at which the last attempt began; its summary (`train_loss`, ..._per_second) is corrected.
    """
    latest: dict[Any, Record] = {}
    for entry in log_history:
        record = {"step": entry.get("step", 0), **{name: _json_value(value) for name, value in entry.items()}}
        latest[record["step"], frozenset(record)] = record
    found = sorted(latest.values(), key=lambda record: record["step"])  # stable: as they were logged
    return [of_whole_run(record, found, resumed_from) for record in found]


def of_whole_run(record: Mapping[str, Any], history: Sequence[Mapping[str, Any]], resumed_from: int) -> Record:
    """The summary that ends a resumed training, for what was really done; every other record as it is."""
    corrected = dict(record)
    steps = record.get("step") or max((entry.get("step", 0) for entry in history), default=0)
    if "train_runtime" not in record or resumed_from == 0 or steps == 0:
        return corrected
    corrected["train_loss"] = mean_loss(history)
    for name in _OF_ONE_ATTEMPT:
        if isinstance(record.get(name), int | float):
            corrected[name] = record[name] * (steps - resumed_from) / steps
    return corrected


def mean_loss(history: Sequence[Mapping[str, Any]]) -> float | None:
    """Mean training loss of all steps: a record's loss is the mean since the record before it."""
    total, last = 0.0, 0
    for entry in history:
        if isinstance(entry.get("loss"), int | float):
            total += entry["loss"] * (entry["step"] - last)
            last = entry["step"]
    return total / last if last else None


def final_metrics(history: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The last value of every metric."""
    merged = {name: value for record in history for name, value in record.items()}
    return {
        name: value for name, value in merged.items() if name not in _NOT_METRICS and isinstance(value, int | float)
    }


def write(folder: Path, history: Sequence[Mapping[str, Any]]) -> None:
    lines = (json.dumps(record, allow_nan=False) + "\n" for record in history)
    durable.write_file(folder / METRICS_FILE, "".join(lines).encode())


def read(folder: Path) -> list[Record]:
    """What `write` wrote; if that is gone, the history in the newest checkpoint of the run above `folder`."""
    try:
        return [json.loads(line) for line in (folder / METRICS_FILE).read_text().splitlines()]
    except FileNotFoundError:
        found = checkpoint.complete(folder.parent)
        state = json.loads((found[-1].path / "trainer_state.json").read_text()) if found else {}
        return records(state.get("log_history", []))


def _json_value(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, int | str | None) else str(value)
