"""What the operator knows of the cluster: an informer's cache, fed by watch events and pruned by a periodic LIST.

Events, LISTs and the answers to our own writes arrive in any order, so the newest resourceVersion wins (they are
comparable since Kubernetes 1.35, and were before in practice). Because our own writes are put in at once, no decision
is made on a view that is older than what we did ourselves.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from .api.constants import JOB_LABEL
from .followers import Followers, from_job
from .jobs import child_name
from .observed import (
    JobEvent,
    JobView,
    Observed,
    PodView,
    UpstreamView,
    project_event,
    project_job,
    project_upstream,
)
from .podprojection import project_pod
from .resources import ALIGNMENT_JOBS, EVENTS, JOBS, PODS, WORKLOADS, Resource
from .table import Key as Key
from .table import Table
from .views import Kueue, WorkloadView
from .workloads import alignment_job_of, project_workload

Object = dict[str, Any]
MAX_EVENTS = 2000  # FailedCreate events remembered in all; the API server forgets them after an hour


class Store:
    """AlignmentJobs as they are, children as small views. One event loop only."""

    def __init__(self) -> None:
        self._jobs: Table[Object] = Table()
        self._children: Table[JobView] = Table()
        self._pods: Table[PodView] = Table()
        self._workloads: Table[WorkloadView] = Table()
        self._kueue: dict[str | None, Kueue] = {}
        self._events: OrderedDict[tuple[Key, str], JobEvent] = OrderedDict()
        self._followers = Followers()
        self._gone: defaultdict[Key, dict[str, PodView]] = defaultdict(dict)  # deleted, their GPU time not counted yet
        self._projections: dict[Resource, tuple[Table[Any], Callable[[Object], Any]]] = {
            ALIGNMENT_JOBS: (self._jobs, _trimmed),
            JOBS: (self._children, project_job),
            PODS: (self._pods, project_pod),
            WORKLOADS: (self._workloads, project_workload),
        }

    def event(self, resource: Resource, event: Object) -> list[Key]:
        """Take a watch event; returns the AlignmentJobs that it concerns (none when nothing that matters changed)."""
        if event["type"] == "DELETED":
            return self.drop(resource, event["object"])
        return self.put(resource, event["object"])

    def put(self, resource: Resource, obj: Object) -> list[Key]:
        """Take an object as it was read or written; returns the AlignmentJobs concerned."""
        if resource is EVENTS:
            return self._put_event(project_event(obj))
        table, project = self._projections[resource]
        key, owner = _key(obj), _owner(resource, obj)
        if owner is None:
            return []
        version = _version(obj)
        if not table.is_news(key, version):  # mostly the watch's echo of what we wrote
            return []
        before, value = table.get(key), project(obj)
        changed = table.put(key, version, owner, value)
        if resource is not ALIGNMENT_JOBS:
            return [owner] if changed else []
        self._followers.follow(key, before, value)
        return [] if _same(before, value) else [owner, *self._dependents(owner)]

    def drop(self, resource: Resource, obj: Object) -> list[Key]:
        """Forget an object; returns the AlignmentJobs concerned."""
        if resource is EVENTS:
            return []
        table = self._projections[resource][0]
        before = table.get(_key(obj))
        owner = table.drop(_key(obj), _version(obj))
        if owner is None:
            return []
        if resource is PODS:
            self._remember(owner, project_pod(obj))
        elif resource is ALIGNMENT_JOBS:
            self._gone.pop(owner, None)
            self._followers.follow(owner, before, None)
        return [owner, *self._dependents(owner)]

    def prune(self, resource: Resource, namespace: str | None, listed: set[Key], version: int) -> list[Key]:
        """Forget what a complete LIST at that version no longer has; returns the AlignmentJobs concerned."""
        table = self._projections[resource][0]
        missing = [
            k
            for k, row in table.rows.items()
            if k not in listed and row[0] <= version and namespace in (None, k.namespace)
        ]
        if resource is PODS:  # its DELETED event was missed: what is known of it is older than its end
            for key in missing:
                self._remember(table.rows[key][1], table.rows[key][2])
        elif resource is ALIGNMENT_JOBS:
            for key in missing:
                self._followers.follow(key, table.get(key), None)
        return [owner for key in missing if (owner := table.drop(key, version))]

    def found_kueue(self, namespace: str | None, kueue: Kueue) -> list[Key]:
        """Whether Workloads are there, in a namespace or (None) all; returns the AlignmentJobs concerned."""
        before, self._kueue[namespace] = self._kueue.get(namespace), kueue
        if before is kueue:
            return []
        queued = (key for key, row in self._jobs.rows.items() if row[2].get("spec", {}).get("queueName"))
        return [key for key in queued if namespace in (None, key.namespace)]

    def counted(self, key: Key, pods: Iterable[PodView]) -> None:
        """Status has the time of these deleted pods: they need not be remembered any more."""
        remembered = self._gone.get(key, {})
        for pod in pods:
            remembered.pop(pod.uid, None)
        if not remembered:
            self._gone.pop(key, None)

    def _remember(self, owner: Key, pod: PodView) -> None:
        run = (self._jobs.get(owner) or {}).get("status", {}).get("run")
        if pod.devices and pod.run == run:  # an earlier run's books are closed
            self._gone[owner][pod.uid] = pod

    def deleting(self, child: JobView) -> None:
        """We asked for this Job's deletion: take it as under way until the watch shows what became of it."""
        key = Key(child.namespace, child.name)
        row = self._children.rows.get(key)
        if row and row[2].uid == child.uid:
            self._children.rows[key] = (row[0], row[1], replace(row[2], deleting=True))

    def job(self, key: Key) -> Object | None:
        """The AlignmentJob; treat it as read-only."""
        return self._jobs.get(key)

    def awaits_job(self, key: Key) -> bool:
        """Whether no run of this AlignmentJob has begun: its user waits for a Job, others only for news of theirs."""
        job = self._jobs.get(key)
        return job is not None and not job.get("status", {}).get("run")

    def job_keys(self) -> list[Key]:
        return list(self._jobs.rows)

    def jobs(self) -> Iterable[Object]:
        return (row[2] for row in self._jobs.rows.values())

    def child(self, key: Key, run: int) -> JobView | None:
        """The child Job of that run, whoever made it."""
        return self._children.get(Key(key.namespace, child_name(key.name, run)))

    def pod(self, key: Key, uid: str) -> PodView | None:
        """The pod of this AlignmentJob that has the UID."""
        return next((pod for pod in self._pods.of(key) if pod.uid == uid), None)

    def observe(self, key: Key, uid: str, run: int) -> Observed:
        """What is known of that run, with pods of an earlier AlignmentJob of this name: they write the same folder."""
        name, child = Key(key.namespace, child_name(key.name, run)), self.child(key, run)
        pods = sorted((pod for pod in self._pods.of(key) if pod.run == run), key=lambda pod: (pod.index, pod.name))
        ours = child if child and child.owner_uid == uid else None
        kueue = self._kueue.get(None) or self._kueue.get(key.namespace, Kueue.UNKNOWN)
        return Observed(
            job=ours,
            workload=self._workload(key, ours) if kueue is Kueue.PRESENT else None,
            kueue=kueue,
            pods=tuple(pods),
            gone=tuple(pod for pod in self._gone.get(key, {}).values() if pod.run == run),
            events=tuple(e for (job, _), e in self._events.items() if job == name),
            upstream=self._upstream(key),
        )

    def _workload(self, key: Key, child: JobView | None) -> WorkloadView | None:
        return next((w for w in self._workloads.of(key) if child and w.job_uid == child.uid), None)

    def _upstream(self, key: Key) -> UpstreamView | None:
        name = from_job(self._jobs.get(key))
        return project_upstream(name, self._jobs.get(Key(key.namespace, name))) if name else None

    def _dependents(self, owner: Key) -> list[Key]:
        """The AlignmentJobs that wait for the output of this one."""
        waiting = ((key, self._jobs.get(key)) for key in self._followers.of(owner))
        return [key for key, job in waiting if job and not job.get("status", {}).get("jobName")]

    def _put_event(self, event: JobEvent) -> list[Key]:
        job = Key(event.namespace, event.job_name)
        self._events[job, event.message] = event
        self._events.move_to_end((job, event.message))
        while len(self._events) > MAX_EVENTS:
            self._events.popitem(last=False)
        row = self._children.rows.get(job)
        return [row[1]] if row else []


