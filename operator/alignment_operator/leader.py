"""Leader election over a coordination.k8s.io Lease: one process at a time runs the workers.

The official client's election neither awaits what it leads (a crash leaves a zombie that goes on renewing) nor
releases the Lease (a restart waits for it to expire). Here the caller runs `hold` beside its workers, ends the
process when either ends, and calls `release`.
"""

import asyncio
import logging
import math
import time
from datetime import UTC, datetime
from typing import Any

import aiohttp

from .cluster import ApiError, Cluster
from .resources import LEASES
from .startup import Refusals, told

log = logging.getLogger(__name__)


class LeaseLost(Exception):
    """Another process may be the leader by now: stop writing at once."""


def only_lost(failures: BaseExceptionGroup) -> LeaseLost | None:
    """The loss of the Lease where it is all that the group tells, by however many of its tasks; else None."""
    lost, rest = failures.split(LeaseLost)
    if lost is None or rest is not None:
        return None
    first: BaseException = lost
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    assert isinstance(first, LeaseLost)
    return first


class Lease:
    """One candidate. Times are judged by this machine's monotonic clock only, never by another's wall clock."""

    def __init__(self, cluster: Cluster, namespace: str, name: str, identity: str, seconds: float) -> None:
        self._cluster = cluster
        self._namespace, self._name = namespace, name
        self._identity = identity
        self._seconds = seconds
        self._seen: tuple[str, float] = ("", 0.0)  # last resourceVersion of another's Lease, and when we first saw it
        self._ours: dict[str, Any] | None = None  # the Lease as our last write left it, unless that failed
        self._until = 0.0  # monotonic; when we stop counting on it, well before another may take it
        self._refusals = Refusals(seconds)  # of the API server, since it last let us

    @property
    def held(self) -> bool:
        """Whether it is ours for certain: renewed within two thirds of its life."""
        return time.monotonic() < self._until

    def check(self) -> None:
        """Raises LeaseLost: for a process that was asleep and wakes up beside its successor."""
        if not self.held:
            why = f": {told(self._refusals.last)}" if self._refusals.last else ""
            raise LeaseLost(f"the lease {self._namespace}/{self._name} was not renewed in time{why}")

    async def read(self) -> None:
        """Look whether it can be read at all. Raises ApiError."""
        await self._cluster.get(LEASES, self._namespace, self._name)

    async def acquire(self) -> None:
        """Return as soon as the Lease is ours. Whoever calls it runs `hold` from then on.

        Raises Forbidden when we have not been allowed to take it for as long as it lives.
        """
        while not await self._try(self._seconds / 3):
            await asyncio.sleep(self._seconds / 10)
        log.info("leading", extra={"identity": self._identity})

    async def hold(self) -> None:
        """Renew until that fails for two thirds of the Lease's life; then raise LeaseLost. Never returns."""
        while self.held:
            await asyncio.sleep(min(self._seconds / 6, self._left()))
            if self.held:
                await self._try(min(self._seconds / 3, self._left()))
        self.check()

    async def release(self) -> None:
        """Let the next candidate have it at once."""
        if not self.held:
            return
        self._until = 0.0
        lease = await self._cluster.get(LEASES, self._namespace, self._name)
        if lease and lease["spec"].get("holderIdentity") == self._identity:
            lease["spec"] = _spec("", 1, lease["spec"])
            await self._cluster.replace(LEASES, lease)

    def _left(self) -> float:
        return max(0.0, self._until - time.monotonic())

    async def _try(self, seconds: float) -> bool:
        """Take or renew the Lease; False when it is another's or the API server does not answer in so many seconds.

        Raises Forbidden.
        """
        started = time.monotonic()
        try:
            async with asyncio.timeout(seconds):
                taken = await self._take()
            self._until = started + self._seconds * 2 / 3 if taken else 0.0
            self._refusals = Refusals(self._seconds)
            return taken
        except ApiError as error:
            if error.status == 403:
                self._refusals.note(error)
            elif not (error.conflict or error.already_exists):
                log.warning("lease: %s", error)
        except (TimeoutError, aiohttp.ClientError) as error:
            log.warning("lease: the API server does not answer: %r", error)
        return False

    async def _take(self) -> bool:
        """One write where the Lease is as we left it: a busy API server rather gives one answer in time than two."""
        ours, self._ours = self._ours, None
        if ours is not None:
            try:
                return await self._write(ours)
            except ApiError as error:
                if not (error.conflict or error.not_found):
                    raise
        lease = await self._cluster.get(LEASES, self._namespace, self._name)
        if lease is None:
            meta = {"namespace": self._namespace, "name": self._name}
            manifest = {"apiVersion": LEASES.api, "kind": LEASES.kind, "metadata": meta, "spec": self._mine({})}
            await self._cluster.create(LEASES, manifest)
            return True
        if not self._free(lease):
            return False
        return await self._write(lease)

    async def _write(self, lease: dict[str, Any]) -> bool:
        lease["spec"] = self._mine(lease.get("spec") or {})
        self._ours = await self._cluster.replace(LEASES, lease)  # a lost race is a conflict
        return True

    def _mine(self, old: dict[str, Any]) -> dict[str, Any]:
        return _spec(self._identity, math.ceil(self._seconds), old)

    def _free(self, lease: dict[str, Any]) -> bool:
        """Ours, released, or not renewed for as long as its holder promised."""
        spec = lease.get("spec") or {}  # the chart ships it empty
        holder = spec.get("holderIdentity")
        if not holder or holder == self._identity:
            return True
        version = lease["metadata"]["resourceVersion"]
        if version != self._seen[0]:
            self._seen = (version, time.monotonic())
        return time.monotonic() - self._seen[1] > spec.get("leaseDurationSeconds", self._seconds)


def _spec(holder: str, seconds: int, old: dict[str, Any]) -> dict[str, Any]:
    """The Lease's new spec; a change of holder is a transition."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    same = old.get("holderIdentity") == holder
    return {
        "holderIdentity": holder,
        "leaseDurationSeconds": seconds,
        "renewTime": now,
        "acquireTime": old.get("acquireTime", now) if same else now,
        "leaseTransitions": old.get("leaseTransitions", 0) + (not same),
    }
