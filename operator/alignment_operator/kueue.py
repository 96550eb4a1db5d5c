"""Whether Kueue is here, and its Workloads into the store: a LIST and a watch that begin when Kueue is installed.

Not kopf's: it watches what it finds when it starts, and ends the process when an API goes or is forbidden. Kueue may be
installed later, or be none of this operator's business.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace

import aiohttp

from .cluster import ApiError, Cluster
from .resources import WORKLOADS, Resource
from .settings import Settings
from .store import Key, Store
from .views import Kueue

log = logging.getLogger(__name__)
VERSIONS = (WORKLOADS.version, "v1beta1")  # the first that the API server has
SEARCH_SECONDS = 20.0  # between two looks whether Kueue has been installed, or our rights given
RETRY_SECONDS = 2.0


class Workloads:
    """Keeps the store's Workloads. `enqueue` gets the AlignmentJobs that a change concerns."""

    def __init__(self, store: Store, cluster: Cluster, settings: Settings, enqueue: Callable[[Key], None]) -> None:
        self._store, self._cluster, self._enqueue = store, cluster, enqueue
        self._namespaces: tuple[str | None, ...] = settings.watch_namespaces or (None,)

    async def refresh(self) -> None:
        """Look for Kueue and LIST its Workloads once.

        An API server that cannot give them is no reason to stop: their versions are converted by Kueue's own webhook,
        which is not there while Kueue is down.
        """
        for namespace in self._namespaces:
            try:
                await self._list(namespace)
            except (ApiError, TimeoutError, aiohttp.ClientError) as error:
                log.warning("workloads: not read", extra={"because": str(error) or repr(error)})

    async def follow(self) -> None:
        """Watch, or look again and again for something to watch. Never returns."""
        async with asyncio.TaskGroup() as group:
            for namespace in self._namespaces:
                group.create_task(self._follow(namespace))

    async def _follow(self, namespace: str | None) -> None:
        while True:
            try:
                found = await self._list(namespace)
                if found is None:
                    await asyncio.sleep(SEARCH_SECONDS)
                    continue
                await self._watch(*found, namespace)
            except (ApiError, TimeoutError, aiohttp.ClientError, ValueError) as error:  # a line that was cut short
                log.info("workloads: looking again", extra={"because": str(error) or repr(error)})
                await asyncio.sleep(RETRY_SECONDS)

    async def _watch(self, resource: Resource, version: str, namespace: str | None) -> None:
        """Until the API server no longer knows the version that we are at (ApiError), or has no Workloads any more."""
        while True:
            async for event in self._cluster.watch(resource, namespace, version):
                version = event["object"]["metadata"]["resourceVersion"]
                if event["type"] != "BOOKMARK":
                    self._tell(self._store.event(WORKLOADS, event))

    async def _list(self, namespace: str | None) -> tuple[Resource, str] | None:
        """The Workloads into the store; their resource as it is served and the version of the LIST, None without."""
        try:
            resource = await self._served()
            version = await self._fill(resource, namespace)
        except ApiError as error:
            if error.status not in (403, 404):
                raise
            self._found(namespace, Kueue.ABSENT if error.not_found else Kueue.FORBIDDEN)
            return None
        self._found(namespace, Kueue.PRESENT)
        return resource, version

    async def _served(self) -> Resource:
        """The newest version that both know. Raises ApiError 404 without Kueue."""
        group = await self._cluster.raw(f"/apis/{WORKLOADS.group}")
        served = {version["version"] for version in group["versions"]}
        version = next((version for version in VERSIONS if version in served), VERSIONS[0])
        return replace(WORKLOADS, api=f"{WORKLOADS.group}/{version}")

    async def _fill(self, resource: Resource, namespace: str | None) -> str:
        listed: set[Key] = set()
        version = ""
        async for page in self._cluster.pages(resource, namespace):
            version = page["metadata"]["resourceVersion"]
            for item in page["items"]:
                item.setdefault("apiVersion", resource.api)  # lists leave it out
                listed.add(Key(item["metadata"]["namespace"], item["metadata"]["name"]))
                self._tell(self._store.put(WORKLOADS, item))
        self._tell(self._store.prune(WORKLOADS, namespace, listed, int(version)))
        return version

    def _found(self, namespace: str | None, kueue: Kueue) -> None:
        if concerned := self._store.found_kueue(namespace, kueue):
            log.info("Kueue", extra={"found": str(kueue), "namespace": namespace})
            self._tell(concerned)

    def _tell(self, keys: list[Key]) -> None:
        for key in keys:
            self._enqueue(key)
