"""One replica of a Deployment: a process that is started again when it ends by itself to be started again."""

from __future__ import annotations

import os
from threading import Event, Thread

from dev.simulated.processes import ClusterError, Process

TRY_AGAIN = os.EX_TEMPFAIL  # the operator's code for a lost Lease; any other end is a failure of the benchmark
POLL_SECONDS = 0.2
BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS = 10.0, 300.0  # the kubelet's, before the second start and at most


class Deployment:
    """`restarts` counts since it was made. A thread watches over the process, whatever the benchmark waits for."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.restarts = 0
        self._stop = Event()
        self._keeper: Thread | None = None

    def start(self) -> None:
        self._stop.clear()
        self.process.start()
        self._keeper = Thread(target=self._keep, daemon=True)
        self._keeper.start()

    def stop(self) -> None:
        """End the process for good."""
        self._stop.set()
        if self._keeper is not None:
            self._keeper.join()
        self.process.stop()

    def check(self) -> None:
        """Raises ClusterError with the end of its log when it has ended and is not started again."""
        if self.process.exit_code not in (None, TRY_AGAIN):
            raise ClusterError(f"{self.process.name} ended with {self.process.exit_code}: {self.process.tail()}")

    def _keep(self) -> None:
        while not self._stop.wait(POLL_SECONDS):
            if self.process.exit_code == TRY_AGAIN and not self._stop.wait(backoff(self.restarts)):
                self.restarts += 1
                self.process.start()


def backoff(restarts: int) -> float:
    """Seconds before a container that was restarted so often is started again; at once the first time."""
    return min(BACKOFF_SECONDS * 2 ** (restarts - 1), LONGEST_BACKOFF_SECONDS) if restarts else 0.0
