"""What the operator remembers of an AlignmentJob's children: small, frozen projections of the API server's objects.

The store keeps these instead of whole objects (a Pod is 10 KB of JSON, a PodView a few hundred bytes), and the pure core
(`runs`, `status`) sees nothing else. Every `project_*` takes the object as the API server's JSON has it and never raises on
a missing field: a half-filled object is normal in a watch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from .api.constants import (
    CONTAINER,
    JOB_LABEL,
    KIND,
    MANAGED_BY_LABEL,
    MANAGER,
    PRIORITY_CLASS_LABEL,
    QUEUE_LABEL,
    RUN_LABEL,
)

Object = Mapping[str, Any]


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
    active: int = 0
    ready: int = 0
    succeeded: int = 0
    failed: int = 0
    terminating: int = 0
    conditions: tuple[Condition, ...] = ()
    backoff_limit: int | None = None
    active_deadline_seconds: int | None = None
    queue_name: str | None = None
    priority_class: str | None = None
    deleting: bool = False
    ours: bool = False

    def condition(self, kind: str) -> Condition | None:
        """The condition of that type when it is true."""
        return _true(self.conditions, kind)


@dataclass(frozen=True, slots=True)
class Termination:
    """How the container that decides over a pod's end (the trainer, else a failed init container) ended."""

    exit_code: int
    signal: int | None = None
    reason: str = ""
    message: str = ""
    started: datetime | None = None
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
    running_since: datetime | None = None
    terminated: Termination | None = None
    restarts: int = 0
    node_lost: bool = False
    reason: str = ""
    message: str = ""

    @property
    def ended(self) -> bool:
        """True when no process of this pod can still write to the output folder."""
        return self.phase in ("Succeeded", "Failed")

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
class UpstreamView:
    """The AlignmentJob that `spec.model.fromJob` names. `artifacts` are paths relative to `output_path`."""

    name: str
    exists: bool = False
    complete: bool = False
    failed: bool = False
    run: int | None = None
    output_path: str = ""
    volume: Mapping[str, Any] | None = None
    artifacts: Mapping[str, str] | None = None
    model: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything that `runs.decide` and `status.compute` know of the cluster.

    `job`, `pods` and `events` are those of the current run. `foreign` is the kind and name of an object that has a name we need and is
    not ours (`Job team/demo-r1`).
    """

    job: JobView | None = None
    pods: tuple[PodView, ...] = ()
    events: tuple[JobEvent, ...] = ()
    foreign: str | None = None
    upstream: UpstreamView | None = None


def parse_time(text: str | None) -> datetime | None:
    """RFC 3339 of the API server -> aware datetime."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")) if text else None


def project_job(obj: Object) -> JobView:
    """A `batch/v1` Job -> JobView."""
    meta, spec, status = obj.get("metadata", {}), obj.get("spec", {}), obj.get("status", {})
    labels = meta.get("labels") or {}
    owner = _controller(meta)
    return JobView(
        namespace=meta.get("namespace", ""),
        name=meta.get("name", ""),
        uid=meta.get("uid", ""),
        run=_number(labels.get(RUN_LABEL)),
        owner=labels.get(JOB_LABEL, ""),
        owner_uid=owner.get("uid", "") if owner.get("kind") == KIND else "",
        creation=parse_time(meta.get("creationTimestamp")),
        start_time=parse_time(status.get("startTime")),
        completion_time=parse_time(status.get("completionTime")),
        suspended=bool(spec.get("suspend")),
        active=status.get("active") or 0,
        ready=status.get("ready") or 0,
        succeeded=status.get("succeeded") or 0,
        failed=status.get("failed") or 0,
        terminating=status.get("terminating") or 0,
        conditions=_conditions(status),
        backoff_limit=spec.get("backoffLimit"),
        active_deadline_seconds=spec.get("activeDeadlineSeconds"),
        queue_name=labels.get(QUEUE_LABEL),
        priority_class=labels.get(PRIORITY_CLASS_LABEL),
        deleting="deletionTimestamp" in meta,
        ours=labels.get(MANAGED_BY_LABEL) == MANAGER and owner.get("kind") == KIND,
    )


