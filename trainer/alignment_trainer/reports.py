"""What a worker tells its launcher: JSON lines through an inherited pipe.

A pipe, because what was written into it survives the writer: after a kill -9 the launcher still knows the last step.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from typing import Any

FD_VARIABLE = "ALIGNMENT_REPORT_FD"


class Reports:
    """Sends facts to the launcher; later facts replace earlier ones of the same name. Never raises."""

    def __init__(self, fd: int | None = None) -> None:
        self._fd = fd
        self._lock = threading.Lock()

    @classmethod
    def from_environment(cls) -> Reports:
        fd = os.environ.get(FD_VARIABLE)
        return cls(int(fd) if fd else None)

    def send(self, **facts: Any) -> None:
        if self._fd is None:
            return
        line = json.dumps(facts, default=str).encode() + b"\n"
        with self._lock, contextlib.suppress(OSError):  # the launcher is gone: we will be, too
            while line:
                line = line[os.write(self._fd, line) :]
