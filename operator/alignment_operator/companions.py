"""Whether what a live run's next pods need beside their Job is still there: somebody may have deleted it."""

from __future__ import annotations

from .api.alignmentjob import AlignmentJob
from .cluster import Cluster
from .pods import CONFIG_VOLUME
from .resources import CONFIG_MAPS, SERVICES
from .runs import finished
from .store import Key
from .views import Observed


class Companions:
    """The ConfigMap of a run, and the Service of several nodes. One for the process."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._answered: dict[Key, frozenset[object]] = {}  # the doubts in which all was there

    async def lacking(self, key: Key, job: AlignmentJob, observed: Observed) -> bool:
        """Whether one of them is gone. The API server is asked once for each new reason to doubt. Raises ApiError."""
        child, new = observed.job, doubts(job, observed)
        if child is None or child.deleting or finished(child) or new <= self._answered.get(key, frozenset()):
            return False
        wanted = (CONFIG_MAPS, SERVICES) if job.spec.nodes > 1 else (CONFIG_MAPS,)
        for resource in wanted:
            if await self._cluster.get(resource, child.namespace, child.name) is None:
                return True
        self._answered[key] = new
        return False

    def forget(self, key: Key) -> None:
        self._answered.pop(key, None)


def doubts(job: AlignmentJob, observed: Observed) -> frozenset[object]:
    """What gives reason to ask; pure.

    What the kubelet says each time that it cannot mount the ConfigMap, and every failed pod of several nodes: those
    that follow have to find each other. Pods that wait for a node, or for other volumes, lack nothing here.
    """
    own = {pod.uid for pod in observed.own_pods}
    unmounted = {(e.pod_uid, e.time) for e in observed.pod_events if e.pod_uid in own and CONFIG_VOLUME in e.message}
    failed = {pod.uid for pod in observed.own_pods if job.spec.nodes > 1 and pod.phase == "Failed"}
    return frozenset(unmounted | failed)
