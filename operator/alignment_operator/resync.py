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
LISTED: dict[Resource, dict[str, str]] = {ALIGNMENT_JOBS: {}, JOBS: CHILDREN, PODS: CHILDREN}


class CrdMissing(Exception):
    """The API server does not know AlignmentJobs."""


class Resync:
    """Fills and prunes the store. `enqueue` gets the keys whose objects the watches had not brought."""

    def __init__(
        self, store: Store, cluster: Cluster, settings: Settings, metrics: Metrics, enqueue: Callable[[Key], None]
    ) -> None:
        self._store, self._cluster, self._metrics, self._enqueue = store, cluster, metrics, enqueue
        self._namespaces: tuple[str | None, ...] = settings.watch_namespaces or (None,)
        self._versions: dict[tuple[Resource, str | None], str] = {}
        self._filled = False

    async def run(self) -> None:
        """List everything once. Raises CrdMissing, ApiError."""
        for namespace in self._namespaces:
            # Parents first: a child whose AlignmentJob is unknown means nothing.
            for resource in LISTED:
                await self.relist(resource, namespace)
        self._filled = True

    def version(self, resource: Resource, namespace: str | None) -> str:
        """Where a watch has to begin to miss nothing since the last LIST; empty: it was never listed."""
        return self._versions.get((resource, namespace), "")

    async def relist(self, resource: Resource, namespace: str | None) -> str:
        """List one kind and forget what is gone; returns the version of the list. Raises CrdMissing, ApiError."""
        listed: set[Key] = set()
        version = "0"
        news: list[Key] = []
        try:
            async for page in self._cluster.pages(resource, namespace, **LISTED[resource]):
                version = page["metadata"]["resourceVersion"]
                for item in page["items"]:
                    item.setdefault("apiVersion", resource.api)  # lists leave both out
                    item.setdefault("kind", resource.kind)
                    listed.add(Key(item["metadata"]["namespace"], item["metadata"]["name"]))
                    news += self._store.put(resource, item)
        except ApiError as error:
            if resource is ALIGNMENT_JOBS and error.not_found:
                raise CrdMissing(
                    "this cluster does not know AlignmentJobs: install the chart with crds.install=true, or their "
                    "definition by `python -m alignment_operator crd | kubectl apply --server-side -f -`"
                ) from error
            raise
        news += self._store.prune(resource, namespace, listed, int(version))
        self._versions[resource, namespace] = version
        self._tell(resource, news)
        return version

    def _tell(self, resource: Resource, news: list[Key]) -> None:
        for key in news:
            self._enqueue(key)
        if news and self._filled:
            self._metrics.missed.labels(resource.plural).inc(len(news))
