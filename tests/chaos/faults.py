"""Carries a schedule out. Each kind of fault is a method of that name; one that lasts is over when it returns."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import aiohttp

from alignment_operator.cluster import ApiError, Cluster, Request
from alignment_operator.resources import ALIGNMENT_JOBS, CONFIG_MAPS, JOBS, PODS, Resource
from dev.simulated import SimulatedCluster
from dev.simulated.cluster import ready

from .history import JOB_LABEL
from .proxy import Weather
from .replicas import Replica
from .schedule import Fault

Json = dict[str, Any]
HALVED = 0.25  # share of the watches that are cut in the middle of a line and end as if all were well
# What a foreign writer puts into a status: words that the schema knows, and that are not true.
LIES: tuple[Json, ...] = ({"phase": "Pending"}, {"observedGeneration": 0}, {"method": None})


class Faults:
    """`cluster` is the administrator's connection, which no fault but an absent API server touches."""

    def __init__(
        self,
        simulated: SimulatedCluster,
        replicas: Sequence[Replica],
        cluster: Cluster,
        namespace: str,
        tell: Callable[[str], None],
    ) -> None:
        self._simulated, self._replicas, self._cluster = simulated, replicas, cluster
        self._namespace, self._tell = namespace, tell
        self._last_leader = replicas[0]
        self.done: Counter[str] = Counter()

    async def carry_out(self, faults: Sequence[Fault]) -> None:
        """All of them, beginning now."""
        async with asyncio.TaskGroup() as group:
            for fault in faults:
                group.create_task(self._one(fault))

    async def _one(self, fault: Fault) -> None:
        await asyncio.sleep(fault.at)
        self._tell(str(fault))
        act: Callable[..., Awaitable[None]] = getattr(self, fault.kind)
        await act(**({"seconds": fault.seconds} if fault.seconds else {}), **fault.arguments)
        self.done[fault.kind] += 1

    # --- the replicas

    async def kill_leader(self) -> None:
        (await self._leader()).kill()

    async def kill_standby(self) -> None:
        (await self._standby()).kill()

    async def kill_all(self) -> None:
        for replica in self._replicas:
            replica.kill()

    async def pause_leader(self, seconds: float) -> None:
        """Long enough for the other to take over; then it goes on where it was."""
        leader = await self._leader()
        leader.pause()
        await asyncio.sleep(seconds)
        leader.resume()

    async def shift_clock(self, shift: float) -> None:
        """Of the replica that runs under `skewed`."""
        for replica in self._replicas:
            if replica.clock.exists():
                replica.shift_clock(shift)

    # --- the API server and its store

    async def stop_api_server(self, seconds: float, kill: bool) -> None:
        server = self._simulated.processes["kube-apiserver"]
        await asyncio.to_thread(server.kill if kill else server.stop)
        await asyncio.sleep(seconds)
        await asyncio.to_thread(self._restore)

    async def restart_etcd(self, seconds: float) -> None:
        self._simulated.processes["etcd"].kill()
        await asyncio.sleep(seconds)
        await asyncio.to_thread(self._restore)

    def _restore(self) -> None:
        """Whatever ended because of the fault runs again, as it would under systemd or a kubelet."""
        for process in self._simulated.processes.values():
            process.start()
        self._simulated.wait("API server", lambda: ready(self._simulated.layout.credentials))

    # --- between the replicas and the API server

    async def answer_429(self, seconds: float, share: float) -> None:
        await self._refuse(429, seconds, share)

    async def answer_500(self, seconds: float, share: float) -> None:
        await self._refuse(500, seconds, share)

    async def _refuse(self, status: int, seconds: float, share: float) -> None:
        for replica in self._replicas:
            replica.proxy.weather.refuse[status] = share
        await asyncio.sleep(seconds)
        for replica in self._replicas:
            replica.proxy.weather.refuse.pop(status, None)

    async def lose_answers(self, seconds: float, share: float) -> None:
        await self._weather(seconds, "lose", share)

    async def slow_answers(self, seconds: float, wait: float) -> None:
        await self._weather(seconds, "wait", wait)

    async def freeze_watches(self, seconds: float) -> None:
        await self._weather(seconds, "freeze", True)

    async def cut_watches(self) -> None:
        for replica in self._replicas:
            replica.proxy.cut_watches(HALVED)

    async def partition(self, seconds: float, leader: bool) -> None:
        """One replica does not reach the API server; the other does."""
        proxy = (await self._leader() if leader else await self._standby()).proxy
        proxy.weather.partition = True
        proxy.cut_watches()
        await asyncio.sleep(seconds)
        proxy.weather.partition = False

    async def _weather(self, seconds: float, name: str, value: Any) -> None:
        fair = getattr(Weather.fair(), name)
        for replica in self._replicas:
            setattr(replica.proxy.weather, name, value)
        await asyncio.sleep(seconds)
        for replica in self._replicas:
            setattr(replica.proxy.weather, name, fair)

    # --- people

    async def delete_jobs(self, count: int, choice: int) -> None:
        await self._delete(JOBS, count, choice, lambda job: not job.get("status", {}).get("completionTime"))

    async def delete_pods(self, count: int, choice: int) -> None:
        await self._delete(PODS, count, choice, lambda pod: pod.get("status", {}).get("phase") == "Running")

    async def delete_config_maps(self, count: int, choice: int) -> None:
        await self._delete(CONFIG_MAPS, count, choice, lambda _: True)

    async def overwrite_status(self, count: int, choice: int) -> None:
        lie = {"status": random.Random(choice).choice(LIES)}
        for job in await self._victims(ALIGNMENT_JOBS, count, choice, lambda job: "status" in job):
            with suppress(ApiError, aiohttp.ClientError, TimeoutError):
                name = job["metadata"]["name"]
                await self._cluster.patch(ALIGNMENT_JOBS, self._namespace, name, lie, "status")

    async def touch_jobs(self, count: int, choice: int) -> None:
        """A new resourceVersion under the operator's hands."""
        touch = {"metadata": {"annotations": {"note": str(choice)}}}
        for job in await self._victims(ALIGNMENT_JOBS, count, choice, lambda _: True):
            with suppress(ApiError, aiohttp.ClientError, TimeoutError):
                await self._cluster.patch(ALIGNMENT_JOBS, self._namespace, job["metadata"]["name"], touch)

    async def _delete(self, resource: Resource, count: int, choice: int, eligible: Callable[[Json], bool]) -> None:
        for victim in await self._victims(resource, count, choice, eligible):
            with suppress(ApiError, aiohttp.ClientError, TimeoutError):
                await self._delete_as_seen(resource, victim["metadata"])

    async def _delete_as_seen(self, resource: Resource, seen: Json) -> None:
        """Not if it has changed since: a pod that has just ended would take its last words with it."""
        conditions = {"uid": seen["uid"], "resourceVersion": seen["resourceVersion"]}
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        path = resource.path(self._namespace, seen["name"])
        await self._cluster.call(Request("DELETE", path, body=body | {"preconditions": conditions}))

    async def _victims(
        self, resource: Resource, count: int, choice: int, eligible: Callable[[Json], bool]
    ) -> list[Json]:
        query = {} if resource is ALIGNMENT_JOBS else {"labelSelector": JOB_LABEL}
        try:
            pages = [page async for page in self._cluster.pages(resource, self._namespace, **query)]
        except (ApiError, aiohttp.ClientError, TimeoutError):
            return []  # nobody reaches the API server now, people neither
        found = [item for page in pages for item in page["items"] if eligible(item)]
        found.sort(key=lambda item: str(item["metadata"]["name"]))
        return random.Random(choice).sample(found, min(count, len(found)))

    async def _leader(self) -> Replica:
        """The one that says that it leads, else the one that last did."""
        for replica in self._replicas:
            if await asyncio.to_thread(replica.leads):
                self._last_leader = replica
                break
        return self._last_leader

    async def _standby(self) -> Replica:
        leader = await self._leader()
        return next(replica for replica in self._replicas if replica is not leader)
