"""What experiment trackers wrote into a folder, read from their own files: run by run, in the order they began."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Tracked:
    """One run of a tracker. `steps`: the optimizer steps that a training loss was logged for; `end`: as it says."""

    name: str
    end: object
    beta: float | None
    steps: list[int] = field(default_factory=list)


def read(tracker: str, folder: Path) -> list[Tracked]:
    """The runs below `folder`; `tracker` is a name of report_to."""
    return {"tensorboard": _tensorboard, "wandb": _wandb, "mlflow": _mlflow, "trackio": _trackio}[tracker](folder)


def _tensorboard(folder: Path) -> list[Tracked]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    (written, *_) = events.Tensors("args/text_summary")
    settings = json.loads(written.tensor_proto.string_val[0])
    steps = [event.step for event in events.Scalars("train/loss")]
    return [Tracked(settings["run_name"], None, settings["beta"], steps)]


def _wandb(folder: Path) -> list[Tracked]:
    runs = []
    for path in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        run = Tracked("", None, None)
        for record in _wandb_records(path):
            kind = record.WhichOneof("record_type")
            if kind == "run":
                run.name = record.run.display_name
            elif kind == "exit":
                run.end = record.exit.exit_code
            elif kind == "config":
                settings = {item.key: item.value_json for item in record.config.update}
                run.beta = json.loads(settings.get("beta", json.dumps(run.beta)))
            elif kind == "history":
                row = {item.key or item.nested_key[-1]: item.value_json for item in record.history.item}
                run.steps += [int(row["train/global_step"])] if "train/loss" in row else []
        runs.append(run)
    return runs


def _wandb_records(path: Path) -> Iterator[Any]:
    """The records of a .wandb file: LevelDB's log format, after a header of 7 bytes."""
    from wandb.proto import wandb_internal_pb2

    data, position, record = path.read_bytes(), 7, b""
    while position + 7 <= len(data):
        rest_of_block = 32768 - position % 32768
        if rest_of_block < 7:
            position += rest_of_block
            continue
        _, length, kind = struct.unpack("<IHB", data[position : position + 7])
        part = data[position + 7 : position + 7 + length]
        position += 7 + length
        record = part if kind in (1, 2) else record + part  # 1: whole; 2, 3, 4: first, middle and last part
        if kind in (1, 4):
            yield wandb_internal_pb2.Record.FromString(record)


def _mlflow(folder: Path) -> list[Tracked]:
    import mlflow

    client, runs = mlflow.MlflowClient(f"file:{folder}/mlruns"), []
    for run in client.search_runs(["0"], order_by=["start_time ASC"]):
        history = client.get_metric_history(run.info.run_id, "loss")
        beta = float(run.data.params["beta"])
        runs.append(Tracked(run.info.run_name, run.info.status, beta, [entry.step for entry in history]))
    return runs


def _trackio(folder: Path) -> list[Tracked]:
    import sqlite3

    runs: dict[str, Tracked] = {}
    with sqlite3.connect(folder / "trackio" / "huggingface.db") as database:
        for name, settings in database.execute("SELECT run_name, config FROM configs"):
            runs[name] = Tracked(name, None, json.loads(settings)["beta"])
        for name, metrics in database.execute("SELECT run_name, metrics FROM metrics ORDER BY id"):
            row = json.loads(metrics)
            runs[name].steps += [row["train/global_step"]] if "train/loss" in row else []
    return list(runs.values())
