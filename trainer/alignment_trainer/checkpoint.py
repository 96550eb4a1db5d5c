"""Checkpoints that are complete or do not count.

transformers writes a checkpoint file by file into its final folder. Here a sentinel stands in the folder while it is
written, and when every process is done a marker with the size of every file is written, after all of them have reached
the disk. A folder without the marker, with the sentinel, or with a file of another size is skipped on resume.
Nothing here needs torch: the launcher looks for checkpoints too.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from . import durable
from .exits import StorageError

logger = logging.getLogger(__name__)

MARKER = "complete.json"
SENTINEL = "checkpoint-is-incomplete.txt"  # the name that transformers gives it too
_NAME = re.compile(r"checkpoint-(\d+)")


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint. `facts`: what the marker says beside the files (resumable, totalTrainTokens)."""

    path: Path
    step: int
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def resumable(self) -> bool:
        """False if it holds the model only (save_only_model): optimizer and schedule would start anew."""
        return bool(self.facts.get("resumable", True))

    @property
    def time(self) -> str:
        """When it was complete: RFC 3339, UTC."""
        return datetime.fromtimestamp((self.path / MARKER).stat().st_mtime, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def begin(path: str | Path) -> None:
    """Declare the folder incomplete before the first file is written. Raises StorageError."""
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        durable.write_file(path / SENTINEL, b"This checkpoint is being written.\n")
        (path / MARKER).unlink(missing_ok=True)
    except OSError as error:
        raise _not_written(path, error) from error


def seal(path: str | Path, **facts: Any) -> None:
    """Flush every file to the disk, then declare the folder complete. Raises StorageError."""
    path = Path(path)
    try:
        (path / SENTINEL).unlink(missing_ok=True)
        sizes = {}
        for file in _files(path):
            durable.sync_file(file)
            sizes[str(file.relative_to(path))] = file.stat().st_size
        marker = {"step": _step(path), "files": sizes, **facts}
        durable.write_file(path / MARKER, json.dumps(marker, indent=1).encode())
        durable.sync_folder(path.parent)
    except OSError as error:
        raise _not_written(path, error) from error


def defect(path: str | Path) -> str | None:
    """Why this folder is no complete checkpoint; None if it is one."""
    path = Path(path)
    if (path / SENTINEL).exists():
        return "it was being written when the attempt ended"
    try:
        marker = json.loads((path / MARKER).read_bytes())
        sizes: dict[str, int] = marker["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return f"{MARKER} is missing or damaged"
    if "trainer_state.json" not in sizes:
        return "trainer_state.json is missing"
    for name, size in sizes.items():
        actual = (path / name).stat().st_size if (path / name).is_file() else None
        if actual != size:
            return f"{name} has {actual} bytes instead of {size}" if actual is not None else f"{name} is missing"
    return None


def complete(folder: str | Path, *, warn: bool = False) -> list[Checkpoint]:
    """Complete checkpoints of a run, oldest step first."""
    found = []
    for path in _folders(folder):
        why = defect(path)
        if why is None:
            marker = json.loads((path / MARKER).read_bytes())
            found.append(Checkpoint(path, _step(path), {k: v for k, v in marker.items() if k not in ("files", "step")}))
        elif warn:
            logger.warning("Checkpoint %s is skipped: %s.", path.name, why)
    return found


def latest(folder: str | Path, *, warn: bool = False) -> Checkpoint | None:
    """The checkpoint to resume from: the complete, resumable one with the highest step."""
    candidates = complete(folder, warn=warn)
    resumable = [candidate for candidate in candidates if candidate.resumable]
    if warn and candidates and not resumable:
        logger.warning(
            "No checkpoint holds optimizer and schedule (spec.training.saveOnlyModel): the run starts again at step 0."
        )
    return resumable[-1] if resumable else None


def rotate(folder: str | Path, limit: int | None, best: str | None = None) -> None:
    """Delete the oldest checkpoints beyond `limit` (save_total_limit; None or 0: keep all), and broken ones.

    The latest resumable one and the best one always stay. Broken folders go as soon as a newer complete one exists.
    """
    kept = complete(folder)
    if not kept:
        return
    newest = latest(folder)
    protected = {kept[-1].path, newest.path if newest else None, Path(best).absolute() if best else None}
    for path in _folders(folder):
        if defect(path) is not None and _step(path) != kept[-1].step:
            shutil.rmtree(path, ignore_errors=True)
    if not limit or limit <= 0:
        return
    for candidate in kept[: max(0, len(kept) - max(limit, 1))]:
        if candidate.path not in protected and candidate.path.absolute() not in protected:
            (candidate.path / MARKER).unlink(missing_ok=True)  # half deleted must not look complete
            shutil.rmtree(candidate.path, ignore_errors=True)


def _folders(folder: str | Path) -> list[Path]:
    try:
        paths = [path for path in Path(folder).iterdir() if _NAME.fullmatch(path.name) and path.is_dir()]
    except FileNotFoundError:
        return []
    return sorted(paths, key=_step)


def _step(path: Path) -> int:
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise ValueError(f"{path} is no checkpoint folder")
    return int(match.group(1))


def _files(path: Path) -> list[Path]:
    found = [Path(parent) / name for parent, _, names in os.walk(path) for name in names]
    return sorted(file for file in found if file.name != MARKER and not file.name.startswith(f".{MARKER}"))


def _not_written(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"Checkpoint {path.name} could not be written: {error.strerror or error}.",
        cure="Give spec.output.volume more space, or lower training.saveTotalLimit.",
    )
