"""receipt.json: all that is needed to make the same model again, and to know that it is the same.

Written in two steps: `begun` while the process that trained is there, `completed` when the weights are final. An
attempt that finds every step done has only the second left (docs/contract/receipt.schema.json).
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import durable, health, journal
from ..export import MERGED
from ..model_identity import file_hashes
from . import history, machine, sources

if TYPE_CHECKING:
    from ..config import Config

RECEIPT_FILE = "receipt.json"
RECEIPT_VERSION = 1
Receipt = dict[str, Any]


def begun(config: Config, trainer: Any = None, train_dataset: Any = None) -> Receipt:
    """Configuration, sources, machine. Without a trainer (its process is gone): what can be known without it."""
    args = config.training_args
    receipt: Receipt = {
        "receiptVersion": RECEIPT_VERSION,
        "job": config.run.job.model_dump(exclude_none=True),
        "method": config.run.method,
        "configuration": configuration(config),
        "seeds": {"seed": args.seed, "dataSeed": args.data_seed, "fullDeterminism": args.full_determinism},
        **sources.models(config, _commit(trainer)),
        "dataset": sources.dataset(config, train_dataset) | rows(trainer, train_dataset),
        "software": machine.software(),
    }
    if trainer is not None:
        receipt |= of_training(config, trainer)
    return receipt


def of_training(config: Config, trainer: Any) -> Receipt:
    """What only the trainer knows."""
    state = trainer.state
    found: Receipt = {
        "hardware": machine.hardware(config.training_args.world_size),
        "steps": {"done": state.global_step, "total": state.max_steps},
        "findings": health.findings(state.log_history, config.run.health),
    }
    if paper := getattr(trainer, "_paper", None):
        found["paper"] = {name: paper[name] for name in ("title", "id") if name in paper}
    if (optimizations := getattr(trainer, "optimizations", None)) is not None:
        found["optimizations"] = _plain(optimizations)
    return found


def completed(begun: Receipt, folder: Path, metrics: Sequence[Mapping[str, Any]]) -> Receipt:
    """The receipt with the end of the story: attempts, final metrics, and the digests of what was saved."""
    return {
        **begun,
        "attempts": attempts(journal.Journal(folder).attempts()),
        "metrics": history.final_metrics(metrics),
        "weights": weights(folder),
    }


def configuration(config: Config) -> dict[str, Any]:
    """The two files as they were given, and every setting with its default filled in."""
    args = config.training_args.to_dict()  # hides tokens
    model = dataclasses.asdict(config.model_args)
    return _plain({"recipe": config.recipe, "run": config.run.model_dump(), "training": args, "model": model})


def attempts(journal_attempts: Sequence[journal.Attempt]) -> list[dict[str, Any]]:
    """Where each attempt began and how it ended; of the last one the end is not known yet."""
    told = []
    for attempt in journal_attempts:
        entry: dict[str, Any] = {"attempt": attempt.number, "fromStep": attempt.checkpoint_step}
        if attempt.end:
            entry |= {"toStep": attempt.step, "outcome": attempt.end.get("outcome"), "class": attempt.end.get("class")}
        told.append({name: value for name, value in entry.items() if value is not None})
    return told


def weights(folder: Path) -> dict[str, str]:
    """SHA-256 of every safetensors file that the run made, by its path in the output folder."""
    top = file_hashes(sorted(folder.glob("*.safetensors")))
    merged = file_hashes(sorted((folder / MERGED).glob("*.safetensors")))
    return top | {f"{MERGED}/{name}": digest for name, digest in merged.items()}


def rows(trainer: Any, train_dataset: Any) -> dict[str, int]:
    """Rows of the train split, and those of them that `max_length` made useless or cut, as far as they are known."""
    counted = getattr(trainer, "rows", None)
    known = {
        "rows": counted if counted is not None else getattr(train_dataset, "num_rows", None),
        "droppedRows": getattr(trainer, "dropped", None),
        "truncatedRows": getattr(trainer, "truncated", None),
    }
    return {name: count for name, count in known.items() if count is not None}


def read(folder: Path) -> Receipt | None:
    """The receipt in the report's folder, complete or begun; None if there is none."""
    try:
        receipt = json.loads((folder / RECEIPT_FILE).read_bytes())
    except (OSError, ValueError):
        return None
    return receipt if isinstance(receipt, dict) else None


def write(folder: Path, receipt: Receipt) -> None:
    durable.write_file(folder / RECEIPT_FILE, json.dumps(receipt, indent=1, allow_nan=False).encode())


def _commit(trainer: Any) -> str | None:
    """The commit that the policy's configuration was read from; None for a folder."""
    return getattr(getattr(getattr(trainer, "model", None), "config", None), "_commit_hash", None)


def _plain(value: Any) -> Any:
    """In JSON's types: what has no such type (a dtype, an enumeration) as text, NaN and infinity too."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, bool | int | float | str | None) else str(value)
