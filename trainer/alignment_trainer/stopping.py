"""SIGTERM. The launcher notes it and passes it on. A worker leaves at once where nothing is lost, else it finishes the
step, saves and leaves.

In a worker a thread does the leaving, woken by C code through a pipe, because the main thread may sit for minutes in a
call that runs no Python (loading weights, tokenizing), where a Python signal handler has to wait.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from typing import Any

from .exits import EX_TEMPFAIL, Preempted
from .reports import Reports


class StopSignal:
    """The launcher's: when SIGTERM (or SIGINT) came, in monotonic seconds; None while it has not."""

    def __init__(self) -> None:
        self.at: float | None = None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)

    def _note(self, *_: Any) -> None:
        self.at = self.at or time.monotonic()


class Stop:
    """A worker's: whether this process was asked to stop, and whether it may do so at once (`interruptible`)."""

    def __init__(self, reports: Reports) -> None:
        self.requested = False
        self._reports = reports
        self._interruptible, self._phase = True, "Loading"
        self._lock = threading.Lock()
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)

    def install(self) -> None:
        """Take over SIGTERM; call it in the main thread before any heavy import."""
        self.take_signal()
        threading.Thread(target=self._watch, name="stop", daemon=True).start()

    def take_signal(self) -> None:
        """(Again) become the handler of SIGTERM: libraries take it over too."""
        signal.signal(signal.SIGTERM, lambda *_: self._wake())
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)

    def interruptible(self, value: bool, phase: str = "Loading") -> None:
        """From now on a stop leaves at once (True) or waits for whoever asks `requested` (False)."""
        with self._lock:
            self._interruptible, self._phase = value, phase
            if self.requested and value:
                self._leave()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            os.write(self._write, bytes([signal.SIGTERM]))

    def _watch(self) -> None:
        while True:
            if signal.SIGTERM not in os.read(self._read, 64):
                continue
            with self._lock:
                self.requested = True
                if self._interruptible:
                    self._leave()

    def _leave(self) -> None:
        error = Preempted(f"Stopped by SIGTERM while {self._phase.lower()}; the last checkpoint counts.")
        self._reports.send(failure={"class": error.class_name, "exitCode": EX_TEMPFAIL, "message": error.message})
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(EX_TEMPFAIL)
