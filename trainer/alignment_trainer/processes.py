"""The worker processes of this pod: started, listened to, signalled, and judged when they end.

One loop in one thread: it copies the workers' output to the pod's log, reads their reports, and looks every 0.2 s who
has ended. The launcher imports no torch, so a worker's segfault or kill leaves somebody to say what happened.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .reports import FD_VARIABLE

POLL_SECONDS = 0.2


@dataclass(eq=False)
class Worker:
    """One process. `facts`: the latest it reported; `ended_at`: monotonic seconds; `put_down`: we killed it;
    `peer_lost`: another pod was already gone when it ended."""

    local_rank: int
    process: subprocess.Popen[bytes]
    facts: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None
    ended_at: float = 0.0
    put_down: bool = False
    peer_lost: bool = False
    life: float = field(default_factory=time.monotonic)  # last report
    _rest: bytes = b""

    def take(self, data: bytes) -> None:
        """Merge report lines; half a line waits for its end."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            with contextlib.suppress(ValueError):
                self.facts.update(json.loads(line))
        self.life = time.monotonic()

    def signal(self, number: int) -> None:
        if self.exit_code is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)

    def put_to_death(self) -> None:
        if self.exit_code is None:
            self.put_down = True
            self.signal(signal.SIGKILL)


class Workers:
    """All workers of this pod."""

    def __init__(self, outputs: list[Callable[[bytes], None]]) -> None:
        self.members: list[Worker] = []
        self._outputs = outputs
        self._selector = selectors.DefaultSelector()

    def start(self, command: list[str], environments: list[dict[str, str]]) -> None:
        """One process per environment; its stdout and stderr come back as one stream, its reports as another."""
        for local_rank, environment in enumerate(environments):
            reports, reports_end = os.pipe()
            process = subprocess.Popen(
                command,
                env={**environment, FD_VARIABLE: str(reports_end)},
                pass_fds=[reports_end],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            os.close(reports_end)
            worker = Worker(local_rank, process)
            self.members.append(worker)
            assert process.stdout is not None
            self._listen(process.stdout.fileno(), self._copy)
            self._listen(reports, worker.take)

    def running(self) -> list[Worker]:
        return [worker for worker in self.members if worker.exit_code is None]

    def tick(self) -> None:
        """Move what the workers wrote and note who ended; blocks for at most POLL_SECONDS."""
        for key, _ in self._selector.select(POLL_SECONDS):
            self._move(key.fd, key.data)
        ended = [worker for worker in self.running() if worker.process.poll() is not None]
        if ended:
            self.drain()  # last words before the verdict
        for worker in ended:
            code = worker.process.returncode
            worker.exit_code = 128 - code if code < 0 else code
            worker.ended_at = time.monotonic()

    def drain(self) -> None:
        """Read what is there; not until the end of file: a grandchild may hold the pipe open."""
        for _ in range(100):  # bounded: another worker may never stop talking
            for key, _ in self._selector.select(0):
                self._move(key.fd, key.data)

    def close(self) -> None:
        self.drain()
        for key in list(self._selector.get_map().values()):
            self._selector.unregister(key.fd)
        self._selector.close()

    def _copy(self, data: bytes) -> None:
        for output in self._outputs:
            output(data)

    def _listen(self, fd: int, take: Callable[[bytes], None]) -> None:
        os.set_blocking(fd, False)
        self._selector.register(fd, selectors.EVENT_READ, take)

    def _move(self, fd: int, take: Callable[[bytes], None]) -> None:
        try:
            data = os.read(fd, 65536)
        except BlockingIOError:
            return
        if data:
            take(data)
        else:
            self._selector.unregister(fd)


def echo(data: bytes) -> None:
    """To the pod's log; a reader that is gone must not end the training."""
    with contextlib.suppress(OSError):
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


def cpu_count() -> int:
    """CPUs that this container may use: its affinity, cut by the cgroup's quota. At least 1."""
    count = len(os.sched_getaffinity(0))
    for path, divide in (("/sys/fs/cgroup/cpu.max", True), ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", False)):
        with contextlib.suppress(OSError, ValueError):
            with open(path) as file:
                words = file.read().split()
            period = float(words[1]) if divide else 100_000.0
            if words[0] not in ("max", "-1"):
                count = min(count, -int(-float(words[0]) // period))
    return max(1, count)


def memory_kills() -> int:
    """How often the kernel killed a process of this container for want of memory (cgroup v2), 0 if unknown."""
    with contextlib.suppress(OSError, ValueError), open("/sys/fs/cgroup/memory.events") as file:
        return int(dict(line.split() for line in file)["oom_kill"])
    return 0
