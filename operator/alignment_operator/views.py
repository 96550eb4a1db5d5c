"""Small, frozen views of an AlignmentJob's children: all that the pure core (`runs`, `status`) knows of the cluster.

The store keeps these instead of whole objects: a Pod is 10 KB of JSON, a PodView a few hundred bytes. `observed`
makes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from .api.constants import CONTAINER


@dataclass(frozen=True, slots=True)
class Condition:
    """One entry of `status.conditions` of a Job or Pod."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    time: datetime | None = None


@dataclass(frozen=True, slots=True)
class JobView:
    """A child `batch/v1` Job. Counts are pods."""

    namespace: str
    name: str
    uid: str
    run: int
    owner: str = ""
    owner_uid: str = ""
    creation: datetime | None = None
    start_time: datetime | None = None
    completion_time: datetime | None = None
    suspended: bool = False
    succeeded: int = 0
    failed: int = 0
    conditions: tuple[Condition, ...] = ()
    backoff_limit: int | None = None
    active_deadline_seconds: int | None = None
    queue_name: str | None = None
    priority_class: str | None = None
    deleting: bool = False
    ours: bool = False
    template_digest: str = ""

    def condition(self, kind: str) -> Condition | None:
        """The condition of that type when it is true."""
        return next((c for c in self.conditions if c.type == kind and c.status == "True"), None)


@dataclass(frozen=True, slots=True)
class Termination:
    """How the container that decides over a pod's end (the trainer, else a failed init container) ended."""

    exit_code: int
    reason: str = ""
    message: str = ""
    finished: datetime | None = None
    container: str = CONTAINER


@dataclass(frozen=True, slots=True)
class PodView:
    """A pod of a run."""

    namespace: str
    name: str
    uid: str
    job_name: str = ""
    job_uid: str = ""
    owner: str = ""
    run: int = 0
    index: int = 0
    phase: str = "Pending"
    node: str | None = None
    created: datetime | None = None
    deleting_since: datetime | None = None
    grace_seconds: int = 0
    scheduled: tuple[bool, str, str] = (True, "", "")
    disrupted: tuple[str, str] | None = None
    waiting: tuple[str, str] | None = None
    scheduled_at: datetime | None = None  # from then on it holds its node's devices
    ended_at: datetime | None = None  # when its last container ended; None while the pod has not
    devices: tuple[tuple[str, int], ...] = ()  # extended resources that it holds: nvidia.com/gpu and the like
    node_selector: tuple[tuple[str, str], ...] = ()
    unmounted_since: datetime | None = None  # it has a node since then, and no sandbox yet: its volumes come first
    running_since: datetime | None = None
    terminated: Termination | None = None
    node_lost: bool = False
    reason: str = ""
    message: str = ""

    @property
    def ended(self) -> bool:
        """True when no process of this pod can still write to the output folder."""
        return self.phase in ("Succeeded", "Failed")

    @property
    def succeeded(self) -> bool:
        """True as soon as the trainer has ended well: the kubelet says so before it gives the pod its last phase."""
        return self.phase == "Succeeded" or (self.terminated is not None and self.terminated.exit_code == 0)

    @property
    def gone_at(self) -> datetime | None:
        """When the kubelet must have ended the pod, once it is being deleted."""
        return self.deleting_since + timedelta(seconds=self.grace_seconds) if self.deleting_since else None


@dataclass(frozen=True, slots=True)
class JobEvent:
    """A FailedCreate event of a child Job: the only place that says why its pods are not made."""

    namespace: str
    job_name: str
    reason: str
    message: str
    time: datetime | None = None


@dataclass(frozen=True, slots=True)
class PodEvent:
    """A warning about a pod, asked for when it does not start: the only place that says why a volume is not mounted."""

    pod_uid: str
    reason: str
    message: str
    time: datetime | None = None


@dataclass(frozen=True, slots=True)
class UpstreamView:
    """The AlignmentJob that `spec.model.fromJob` names.

    `artifacts`: paths relative to `output_path`. `model`: its spec.model.
    `adapter`, `merged`: what its spec makes it leave.
    """

    name: str
    exists: bool = False
    complete: bool = False
    failed: bool = False
    run: int | None = None
    output_path: str = ""
    volume: Mapping[str, Any] | None = None
    artifacts: Mapping[str, str] | None = None
    model: Mapping[str, Any] | None = None
    adapter: bool = False
    merged: bool = False


class Kueue(StrEnum):
    """Whether the API server has Kueue's Workloads for us."""

    UNKNOWN = "Unknown"  # not asked yet
    ABSENT = "Absent"  # Kueue is not installed
    FORBIDDEN = "Forbidden"  # it is, and the operator may not read its Workloads
    PRESENT = "Present"


@dataclass(frozen=True, slots=True)
class WorkloadView:
    """The Kueue Workload of a child Job: where it stands in its queue.

    `api`: the version it was read in (`kueue.x-k8s.io/v1beta2`). `active`: `spec.active`, and `set_by_us` whether the
    operator wrote it last. `checks`: what its pending admission checks say.
    """

    namespace: str
    name: str
    uid: str
    api: str
    job_name: str = ""
    job_uid: str = ""
    queue_name: str = ""
    active: bool = True
    set_by_us: bool = False
    checks: tuple[str, ...] = ()
    conditions: tuple[Condition, ...] = ()

    def condition(self, kind: str) -> Condition | None:
        """The condition of that type, true or false."""
        return next((c for c in self.conditions if c.type == kind), None)

    def true(self, kind: str) -> bool:
        found = self.condition(kind)
        return found is not None and found.status == "True"


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything that `runs.decide` and `status.compute` know of the cluster.

    `job`, `pods`, `events` and `pod_events` are those of the current run. `gone`: pods of it that were deleted, as they
    were last seen, kept until status has counted their time. `before`: where a run begins, those of the run before it.
    `foreign` is the kind and name of an object that has a name that we need and is not ours (`Job demo-r1`).
    """

    job: JobView | None = None
    pods: tuple[PodView, ...] = ()
    gone: tuple[PodView, ...] = ()
    before: tuple[PodView, ...] = ()
    events: tuple[JobEvent, ...] = ()
    pod_events: tuple[PodEvent, ...] = ()
    foreign: str | None = None
    upstream: UpstreamView | None = None
    workload: WorkloadView | None = None
    kueue: Kueue = Kueue.UNKNOWN
    ended_for: timedelta | None = None  # since when this process knows that the Job has ended, by its own clock

    @property
    def own_pods(self) -> tuple[PodView, ...]:
        """The pods of this very Job: one that was deleted by hand and made again has its predecessor's beside them."""
        return tuple(pod for pod in self.pods if self.job is None or pod.job_uid in ("", self.job.uid))