def _key(obj: Object) -> Key:
    return Key(obj["metadata"]["namespace"], obj["metadata"]["name"])


def _version(obj: Object) -> int:
    return int(obj["metadata"]["resourceVersion"])


def _owner(resource: Resource, obj: Object) -> Key | None:
    if resource is ALIGNMENT_JOBS:
        return _key(obj)
    if resource is WORKLOADS:
        parent = alignment_job_of(obj)
        return Key(obj["metadata"]["namespace"], parent) if parent else None
    name = (obj["metadata"].get("labels") or {}).get(JOB_LABEL)
    return Key(obj["metadata"]["namespace"], name) if name else None


def _trimmed(obj: Object) -> Object:
    """Without managedFields and the last-applied annotation: half of the object, and nobody's business here."""
    metadata = {k: v for k, v in obj["metadata"].items() if k not in ("managedFields", "annotations")}
    return {**obj, "metadata": metadata}


def _same(before: Object | None, after: Object) -> bool:
    """Whether nothing changed but progress, metrics and the resourceVersion."""
    return before is not None and _essence(before) == _essence(after)


def _essence(obj: Object) -> Object:
    metadata = {k: v for k, v in obj["metadata"].items() if k != "resourceVersion"}
    status = {k: v for k, v in obj.get("status", {}).items() if k not in ("progress", "metrics")}
    return {"metadata": metadata, "spec": obj.get("spec"), "status": status}
