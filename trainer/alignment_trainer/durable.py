"""Writes that survive a crash: the file is whole or absent, and on the disk before the call returns."""

from __future__ import annotations

import contextlib
import os
import uuid
from pathlib import Path


def write_file(path: str | Path, data: bytes, *, shared: bool = False) -> None:
    """Replace `path` in one step. Raises OSError.

    shared: others may write the same path at the same time; each writes a file of its own, and the last rename wins.
    """
    path = Path(path)
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex if shared else 'new'}")
    try:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)  # the disk may be full of it
        raise
    sync_folder(path.parent)


def sync_file(path: str | Path) -> None:
    """Flush one file's content to the disk. Raises OSError: here a full disk shows at last."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def sync_folder(path: str | Path) -> None:
    """Flush a folder's entries; some network file systems cannot, and need not."""
    with contextlib.suppress(OSError):
        sync_file(path)
