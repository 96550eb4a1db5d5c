"""A Pod of a child Job -> PodView: where it stands, why it does not start, how it ended.

Never raises on a missing field, as all projections: a half-filled object is normal in a watch.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from .api.constants import CONTAINER, JOB_LABEL, RUN_LABEL
from .observed import Object, conditions_of, find, number_of, parse_time, true
from .views import Condition, PodView, Termination


def project_pod(obj: Object) -> PodView:
    """A Pod of a child Job -> PodView."""
    meta, spec, status = obj.get("metadata", {}), obj.get("spec", {}), obj.get("status", {})
    conditions = conditions_of(status)
    return PodView(
        node=spec.get("nodeName"),
        devices=_devices(spec),
        node_selector=tuple(sorted((spec.get("nodeSelector") or {}).items())),
        **_whose(meta),
        **_deletion(meta),
        **_progress(status, conditions),
        **_end(status, conditions),
    )


def _whose(meta: Object) -> dict[str, Any]:
    labels = meta.get("labels") or {}
    return {
        "namespace": meta.get("namespace", ""),
        "name": meta.get("name", ""),
        "uid": meta.get("uid", ""),
        "job_name": labels.get("batch.kubernetes.io/job-name") or labels.get("job-name", ""),
        "job_uid": labels.get("batch.kubernetes.io/controller-uid", ""),
        "owner": labels.get(JOB_LABEL, ""),
        "run": number_of(labels.get(RUN_LABEL)),
        "index": number_of(labels.get("batch.kubernetes.io/job-completion-index")),
        "created": parse_time(meta.get("creationTimestamp")),
    }


def _deletion(meta: Object) -> dict[str, Any]:
    """deletionTimestamp is when the grace ENDS."""
    grace, ends = meta.get("deletionGracePeriodSeconds") or 0, parse_time(meta.get("deletionTimestamp"))
    return {"deleting_since": ends - timedelta(seconds=grace) if ends else None, "grace_seconds": grace}


def _progress(status: Object, conditions: tuple[Condition, ...]) -> dict[str, Any]:
    """From the scheduler to the trainer's first moment, and what is in between."""
    phase = status.get("phase", "Pending")
    scheduled = find(conditions, "PodScheduled")
    trainer = _container(status.get("containerStatuses"), CONTAINER)
    return {
        "phase": phase,
        "scheduled": (scheduled.status == "True", scheduled.reason, scheduled.message) if scheduled else (True, "", ""),
        "scheduled_at": scheduled.time if scheduled and scheduled.status == "True" else None,
        "unmounted_since": _unmounted_since(phase, conditions),
        "waiting": _waiting(status),
        "running_since": parse_time(trainer.get("state", {}).get("running", {}).get("startedAt")),
        "node_lost": _node_lost(status.get("phase"), conditions),
    }


def _end(status: Object, conditions: tuple[Condition, ...]) -> dict[str, Any]:
    disrupted = true(conditions, "DisruptionTarget")
    return {
        "disrupted": (disrupted.reason, disrupted.message) if disrupted else None,
        "terminated": _terminated(status),
        "ended_at": _ended_at(status, conditions),
        "reason": status.get("reason", ""),
        "message": status.get("message", ""),
    }


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
    scheduled = true(conditions, "PodScheduled")
    if phase != "Pending" or not scheduled or true(conditions, "PodReadyToStartContainers"):
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


def _failed_init(status: Object) -> tuple[str, Object | None]:
    for container in status.get("initContainerStatuses") or ():
        ended = container.get("state", {}).get("terminated")
        if ended and ended.get("exitCode"):
            return container["name"], ended
    return "", None


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
    given_up = true(conditions, "DisruptionTarget") or find(conditions, "Ready") or find(conditions, "PodScheduled")
    return given_up.time if given_up else None


def _node_lost(phase: str | None, conditions: tuple[Condition, ...]) -> bool:
    """True for a pod of a silent node.

    The node controller marks it Ready=False and leaves ContainersReady, which only the kubelet writes.
    """
    ready, containers = find(conditions, "Ready"), find(conditions, "ContainersReady")
    if phase != "Running" or not ready or not containers or ready.reason == "ReadinessGatesNotReady":
        return False
    return ready.status != "True" and containers.status == "True"


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


def _container(statuses: list[Object] | None, name: str) -> Object:
    return next((c for c in statuses or () if c.get("name") == name), {})
