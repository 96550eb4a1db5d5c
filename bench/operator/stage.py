"""Where everything plays: the simulated cluster, a user, namespaces, and waiting until the controllers are done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count

from dev.simulated.cluster import SimulatedCluster

from . import calls, usage
from .calls import Call
from .load import Client, Connection
from .sides import Json, Side

POLL_SECONDS = 1.0
PAGE = 500


@dataclass
class Stage:
    """One cluster for all runs of the benchmark."""

    cluster: SimulatedCluster
    client: Client
    last: bool = False  # nobody comes after this run
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    @contextmanager
    def namespace(self, side: Side) -> Iterator[str]:
        """A fresh one. It is emptied before this returns, so that the next run does not pay for it, if there is one."""
        name = f"bench-{side.resource}-{next(self._numbers)}"
        self.cluster.kubectl("create", "namespace", name)
        self.cluster.wait("service account", lambda: self._has_account(name))
        yield name
        if not self.last:
            self.cluster.kubectl("delete", "namespace", name, "--wait=true", "--timeout=20m", check=False)

    def now(self) -> int:
        """Where the audit log ends now."""
        return self.cluster.audit_log.stat().st_size

    def calls(self, start: int) -> list[Call]:
        """Every call since then."""
        return [calls.parse(event) for event in self.cluster.audit(start)]

    def wait_complete(self, side: Side, namespace: str, jobs: int, seconds: float) -> None:
        """Until so many objects say that they are done and nobody writes about them any more."""
        self.wait_until(side, namespace, side.is_complete, jobs, seconds)

    def wait_until(self, side: Side, namespace: str, there: Callable[[Json], bool], jobs: int, seconds: float) -> None:
        """Until so many objects are there, as that function says, and nobody writes about them any more.

        Asks only while the controllers are silent: a poll would cost the API server what it is measured for.
        """
        deadline = time.monotonic() + seconds
        done = 0
        while done < jobs:
            left = deadline - time.monotonic()
            side.check()
            if left < 0:
                raise TimeoutError(f"{side.name}: {done} of {jobs} jobs after {seconds:.0f} s")
            self.wait_quiet(side, 2.0, left)
            done = sum(map(there, self.objects(side, namespace)))

    def wait_quiet(self, side: Side, still: float, seconds: float) -> float:
        """Until the side's controllers have called nothing but watches and Leases for `still` seconds.

        Returns the time of the last call (0: none), by the API server's clock.
        """
        position, last = self.now(), 0.0
        began = heard = time.monotonic()
        while time.monotonic() - heard < still and time.monotonic() - began < seconds:
            time.sleep(min(POLL_SECONDS, still / 2))
            start, position = position, self.now()
            if spoken := self.heard(side, start):
                heard, last = time.monotonic(), max(call.answered for call in spoken)
        return last

    def heard(self, side: Side, start: int) -> list[Call]:
        """The side's own calls since then. Only its lines are parsed: the log grows by megabytes a second."""
        names = [f'"username":"{user}"'.encode() for user in side.users]
        found = []
        with self.cluster.audit_log.open("rb") as log:
            log.seek(start)
            for line in log:
                if line.endswith(b"\n") and any(name in line for name in names):
                    found.append(line)
        return calls.counted(map(calls.parse_line, found), side.users)

    def objects(self, side: Side, namespace: str) -> Iterator[Json]:
        """The users' objects, from the API server's cache."""
        connection = self.client.connect()
        try:
            yield from _pages(connection, side.collection.format(namespace=namespace))
        finally:
            connection.close()

    def control_plane(self) -> dict[str, int]:
        return {name: process.pid for name, process in self.cluster.processes.items()}

    def _has_account(self, namespace: str) -> bool:
        return self.cluster.kubectl("get", "serviceaccount", "default", f"-n={namespace}", check=False).returncode == 0


@dataclass
class Meter:
    """CPU of the controllers and of the cluster's processes since it was made."""

    stage: Stage
    side: Side

    def __post_init__(self) -> None:
        self.position, self._restarts = self.stage.now(), self.side.restarts
        self._controllers = usage.cpu_seconds(self._pids())
        self._others = usage.cpu_seconds(self.stage.control_plane())

    def controllers(self) -> dict[str, float]:
        """CPU seconds of each; nothing when one was started again: what an ended process took is not accounted for."""
        if self.side.restarts != self._restarts:
            return {}
        return usage.spent(self._controllers, usage.cpu_seconds(self._pids()))

    def control_plane(self) -> dict[str, float]:
        return usage.spent(self._others, usage.cpu_seconds(self.stage.control_plane()))

    def _pids(self) -> dict[str, int]:
        return {name: process.pid for name, process in self.side.processes.items()}


def _pages(connection: Connection, path: str) -> Iterator[Json]:
    token = ""
    while True:
        page = connection.call("GET", f"{path}?limit={PAGE}" + (f"&continue={token}" if token else ""))
        yield from page["items"]
        token = page["metadata"].get("continue", "")
        if not token:
            return
