"""A LIST of everything into the store: at the start, when this process becomes the leader, and every `resync_seconds`.

It finds what the watches missed: an object that was deleted while a watch was broken never gets a DELETED event.
"""

import logging
from collections.abc import Callable

from .api.constants import JOB_LABEL
from .cluster import ApiError, Cluster
from .metrics import Metrics
from .resources import ALIGNMENT_JOBS, JOBS, PODS, Resource
from .settings import Settings
from .store import Key, Store

log = logging.getLogger(__name__)
CHILDREN = {"labelSelector": JOB_LABEL}


class CrdMissing(Exception):
    """The API server does not know AlignmentJobs."""


class Resync:
    """Fills and prunes the store. `enqueue` gets the keys whose objects the watches had not brought."""

    def __init__(
        self, store: Store, cluster: Cluster, settings: Settings, metrics: Metrics, enqueue: Callable[[Key], None]
    ) -> None:
        self._store, self._cluster, self._metrics, self._enqueue = store, cluster, metrics, enqueue
        self._namespaces: tuple[str | None, ...] = settings.watch_namespaces or (None,)
        self._filled = False

    async def run(self) -> None:
        """List everything once. Raises CrdMissing, ApiError."""
        for namespace in self._namespaces:
            # Parents first: a child whose AlignmentJob is unknown means nothing.
            for resource, query in ((ALIGNMENT_JOBS, {}), (JOBS, CHILDREN), (PODS, CHILDREN)):
                await self._list(resource, namespace, query)
        self._filled = True

    async def _list(self, resource: Resource, namespace: str | None, query: dict[str, str]) -> None:
        listed: set[Key] = set()
        version = 0
        news: list[Key] = []
        try:
            async for page in self._cluster.pages(resource, namespace, **query):
                version = int(page["metadata"]["resourceVersion"])
                for item in page["items"]:
                    item.setdefault("apiVersion", resource.api)  # lists leave both out
                    item.setdefault("kind", resource.kind)
                    listed.add(Key(item["metadata"]["namespace"], item["metadata"]["name"]))
                    news += self._store.put(resource, item)
        except ApiError as error:
            if resource is ALIGNMENT_JOBS and error.not_found:
                raise CrdMissing(
                    "this cluster does not know AlignmentJobs: install the CRD first (`alignment_operator crd`)"
                ) from error
            raise
        news += self._store.prune(resource, namespace, listed, version)
        self._tell(resource, news)

    def _tell(self, resource: Resource, news: list[Key]) -> None:
        for key in news:
            self._enqueue(key)
        if news and self._filled:
            self._metrics.missed.labels(resource.plural).inc(len(news))
