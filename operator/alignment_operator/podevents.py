"""What the kubelet says about pods whose volumes are not mounted: the only place that says why.

Asked for and not watched, for a watch would bring every pod's. An API server reads all events of a namespace to answer
for one pod, so the answer is shared by all pods that wait there.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import aiohttp

from .cluster import ApiError, Cluster
from .observed import project_pod_event
from .obstacles import MOUNT_REASONS
from .resources import EVENTS
from .views import PodEvent, PodView

log = logging.getLogger(__name__)
FRESH = timedelta(seconds=5)  # for so long an answer holds for every pod of its namespace
KEPT = timedelta(minutes=10)  # and for so long it is better than none, when the API server gives no other
# A selector can leave out any number of reasons, but name one only; these are most of a busy namespace's warnings.
ABOUT_PODS = "involvedObject.kind=Pod,type=Warning,reason!=FailedScheduling,reason!=BackOff,reason!=Unhealthy"


@dataclass(frozen=True, slots=True)
class _Answer:
    asked: datetime
    events: tuple[PodEvent, ...]

    def is_younger(self, age: timedelta, now: datetime) -> bool:
        return timedelta() <= now - self.asked < age  # a clock that was set back makes it old


class PodEvents:
    """At most one LIST for a namespace in FRESH, however many pods wait there. One for the process."""

    def __init__(self, cluster: Cluster, now: Callable[[], datetime]) -> None:
        self._cluster, self._now = cluster, now
        self._known: dict[str, _Answer] = {}
        self._asking: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def about(self, pods: Iterable[PodView]) -> tuple[PodEvent, ...]:
        """The warnings about the volumes of these pods; what is known of them when the API server does not answer."""
        uids = defaultdict(set)
        for pod in pods:
            uids[pod.namespace].add(pod.uid)
        return tuple([e for name in uids for e in await self._of(name) if e.pod_uid in uids[name]])

    async def _of(self, namespace: str) -> tuple[PodEvent, ...]:
        async with self._asking[namespace]:  # who comes meanwhile waits for the same answer
            known = self._known.get(namespace)
            if known is None or not known.is_younger(FRESH, self._now()):
                await self._ask(namespace)
            return self._known[namespace].events if namespace in self._known else ()

    async def _ask(self, namespace: str) -> None:
        asked = self._now()
        self._known = {name: each for name, each in self._known.items() if each.is_younger(KEPT, asked)}
        try:
            pages = [page async for page in self._cluster.pages(EVENTS, namespace, fieldSelector=ABOUT_PODS)]
        except (ApiError, TimeoutError, aiohttp.ClientError) as error:
            log.warning("events not read", extra={"namespace": namespace, "error": str(error) or repr(error)})
            return
        found = [item for page in pages for item in page["items"] if item.get("reason") in MOUNT_REASONS]
        self._known[namespace] = _Answer(asked, tuple(map(project_pod_event, found)))
