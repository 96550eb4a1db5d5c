"""The tail of an attempt's log on the output volume, bounded, because a pod's log is lost with the pod."""

from __future__ import annotations

import os
from pathlib import Path

LIMIT_BYTES = 512 * 1024


class LogTail:
    """Appends to `path` and keeps about the last `limit` bytes. A full or lost disk never disturbs the training."""

    def __init__(self, path: str | Path, limit: int = LIMIT_BYTES) -> None:
        self.path, self.limit = Path(path), limit
        self._size = 0
        self._file: int | None = None

    def write(self, data: bytes) -> None:
        try:
            if self._file is None:
                self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o664)
            self._size += os.write(self._file, data)
            if self._size > 2 * self.limit:
                self._cut()
        except OSError:  # the pod's own log still has it
            pass

    def _cut(self) -> None:
        assert self._file is not None
        tail = os.pread(self._file, self.limit, self._size - self.limit)
        tail = b"[...]\n" + tail[tail.find(b"\n") + 1 :]
        os.ftruncate(self._file, 0)
        self._size = os.write(self._file, tail)
