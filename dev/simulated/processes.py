"""Processes of the simulated cluster and of tests: started, stopped, killed, started again with the same command."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

STOP_SECONDS = 15.0


class ClusterError(Exception):
    """A part of the simulated cluster does not do what it should; the text ends with what the part said."""


@dataclass
class Process:
    """`argv` with its output appended to `log`. Not thread-safe."""

    name: str
    argv: list[str]
    log: Path
    environment: dict[str, str] = field(default_factory=dict)
    _child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Raises ClusterError when it does not run."""
        if self._child is None or self._child.poll() is not None:
            raise ClusterError(f"{self.name} does not run: {self.tail()}")
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    @property
    def exit_code(self) -> int | None:
        """None while it runs, and before its first start; negative: the number of the signal that ended it."""
        return None if self._child is None else self._child.poll()

    def start(self) -> None:
        """Start it unless it runs; does not wait for what it serves."""
        if self.running:
            return
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | self.environment,
                start_new_session=True,
            )

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """SIGTERM, and SIGKILL if it still runs after so many seconds."""
        if self._child is not None:
            end(self._child, seconds)

    def kill(self) -> None:
        """SIGKILL: nothing is flushed, nothing is released."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-2000:] if self.log.exists() else ""


@contextmanager
def running(name: str, argv: list[str], log: Path, environment: dict[str, str] | None = None) -> Iterator[Process]:
    """A process that ends with the block. `environment`: variables beside those of this process."""
    process = Process(name, argv, log, environment or {})
    process.start()
    try:
        yield process
    finally:
        process.stop()


def end(child: subprocess.Popen[bytes], seconds: float = STOP_SECONDS) -> None:
    """SIGTERM, and SIGKILL if it still runs after so many seconds. Returns when it has ended."""
    if child.poll() is not None:
        return
    child.send_signal(signal.SIGTERM)
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
