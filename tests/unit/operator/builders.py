"""Builders of the objects that the operator reads: an AlignmentJob, and children as the API server's JSON has them.

Fluent, after JobSet's test wrappers: `Pod().exited(78)` reads as what it is. Views are made by the operator's own
projections, so that every status test tests those too.
"""

from __future__ import annotations

import json
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from alignment_operator.api.alignmentjob import AlignmentJob
from alignment_operator.observed import (
    JobEvent,
    JobView,
    Observed,
    PodEvent,
    PodView,
    UpstreamView,
    project_event,
    project_job,
    project_pod_event,
)
from alignment_operator.podprojection import project_pod

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
NAMESPACE, NAME, UID = "team-a", "demo", "11111111-0000-0000-0000-000000000000"
CLAIM = {"persistentVolumeClaim": {"claimName": "models"}}


def at(seconds: float) -> str:
    """A time relative to NOW, as Kubernetes writes it."""
    return (NOW + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def alignment_job(*, status: dict[str, Any] | None = None, generation: int = 1, **spec: Any) -> AlignmentJob:
    """An AlignmentJob; keywords replace the sections of a small DPO spec, None takes one away."""
    base: dict[str, Any] = {
        "model": {"modelNameOrPath": "HuggingFaceTB/SmolLM2-135M-Instruct"},
        "dataset": {"datasetName": "trl-lib/ultrafeedback_binarized"},
        "dpo": {"beta": 0.1},
        "gpusPerNode": 0,
        "output": {"volume": CLAIM},
    }
    merged = {name: value for name, value in {**base, **spec}.items() if value is not None}
    metadata = {"name": NAME, "namespace": NAMESPACE, "uid": UID, "generation": generation}
    return AlignmentJob.model_validate({"metadata": metadata, "spec": merged, "status": status or {}})


def with_status(job: AlignmentJob, status: dict[str, Any]) -> AlignmentJob:
    """The job as it is read after that status was written."""
    return AlignmentJob.model_validate({**job.to_object(), "status": status})


class _Object:
    """JSON of an object, changed step by step."""

    def __init__(self, obj: dict[str, Any]) -> None:
        self.obj = deepcopy(obj)

    def _condition(self, kind: str, status: str, reason: str, message: str, seconds: float) -> Self:
        condition = {"type": kind, "status": status, "reason": reason, "message": message}
        self.obj["status"].setdefault("conditions", []).append({**condition, "lastTransitionTime": at(seconds)})
        return self


class Job(_Object):
    """The child Job of run 1, made 60 s ago."""

    def __init__(self, run: int = 1) -> None:
        owner = {"kind": "AlignmentJob", "name": NAME, "uid": UID, "controller": True}
        labels = {
            "app.kubernetes.io/managed-by": "alignment-operator",
            "alignment-operator.io/job": NAME,
            "alignment-operator.io/run": str(run),
        }
        metadata: dict[str, Any] = {
            "name": f"{NAME}-r{run}",
            "namespace": NAMESPACE,
            "uid": f"job-{run}",
            "labels": labels,
        }
        metadata |= {"creationTimestamp": at(-60), "ownerReferences": [owner]}
        status = {"startTime": at(-60), "active": 1}
        super().__init__({"metadata": metadata, "spec": {"backoffLimit": 3, "suspend": False}, "status": status})

    def with_condition(self, kind: str) -> Self:
        return self._condition(kind, "True", "", "", -2)

    def suspended(self) -> Self:
        self.obj["spec"]["suspend"] = True
        self.obj["status"] = {}
        return self

    def queued(self, queue: str = "gpus") -> Self:
        self.obj["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] = queue
        return self.suspended()

    def deadline(self, seconds: int) -> Self:
        self.obj["spec"]["activeDeadlineSeconds"] = seconds
        return self

    def complete(self, seconds: float = -1) -> Self:
        self.obj["status"] |= {"active": 0, "succeeded": 1, "completionTime": at(seconds)}
        return self._condition(
            "Complete", "True", "CompletionsReached", "Reached expected number of succeeded pods", seconds
        )

    def failed(self, reason: str, message: str = "", count: int = 1, seconds: float = -1) -> Self:
        self.obj["status"] |= {"active": 0, "failed": count}
        return self._condition("Failed", "True", reason, message, seconds)

    def view(self) -> JobView:
        return project_job(self.obj)


class Pod(_Object):
    """A pod of the child Job, made 50 s ago, scheduled and pending."""

    def __init__(self, index: int = 0, attempt: str = "a", run: int = 1) -> None:
        labels = {
            "alignment-operator.io/job": NAME,
            "alignment-operator.io/run": str(run),
            "batch.kubernetes.io/job-name": f"{NAME}-r{run}",
            "batch.kubernetes.io/controller-uid": f"job-{run}",
            "batch.kubernetes.io/job-completion-index": str(index),
        }
        name = f"{NAME}-r{run}-{index}-{attempt}"
        metadata = {"name": name, "namespace": NAMESPACE, "uid": name, "labels": labels, "creationTimestamp": at(-50)}
        super().__init__({"metadata": metadata, "spec": {"nodeName": f"node-{index}"}, "status": {"phase": "Pending"}})

    def unschedulable(self, message: str = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.") -> Self:
        self.obj["spec"].pop("nodeName")
        return self._condition("PodScheduled", "False", "Unschedulable", message, -50)

    def scheduled(self, seconds: float) -> Self:
        """It got its node at that time; the kubelet has not made its sandbox yet."""
        self._condition("PodScheduled", "True", "", "", seconds)
        return self._condition("PodReadyToStartContainers", "False", "", "", seconds)

    def has_sandbox(self) -> Self:
        self.obj["status"]["conditions"] = [
            {**c, "status": "True"} if c["type"] == "PodReadyToStartContainers" else c
            for c in self.obj["status"]["conditions"]
        ]
        return self

    def created(self, seconds: float) -> Self:
        self.obj["metadata"]["creationTimestamp"] = at(seconds)
        return self

    def waiting(self, reason: str, message: str = "") -> Self:
        return self._container({"waiting": {"reason": reason, "message": message}})

    def running(self, since: float = -40) -> Self:
        self.obj["status"]["phase"] = "Running"
        self._condition("ContainersReady", "True", "", "", since)._condition("Ready", "True", "", "", since)
        return self._container({"running": {"startedAt": at(since)}})

    def node_silent(self) -> Self:
        self.obj["status"]["conditions"] = []
        return self._condition("ContainersReady", "True", "", "", -40)._condition("Ready", "False", "", "", -5)

    def deleted(self, seconds: float, grace: int = 600) -> Self:
        """Deletion was asked for at that time."""
        self.obj["metadata"] |= {"deletionTimestamp": at(seconds + grace), "deletionGracePeriodSeconds": grace}
        return self

    def exited(self, code: int, message: str | dict[str, Any] = "", reason: str = "", seconds: float = -5) -> Self:
        text = message if isinstance(message, str) else json.dumps(message)
        self.obj["status"]["phase"] = "Failed" if code else "Succeeded"
        reason = reason or ("Error" if code else "Completed")
        times = {"startedAt": at(-40), "finishedAt": at(seconds)}
        return self._container({"terminated": {"exitCode": code, "reason": reason, "message": text, **times}})

    def still_running(self) -> Self:
        """The trainer's end is known, the pod's last phase is not yet: the kubelet writes them one after the other."""
        self.obj["status"]["phase"] = "Running"
        return self

    def refused_by_kubelet(self, reason: str, message: str) -> Self:
        self.obj["status"] |= {"phase": "Failed", "reason": reason, "message": message}
        return self

    def disrupted(self, reason: str = "PreemptionByScheduler", message: str = "preempted by a higher priority") -> Self:
        return self._condition("DisruptionTarget", "True", reason, message, -6)

    def of_job(self, uid: str) -> Self:
        self.obj["metadata"]["labels"]["batch.kubernetes.io/controller-uid"] = uid
        return self

    def init_exited(self, name: str, code: int) -> Self:
        self.obj["status"]["phase"] = "Failed"
        state = {"terminated": {"exitCode": code, "reason": "Error", "finishedAt": at(-5)}}
        self.obj["status"]["initContainerStatuses"] = [{"name": name, "state": state}]
        return self._container({"waiting": {"reason": "PodInitializing"}})

    def _container(self, state: dict[str, Any]) -> Self:
        self.obj["status"]["containerStatuses"] = [{"name": "trainer", "state": state, "restartCount": 0}]
        return self

    def view(self) -> PodView:
        return project_pod(self.obj)


def failed_create(message: str, seconds: float = -30) -> JobEvent:
    """The Job controller's event."""
    about = {"kind": "Job", "namespace": NAMESPACE, "name": f"{NAME}-r1"}
    return project_event(
        {"involvedObject": about, "reason": "FailedCreate", "message": message, "lastTimestamp": at(seconds)}
    )


def not_mounted(message: str, reason: str = "FailedMount", seconds: float = -5, pod: Pod | None = None) -> PodEvent:
    """The kubelet's event about the volumes of the first pod."""
    uid = (pod or Pod()).obj["metadata"]["uid"]
    about = {"kind": "Pod", "namespace": NAMESPACE, "uid": uid}
    return project_pod_event(
        {"involvedObject": about, "reason": reason, "message": message, "lastTimestamp": at(seconds)}
    )


def observed(
    child: Job | None = None,
    *pods: Pod,
    events: tuple[JobEvent, ...] = (),
    pod_events: tuple[PodEvent, ...] = (),
    upstream: UpstreamView | None = None,
) -> Observed:
    """What the store would give, and the events about pods that were asked for."""
    return Observed(
        job=child.view() if child else None,
        pods=tuple(pod.view() for pod in pods),
        events=events,
        pod_events=pod_events,
        upstream=upstream,
    )


def said(outcome: str = "Complete", exit_code: int = 0, **fields: Any) -> dict[str, Any]:
    """A termination message."""
    base = {
        "contractVersion": 1,
        "outcome": outcome,
        "exitCode": exit_code,
        "message": "20 of 20 steps in 41 s.",
        "attempt": 1,
    }
    return {**base, **fields}
