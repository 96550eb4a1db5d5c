"""Reference log-probabilities on the cache volume: computed once, read by every job that needs the same ones.

An entry is a safetensors file. Its name is the SHA-256 of everything that its numbers depend on, its header holds these
ingredients in plain text, the number of rows and a checksum. Entries are written beside and renamed, so that jobs that
compute the same one at the same time do not disturb each other; what is read is verified, and what is damaged counts as
absent. The cache is a convenience: it can cost a run time, never its training.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import durable
from .model_identity import cache_folder

if TYPE_CHECKING:
    import numpy as np

    Columns = dict[str, np.ndarray]  # column -> one number per row

logger = logging.getLogger(__name__)

FOLDER = "reference-log-probs"
LEFTOVER_SECONDS = 86_400  # a temporary file so old belongs to a writer that was killed


class Damaged(Exception):
    """The entry is there and cannot be trusted; the text says why."""


class ReferenceCache:
    """The entries in `folder` (default: on the volume that jobs share)."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or cache_folder(FOLDER)

    def path(self, ingredients: Mapping[str, Any]) -> Path:
        """Where the entry for these ingredients is, or would be."""
        return self.folder / f"{key(ingredients)}.safetensors"

    def read(self, ingredients: Mapping[str, Any], columns: Sequence[str], rows: int) -> Columns | None:
        """The entry's columns, each [rows]; None where there is none. A damaged one is logged and counts as none."""
        path = self.path(ingredients)
        try:
            return _verified(path, ingredients, columns, rows)
        except FileNotFoundError:
            return None
        except (Damaged, OSError) as error:
            logger.warning("Cached reference log-probabilities %s are computed again: %s.", path.name, error)
            return None

    def write(self, ingredients: Mapping[str, Any], columns: Columns) -> None:
        """Keep the columns. What keeps it from doing so is logged, never raised."""
        from safetensors.numpy import save

        if why := _unsound(columns):
            logger.warning("The reference log-probabilities are not kept: %s.", why)
            return
        header = {"ingredients": canonical(ingredients), "checksum": checksum(columns)}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            durable.write_file(self.path(ingredients), save(columns, metadata=header), shared=True)
            self._remove_leftovers()
        except OSError as error:
            logger.warning("The reference log-probabilities are not kept in %s: %s.", self.folder, error)

    def _remove_leftovers(self) -> None:
        for file in self.folder.glob(".*.safetensors.*"):
            if time.time() - file.stat().st_mtime > LEFTOVER_SECONDS:
                file.unlink(missing_ok=True)


def key(ingredients: Mapping[str, Any]) -> str:
    """SHA-256 in hex; the same for equal ingredients in any order."""
    return hashlib.sha256(canonical(ingredients).encode()).hexdigest()


def canonical(ingredients: Mapping[str, Any]) -> str:
    return json.dumps(ingredients, sort_keys=True, separators=(",", ":"), default=str)


def checksum(columns: Columns) -> str:
    """SHA-256 in hex over names, types and numbers."""
    digest = hashlib.sha256()
    for name in sorted(columns):
        digest.update(f"{name} {columns[name].dtype} {columns[name].shape}\n".encode())
        digest.update(columns[name].tobytes())
    return digest.hexdigest()


def _verified(path: Path, ingredients: Mapping[str, Any], names: Sequence[str], rows: int) -> Columns:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            columns = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no mapping
    except SafetensorError as error:
        raise Damaged(f"it cannot be read ({error})") from error
    if header.get("ingredients") != canonical(ingredients):
        raise Damaged("it was computed from something else")
    if header.get("checksum") != checksum(columns):
        raise Damaged("its checksum is wrong")
    if sorted(columns) != sorted(names) or any(column.shape != (rows,) for column in columns.values()):
        raise Damaged(f"it does not hold {', '.join(names)} for {rows} rows")
    if why := _unsound(columns):
        raise Damaged(why)
    return columns


def _unsound(columns: Columns) -> str | None:
    import numpy as np

    unsound = [name for name, column in columns.items() if not np.isfinite(column).all()]
    return f"{', '.join(unsound)} holds a number that is not finite" if unsound else None
