"""What the operator remembers of an AlignmentJob's children, projected from the API server's objects.

Every `project_*` takes the object as the API server's JSON has it and never raises on a missing field: a half-filled
object is normal in a watch.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    TEMPLATE_ANNOTATION,
)
from .views import Condition as Condition
from .views import JobEvent as JobEvent
from .views import JobView as JobView
from .views import Observed as Observed
from .views import PodEvent as PodEvent
from .views import PodView as PodView
from .views import Termination as Termination
from .views import UpstreamView as UpstreamView

Object = Mapping[str, Any]


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
        succeeded=status.get("succeeded") or 0,
        failed=status.get("failed") or 0,
        conditions=_conditions(status),
        backoff_limit=spec.get("backoffLimit"),
        active_deadline_seconds=spec.get("activeDeadlineSeconds"),
        queue_name=labels.get(QUEUE_LABEL),
        priority_class=labels.get(PRIORITY_CLASS_LABEL),
        deleting="deletionTimestamp" in meta,
        template_digest=(meta.get("annotations") or {}).get(TEMPLATE_ANNOTATION, ""),
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
        scheduled_at=scheduled.time if scheduled and scheduled.status == "True" else None,
        ended_at=_ended_at(status, conditions),
        devices=_devices(spec),
        node_selector=tuple(sorted((spec.get("nodeSelector") or {}).items())),
        unmounted_since=_unmounted_since(status.get("phase", "Pending"), conditions),
        running_since=parse_time(trainer.get("state", {}).get("running", {}).get("startedAt")),
        terminated=_terminated(status),
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


def project_pod_event(obj: Object) -> PodEvent:
    """A `v1` Event about a Pod -> PodEvent."""
    time = obj.get("lastTimestamp") or obj.get("eventTime") or obj.get("metadata", {}).get("creationTimestamp")
    uid = obj.get("involvedObject", {}).get("uid", "")
    return PodEvent(uid, obj.get("reason", ""), obj.get("message", ""), parse_time(time))


def project_upstream(name: str, obj: Object | None) -> UpstreamView:
    """The AlignmentJob that `fromJob` names (None: it does not exist) -> UpstreamView."""
    if obj is None:
        return UpstreamView(name)
    spec, status = obj.get("spec", {}), obj.get("status", {})
    conditions, model = _conditions(status), spec.get("model", {})
    return UpstreamView(
        name=name,
        exists=True,
        complete=_true(conditions, "Complete") is not None,
        failed=_true(conditions, "Failed") is not None,
        run=status.get("run"),
        output_path=status.get("outputPath", ""),
        volume=spec.get("output", {}).get("volume"),
        artifacts=status.get("result", {}).get("artifacts", {}),
        model=model,
        adapter=bool(model.get("usePeft") or model.get("adapterNameOrPath")),
        merged=bool(spec.get("output", {}).get("merge")),
    )


def _conditions(status: Object) -> tuple[Condition, ...]:
    return tuple(
        Condition(
            c["type"], c["status"], c.get("reason", ""), c.get("message", ""), parse_time(c.get("lastTransitionTime"))
        )
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
    """Why the trainer, or an init container before it, does not start.

    PodInitializing and ContainerCreating are stages, not reasons.
    """
    statuses = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    for waiting in (c.get("state", {}).get("waiting") for c in statuses):
        if waiting and waiting.get("reason") not in (None, "PodInitializing", "ContainerCreating"):
            return waiting["reason"], waiting.get("message", "")
    return None


def _unmounted_since(phase: str, conditions: tuple[Condition, ...]) -> datetime | None:
    """The kubelet makes a pod's sandbox once every volume is mounted; images are pulled after that."""
    scheduled = _true(conditions, "PodScheduled")
    if phase != "Pending" or not scheduled or _true(conditions, "PodReadyToStartContainers"):
        return None
    return scheduled.time


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
        reason=ended.get("reason", ""),
        message=ended.get("message", ""),
        finished=parse_time(ended.get("finishedAt")),
        container=name,
    )


def _ended_at(status: Object, conditions: tuple[Condition, ...]) -> datetime | None:
    """When the last container of a pod in its last phase ended.

    The kubelet of a lost node never says so: then it is when the pod was given up.
    """
    if status.get("phase") not in ("Succeeded", "Failed"):
        return None
    statuses = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    ends = [c.get("state", {}).get("terminated", {}).get("finishedAt") for c in statuses]
    if times := [time for time in map(parse_time, ends) if time]:
        return max(times)
    given_up = _true(conditions, "DisruptionTarget") or _find(conditions, "Ready") or _find(conditions, "PodScheduled")
    return given_up.time if given_up else None


def _devices(spec: Object) -> tuple[tuple[str, int], ...]:
    """Extended resources of a pod as the scheduler counts them: of all containers, or of the greediest one before."""
    counts: dict[str, int] = {}
    for container in spec.get("containers") or ():
        for name, count in _extended(container):
            counts[name] = counts.get(name, 0) + count
    for container in spec.get("initContainers") or ():
        for name, count in _extended(container):
            counts[name] = max(counts.get(name, 0), count)
    return tuple(sorted(counts.items()))


def _extended(container: Object) -> list[tuple[str, int]]:
    """Names with a domain that is not Kubernetes' own; they are counted in whole numbers."""
    limits = container.get("resources", {}).get("limits") or {}
    outside = {name: str(count) for name, count in limits.items() if "/" in name and "kubernetes.io/" not in name}
    return [(name, int(count)) for name, count in outside.items() if count.isdigit()]


def _failed_init(status: Object) -> tuple[str, Object | None]:
    for container in status.get("initContainerStatuses") or ():
        ended = container.get("state", {}).get("terminated")
        if ended and ended.get("exitCode"):
            return container["name"], ended
    return "", None


def _node_lost(phase: str | None, conditions: tuple[Condition, ...]) -> bool:
    """True for a pod of a silent node.

    The node controller marks it Ready=False and leaves ContainersReady, which only the kubelet writes.
    """
    ready, containers = _find(conditions, "Ready"), _find(conditions, "ContainersReady")
    if phase != "Running" or not ready or not containers or ready.reason == "ReadinessGatesNotReady":
        return False
    return ready.status != "True" and containers.status == "True"


def _number(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0
