"""Why a run that may run does not: what Kubernetes says about its pods, with the cure. Waiting is no failure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from .api.constants import Reason
from .settings import Settings
from .views import JobEvent, JobView, Observed, PodEvent, PodView

MOUNT_GRACE = timedelta(seconds=20)  # a volume that has to be attached first takes its time
# No watch brings what the kubelet says about volumes. Most of it comes at once, and a server that hangs after minutes.
MOUNT_CHECK = timedelta(seconds=10)
LONG_WAIT, LONG_WAIT_CHECK = timedelta(minutes=1), timedelta(seconds=30)
NODE_SLACK = timedelta(seconds=30)  # beyond its grace, before a pod that does not end means a lost node
IMAGE_REASONS = {
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
    "RegistryUnavailable",
    "SignatureValidationFailed",
}
PULL_CURE = "Check spec.image, and the registry's Secret in spec.podTemplate.spec.imagePullSecrets."
# Not to force the pod's deletion: the Job keeps its finalizer on the pod until that has failed, and so the pod.
NODE_CURE = (
    "The run goes on when the node is back. If it is gone for good, delete its Node object or taint it "
    "node.kubernetes.io/out-of-service; the run then resumes on another node."
)
# (part of the message, cure); the first that is found
REFUSED_CURES = (
    ("exceeded quota", "Lower spec.resources, spec.gpusPerNode or spec.nodes, or have the namespace's quota raised."),
    ("must specify", "The namespace's quota needs them: set spec.resources.requests and spec.resources.limits."),
    ("violates PodSecurity", "Take out of spec.podTemplate what the namespace's Pod Security level forbids."),
    ("serviceaccount", "Create that ServiceAccount, or correct spec.podTemplate.spec.serviceAccountName."),
    ("PriorityClass", "Correct spec.priorityClassName."),
    ("RuntimeClass", "Correct spec.podTemplate.spec.runtimeClassName."),
    ("LimitRange", "Change spec.resources to fit the namespace's LimitRange."),
    ("usage per", "Change spec.resources to fit the namespace's LimitRange."),
)
CONTAINER_CURES = (
    ("secret", "Create that Secret, or correct spec.hub.secretName, spec.output.push.secretName or spec.podTemplate."),
    ("configmap", "Create that ConfigMap, or correct spec.podTemplate."),
    ("runAsNonRoot", "Set spec.podTemplate.spec.securityContext.runAsUser, or use an image that does not run as root."),
)
MOUNT_REASONS = {"FailedMount", "FailedAttachVolume", "FailedMapVolume"}
# The kubelet's summary after two minutes, which names no cause
MOUNT_SUMMARY = "Unable to attach or mount volumes"
MOUNT_REPEATS = timedelta(seconds=150)  # the kubelet tries each volume again every two minutes at least
MOUNT_CURES = (
    (
        "multi-attach",
        "Another node still has the volume: end the pod there, or give spec.output.volume a shared claim.",
    ),
    ("csi driver", "Install the volume's CSI driver on the nodes, or use a claim of another StorageClass."),
    ("secret ", "Create that Secret, or correct spec.podTemplate.spec.volumes."),
    ("configmap ", "Create that ConfigMap, or correct spec.podTemplate.spec.volumes."),
)
SCHEDULER_CURES = (
    ("persistentvolumeclaim", "Create that claim, or correct spec.output.volume or spec.cache.volume."),
    (
        "unbound immediate",
        "The claim of spec.output.volume or spec.cache.volume is not bound: look at its StorageClass.",
    ),
    (
        "volume node affinity",
        "The volume lies on another node: use one that several nodes reach in spec.output.volume.",
    ),
    ("resourceclaim", "Create that ResourceClaim, or correct spec.podTemplate.spec.resourceClaims."),
)


@dataclass(frozen=True, slots=True)
class Obstacle:
    """`reason` and `message` of the condition; `cure` names the field to change."""

    reason: str
    message: str
    cure: str


def find(observed: Observed, nodes: int, now: datetime, settings: Settings) -> tuple[Obstacle | None, float | None]:
    """The obstacle that comes first in the life of a pod, and in how many seconds time alone may bring one."""
    job = observed.job
    if job is None or job.suspended:
        return None, None
    live = [pod for pod in observed.own_pods if not pod.ended]
    found = [*_lost(live, now), *_refused(job, live, observed.events, nodes), *_waiting(live)]
    late = timedelta(seconds=settings.unschedulable_seconds)
    unscheduled = [pod for pod in live if not pod.scheduled[0] and pod.scheduled[1] == "Unschedulable" and pod.created]
    found += [_unschedulable(pod) for pod in unscheduled if _since(pod.created, now) >= late]
    mounting = [pod for pod in live if pod.unmounted_since]
    found += [obstacle for pod in mounting for obstacle in _unmounted(pod, observed.pod_events)]
    soon = [(late - _since(pod.created, now)).total_seconds() for pod in unscheduled if _since(pod.created, now) < late]
    soon += [(pod.gone_at + NODE_SLACK - now).total_seconds() for pod in live if pod.gone_at]
    soon += [_next_mount_check(pod, now).total_seconds() for pod in mounting]
    return (found[0] if found else None), min((max(s, 1.0) for s in soon if s > -1), default=None)


def awaiting_volumes(observed: Observed, now: datetime) -> list[PodView]:
    """The pods that have waited for their volumes for so long that it is worth asking why. Mostly none."""
    job = observed.job
    if job is None or job.suspended or job.condition("Complete") or job.condition("Failed"):
        return []
    pods = [pod for pod in observed.own_pods if pod.unmounted_since and not pod.deleting_since]
    return [pod for pod in pods if _since(pod.unmounted_since, now) >= MOUNT_GRACE]


def _next_mount_check(pod: PodView, now: datetime) -> timedelta:
    waited = _since(pod.unmounted_since, now)
    if waited < MOUNT_GRACE:
        return MOUNT_GRACE - waited
    return MOUNT_CHECK if waited < LONG_WAIT else LONG_WAIT_CHECK


def _since(time: datetime | None, now: datetime) -> timedelta:
    return now - time if time else timedelta()


def _lost(live: list[PodView], now: datetime) -> Iterator[Obstacle]:
    for pod in live:
        overdue = pod.gone_at is not None and pod.node is not None and now >= pod.gone_at + NODE_SLACK
        if pod.node_lost or overdue:
            state = "its pod cannot be removed" if overdue else "nothing is known of its pod"
            yield Obstacle(Reason.NODE_LOST, f"Node {pod.node} does not answer; {state} ({pod.name}).", NODE_CURE)


def _refused(job: JobView, live: list[PodView], events: tuple[JobEvent, ...], nodes: int) -> Iterator[Obstacle]:
    """FailedCreate is news only while pods are missing, and newer than the last one that was made."""
    if len(live) >= nodes or job.succeeded >= nodes:
        return
    made = max((pod.created for pod in live if pod.created), default=job.start_time or job.creation)
    last = max((e for e in events if e.time), key=lambda e: e.time or datetime.min, default=None)
    if last and last.time and (made is None or last.time >= made):
        message = last.message.removeprefix("Error creating: ")
        cure = _cure(message, REFUSED_CURES, "Correct what the message names in spec.podTemplate.")
        yield Obstacle(Reason.POD_REFUSED, f"The API server refuses the pod: {message}", cure)


def _waiting(live: list[PodView]) -> Iterator[Obstacle]:
    for pod in live:
        if pod.waiting is None:
            continue
        reason, message = pod.waiting
        text = f"{reason} in pod {pod.name}" + (f": {message}" if message else "")
        if reason in IMAGE_REASONS:
            yield Obstacle(Reason.IMAGE_PULL, text, PULL_CURE)
        elif reason.endswith("Error"):  # CreateContainerConfigError, RunContainerError, ...
            cure = _cure(message, CONTAINER_CURES, "Correct what the message names in spec.podTemplate.")
            yield Obstacle(Reason.POD_REFUSED, text, cure)


def _unmounted(pod: PodView, events: tuple[PodEvent, ...]) -> Iterator[Obstacle]:
    """The same of several causes each time: they are told in turn, and a changing status would be written each time."""
    told = {e.message: e.time for e in events if e.pod_uid == pod.uid and e.reason in MOUNT_REASONS and e.time}
    causes = {m: time for m, time in told.items() if not m.startswith(MOUNT_SUMMARY)} or told
    if causes:
        message = min(m for m, time in causes.items() if max(causes.values()) - time < MOUNT_REPEATS)
        cure = _cure(
            message,
            MOUNT_CURES,
            "Look at the volume that the message names: spec.output.volume, spec.cache.volume or spec.podTemplate.",
        )
        yield Obstacle(Reason.VOLUME_NOT_MOUNTED, f"A volume of pod {pod.name} is not mounted: {message}", cure)


def _unschedulable(pod: PodView) -> Obstacle:
    cure = _cure(
        pod.scheduled[2],
        SCHEDULER_CURES,
        "Lower spec.gpusPerNode, spec.resources or spec.nodes, or set tolerations or nodeSelector in spec.podTemplate.",
    )
    return Obstacle(Reason.UNSCHEDULABLE, f"No node takes pod {pod.name}: {pod.scheduled[2]}", cure)


def _cure(message: str, cures: tuple[tuple[str, str], ...], otherwise: str) -> str:
    return next((cure for part, cure in cures if part.lower() in message.lower()), otherwise)
