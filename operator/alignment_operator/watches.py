"""Watches of the children: Jobs, Pods, and the events that say why a Job gets no pods, into the store.

Not kopf's, which reads everything a second time when it starts and takes most of a millisecond of CPU for an event: a
job's children bring ten events, the job itself four. These begin where the LIST of the resync ended, and go on from
the last event when a connection breaks; when the API server has forgotten that one, there is another LIST.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import aiohttp

from .api.constants import JOB_LABEL
from .cluster import ApiError, Cluster
from .resources import EVENTS, JOBS, PODS, Resource
from .resync import Resync
from .settings import Settings
from .store import Key, Store

log = logging.getLogger(__name__)
SELECTORS: dict[Resource, dict[str, str]] = {
    JOBS: {"labelSelector": JOB_LABEL},
    PODS: {"labelSelector": JOB_LABEL},
    EVENTS: {"fieldSelector": "involvedObject.kind=Job,reason=FailedCreate"},
}
RETRY_SECONDS = 2.0
FLOCK_SECONDS = 0.3  # events of one job's children come in flocks: one reconcile for all of them


class Watches:
    """Keeps the store's children. `enqueue` gets the AlignmentJobs that a change concerns, and seconds to wait."""

    def __init__(
        self, store: Store, cluster: Cluster, settings: Settings, resync: Resync, enqueue: Callable[[Key, float], None]
    ) -> None:
        self._store, self._cluster, self._resync, self._enqueue = store, cluster, resync, enqueue
        self._namespaces: tuple[str | None, ...] = settings.watch_namespaces or (None,)

    async def follow(self) -> None:
        """Watch for ever. The resync must have run once."""
        async with asyncio.TaskGroup() as group:
            for namespace in self._namespaces:
                for resource in SELECTORS:
                    group.create_task(self._follow(resource, namespace))

    async def _follow(self, resource: Resource, namespace: str | None) -> None:
        version = self._resync.version(resource, namespace)
        while True:
            try:
                async for event in self._cluster.watch(resource, namespace, version, **SELECTORS[resource]):
                    version = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] != "BOOKMARK":
                        self._take(resource, event)
            except ApiError as error:
                log.info("watch: again", extra={"resource": resource.plural, "because": str(error)})
                if error.expired:
                    version = await self._list_again(resource, namespace, version)
                else:
                    await asyncio.sleep(RETRY_SECONDS)
            except (TimeoutError, aiohttp.ClientError, ValueError) as error:  # ValueError: a line that was cut short
                quiet = isinstance(error, TimeoutError)  # nothing happened for a while: no news
                level = logging.DEBUG if quiet else logging.INFO
                log.log(level, "watch: again", extra={"resource": resource.plural, "because": repr(error)})
                await asyncio.sleep(RETRY_SECONDS)

    async def _list_again(self, resource: Resource, namespace: str | None, version: str) -> str:
        """Where to go on; the old version when that cannot be said now."""
        if resource is EVENTS:
            return ""  # without a version a watch begins with what is there
        try:
            return await self._resync.relist(resource, namespace)
        except (ApiError, TimeoutError, aiohttp.ClientError) as error:
            log.warning("watch: not listed", extra={"resource": resource.plural, "because": repr(error)})
            await asyncio.sleep(RETRY_SECONDS)
            return version

    def _take(self, resource: Resource, event: dict) -> None:
        for key in self._store.event(resource, event):
            self._enqueue(key, FLOCK_SECONDS)
