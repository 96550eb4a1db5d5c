"""The users: they apply their jobs on time, change them when they see fit, and try again when nobody answers.

They talk to the API server itself, not through a proxy, and know it by a LIST each second, as people do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

import aiohttp

from alignment_operator.cluster import ApiError, Cluster
from alignment_operator.resources import ALIGNMENT_JOBS

from .scripts import Act, Plan, merged, over

Json = dict[str, Any]
T = TypeVar("T")
LOOK_SECONDS = 1.0


class Users:
    """All users of one namespace. `jobs`: the AlignmentJobs by name, as last seen."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster, self._namespace = cluster, namespace
        self.jobs: dict[str, Json] = {}

    async def play(self, plans: Iterable[Plan]) -> None:
        """Every plan, beginning now; returns when the last act of each is done."""
        async with asyncio.TaskGroup() as group:
            looking = group.create_task(self._look())
            plays = [group.create_task(self._play(plan)) for plan in plans]
            await asyncio.wait(plays)
            looking.cancel()

    async def unfinished(self, plans: Iterable[Plan]) -> list[str]:
        """The names of the jobs that have not ended, or are still there although they were deleted."""
        await self._read()
        return [plan.name for plan in plans if not self._ended(plan)]

    def _ended(self, plan: Plan) -> bool:
        job = self.jobs.get(plan.name)
        if plan.script.gone:
            return job is None
        return job is not None and over(job)

    async def _play(self, plan: Plan) -> None:
        await asyncio.sleep(plan.at)
        spec = plan.spec
        await self._create(plan.name, spec)
        for act in plan.script.acts:
            while not (plan.name in self.jobs and act.when(self.jobs[plan.name])):
                await asyncio.sleep(LOOK_SECONDS / 4)
            spec = await self._act(plan.name, spec, act)

    async def _act(self, name: str, spec: Json, act: Act) -> Json:
        """Returns the spec after it."""
        if act.patch:
            patch = {"spec": act.patch}
            await _surely(lambda: self._cluster.patch(ALIGNMENT_JOBS, self._namespace, name, patch))
        if act.delete or act.again is not None:
            uid = self.jobs[name]["metadata"]["uid"]
            await _surely(lambda: self._cluster.delete(ALIGNMENT_JOBS, self._namespace, name, uid))
        spec = merged(spec, act.again or act.patch)
        if act.again is not None:
            await self._create(name, spec)
        return spec

    async def _create(self, name: str, spec: Json) -> None:
        metadata = {"namespace": self._namespace, "name": name}
        manifest = {"apiVersion": ALIGNMENT_JOBS.api, "kind": ALIGNMENT_JOBS.kind, "metadata": metadata, "spec": spec}
        try:
            await _surely(lambda: self._cluster.create(ALIGNMENT_JOBS, manifest))
        except ApiError as error:
            if not error.already_exists:  # the answer to an earlier try was lost
                raise

    async def _look(self) -> None:
        while True:
            await self._read()
            await asyncio.sleep(LOOK_SECONDS)

    async def _read(self) -> None:
        async def everything() -> dict[str, Json]:
            pages = [page async for page in self._cluster.pages(ALIGNMENT_JOBS, self._namespace)]
            return {item["metadata"]["name"]: item for page in pages for item in page["items"]}

        self.jobs = await _surely(everything)


async def _surely(call: Callable[[], Awaitable[T]]) -> T:
    """Again until it is answered. Raises ApiError when the answer is that the request is wrong."""
    while True:
        try:
            return await asyncio.wait_for(call(), 10)
        except ApiError as error:
            if error.already_exists or error.refused:
                raise
        except (TimeoutError, aiohttp.ClientError, OSError):
            pass
        await asyncio.sleep(LOOK_SECONDS / 2)