def project_pod(obj: Object) -> PodView:
    """A Pod of a child Job -> PodView."""
    meta, spec, status = obj.get("metadata", {}), obj.get("spec", {}), obj.get("status", {})
    labels = meta.get("labels") or {}
    conditions = _conditions(status)
    scheduled = _find(conditions, "PodScheduled")
    disrupted = _true(conditions, "DisruptionTarget")
    trainer = _container(status.get("containerStatuses"), CONTAINER)
    grace = meta.get("deletionGracePeriodSeconds") or 0
    deletion = parse_time(meta.get("deletionTimestamp"))
    return PodView(
        namespace=meta.get("namespace", ""),
        name=meta.get("name", ""),
        uid=meta.get("uid", ""),
        job_name=labels.get("batch.kubernetes.io/job-name") or labels.get("job-name", ""),
        job_uid=labels.get("batch.kubernetes.io/controller-uid", ""),
        owner=labels.get(JOB_LABEL, ""),
        run=_number(labels.get(RUN_LABEL)),
        index=_number(labels.get("batch.kubernetes.io/job-completion-index")),
        phase=status.get("phase", "Pending"),
        node=spec.get("nodeName"),
        created=parse_time(meta.get("creationTimestamp")),
        # deletionTimestamp is when the grace ENDS
        deleting_since=deletion - timedelta(seconds=grace) if deletion else None,
        grace_seconds=grace,
        scheduled=(scheduled.status == "True", scheduled.reason, scheduled.message) if scheduled else (True, "", ""),
        disrupted=(disrupted.reason, disrupted.message) if disrupted else None,
        waiting=_waiting(status),
        running_since=parse_time(trainer.get("state", {}).get("running", {}).get("startedAt")),
        terminated=_terminated(status),
        restarts=trainer.get("restartCount", 0),
        node_lost=_node_lost(status.get("phase"), conditions),
        reason=status.get("reason", ""),
        message=status.get("message", ""),
    )


def project_event(obj: Object) -> JobEvent:
    """A `v1` or `events.k8s.io/v1` Event about a Job -> JobEvent."""
    about = obj.get("involvedObject") or obj.get("regarding") or {}
    time = obj.get("lastTimestamp") or obj.get("eventTime") or obj.get("deprecatedLastTimestamp")
    return JobEvent(
        namespace=about.get("namespace", ""),
        job_name=about.get("name", ""),
        reason=obj.get("reason", ""),
        message=obj.get("message") or obj.get("note", ""),
        time=parse_time(time or obj.get("metadata", {}).get("creationTimestamp")),
    )


def project_upstream(name: str, obj: Object | None) -> UpstreamView:
    """The AlignmentJob that `fromJob` names (None: it does not exist) -> UpstreamView."""
    if obj is None:
        return UpstreamView(name)
    spec, status = obj.get("spec", {}), obj.get("status", {})
    conditions = _conditions(status)
    return UpstreamView(
        name=name,
        exists=True,
        complete=_true(conditions, "Complete") is not None,
        failed=_true(conditions, "Failed") is not None,
        run=status.get("run"),
        output_path=status.get("outputPath", ""),
        volume=spec.get("output", {}).get("volume"),
        artifacts=status.get("result", {}).get("artifacts", {}),
        model=spec.get("model", {}),
    )


def _conditions(status: Object) -> tuple[Condition, ...]:
    return tuple(
        Condition(c["type"], c["status"], c.get("reason", ""), c.get("message", ""), parse_time(c.get("lastTransitionTime")))
        for c in status.get("conditions") or ()
    )


def _find(conditions: tuple[Condition, ...], kind: str) -> Condition | None:
    return next((c for c in conditions if c.type == kind), None)


def _true(conditions: tuple[Condition, ...], kind: str) -> Condition | None:
    found = _find(conditions, kind)
    return found if found and found.status == "True" else None


def _controller(meta: Object) -> Object:
    return next((o for o in meta.get("ownerReferences") or () if o.get("controller")), {})


def _container(statuses: list[Object] | None, name: str) -> Object:
    return next((c for c in statuses or () if c.get("name") == name), {})


def _waiting(status: Object) -> tuple[str, str] | None:
    """Why the trainer or an init container before it does not start; PodInitializing and ContainerCreating are no reasons."""
    statuses = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    for waiting in (c.get("state", {}).get("waiting") for c in statuses):
        if waiting and waiting.get("reason") not in (None, "PodInitializing", "ContainerCreating"):
            return waiting["reason"], waiting.get("message", "")
    return None


def _terminated(status: Object) -> Termination | None:
    trainer = _container(status.get("containerStatuses"), CONTAINER)
    ended = trainer.get("state", {}).get("terminated")
    name = CONTAINER
    if not ended:
        name, ended = _failed_init(status)
    if not ended:
        return None
    return Termination(
        exit_code=ended.get("exitCode", 0),
        signal=ended.get("signal"),
        reason=ended.get("reason", ""),
        message=ended.get("message", ""),
        started=parse_time(ended.get("startedAt")),
        finished=parse_time(ended.get("finishedAt")),
        container=name,
    )


def _failed_init(status: Object) -> tuple[str, Object | None]:
    for container in status.get("initContainerStatuses") or ():
        ended = container.get("state", {}).get("terminated")
        if ended and ended.get("exitCode"):
            return container["name"], ended
    return "", None


def _node_lost(phase: str | None, conditions: tuple[Condition, ...]) -> bool:
    """The node controller marks pods of a silent node Ready=False and leaves ContainersReady, which only the kubelet writes."""
    ready, containers = _find(conditions, "Ready"), _find(conditions, "ContainersReady")
    if phase != "Running" or not ready or not containers or ready.reason == "ReadinessGatesNotReady":
        return False
    return ready.status != "True" and containers.status == "True"


def _number(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0
