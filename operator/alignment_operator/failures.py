"""The one table of failure classes: which exit or signal means what, whether it is retried, and the user's cure.

`docs/contract/failures.json` is the same table for the trainer and for people; a test holds the two together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from .api.constants import CONTAINER
from .observed import PodView

Retry = Literal["never", "counted", "free"]


@dataclass(frozen=True, slots=True)
class FailureClass:
    """`retry`: never; counted against backoffLimit; or free. `cure` is a sentence that names the field to change."""

    name: str
    retry: Retry
    cure: str
    what: str = ""

    @property
    def retryable(self) -> bool:
        """Kubernetes starts another attempt by itself, as long as backoffLimit allows."""
        return self.retry != "never"


CLASSES: dict[str, FailureClass] = {
    c.name: c
    for c in (
        FailureClass(
            "UserError",
            "never",
            "Correct the field that the message names, and change spec.rerun to start again.",
            "the recipe, the attention or the quantization is impossible here",
        ),
        FailureClass(
            "DataError",
            "never",
            "Correct the dataset or spec.dataset, and change spec.rerun to start again.",
            "the dataset does not fit the method",
        ),
        FailureClass(
            "ModelUnavailable",
            "never",
            "Check spec.model.modelNameOrPath, spec.model.modelRevision and spec.dataset.datasetName; "
            "then change spec.rerun.",
            "a model or dataset was not found",
        ),
        FailureClass(
            "AccessDenied",
            "never",
            "Name a Secret with a token that may read the model and dataset in spec.hub.secretName; "
            "then change spec.rerun.",
            "the hub refused access",
        ),
        FailureClass(
            "GpuOutOfMemory",
            "never",
            "Lower spec.training.perDeviceTrainBatchSize or the method's maxLength, or set "
            "spec.training.gradientCheckpointing; then change spec.rerun.",
            "a GPU ran out of memory",
        ),
        FailureClass(
            "Diverged",
            "never",
            "Lower spec.training.learningRate, or train with spec.training.bf16 instead of fp16; "
            "then change spec.rerun.",
            "the loss or a gradient became NaN or infinite",
        ),
        FailureClass(
            "NoProgress",
            "never",
            "Look at the attempts' logs; lower spec.training.saveSteps so that an attempt reaches a checkpoint, "
            "and change spec.rerun.",
            "attempt after attempt ended without a new checkpoint",
        ),
        FailureClass(
            "Infrastructure",
            "counted",
            "Look at the node, its GPUs and its network; raise spec.backoffLimit for more attempts, "
            "or change spec.rerun.",
            "the hub, the network, the node or a GPU failed",
        ),
        FailureClass(
            "Internal",
            "counted",
            "Look at the pod's log; raise spec.backoffLimit for more attempts, or change spec.rerun.",
            "the trainer ended with an error that it does not know",
        ),
        FailureClass(
            "StorageError",
            "counted",
            "Free or enlarge the volume of spec.output.volume, or lower spec.training.saveTotalLimit.",
            "the disk is full or a checkpoint could not be written",
        ),
        FailureClass(
            "Hung",
            "counted",
            "Look at the stack dump in the pod's log; raise spec.hangTimeoutSeconds if a step really takes so long.",
            "no step was made for spec.hangTimeoutSeconds",
        ),
        FailureClass(
            "HostOutOfMemory",
            "counted",
            "Raise spec.resources.limits.memory, or lower spec.training.dataloaderNumWorkers.",
            "the container used more host memory than its limit",
        ),
        FailureClass(
            "Killed",
            "counted",
            "Raise spec.terminationGracePeriodSeconds if the pod was being stopped: a checkpoint must fit into it.",
            "the container was killed from outside, or after its grace period",
        ),
        FailureClass(
            "Preempted",
            "free",
            "Nothing: the run resumes from its last checkpoint.",
            "the pod was stopped to make room, or a peer of it failed",
        ),
        FailureClass(
            "Deadline",
            "never",
            "Raise spec.activeDeadlineSeconds, and change spec.rerun to start again.",
            "the run took longer than spec.activeDeadlineSeconds",
        ),
    )
}

EXIT_CODES: dict[int, str] = {
    78: "UserError",
    65: "DataError",
    66: "ModelUnavailable",
    77: "AccessDenied",
    80: "GpuOutOfMemory",
    81: "Diverged",
    82: "NoProgress",
    69: "Infrastructure",
    70: "Internal",
    1: "Internal",
    71: "Infrastructure",
    134: "Infrastructure",
    139: "Infrastructure",
    74: "StorageError",
    83: "Hung",
    137: "Killed",
    75: "Preempted",
    143: "Preempted",
}

WAITING: tuple[str, ...] = ("Unschedulable", "VolumeNotMounted", "ImagePull", "PodRefused", "NodeLost")


def classify_exit(exit_code: int, reason: str = "") -> FailureClass:
    """Exit code and container reason -> class. 137 alone cannot tell the kernel's OOM killer from another SIGKILL."""
    if exit_code == 137 and reason == "OOMKilled":
        return CLASSES["HostOutOfMemory"]
    return CLASSES[EXIT_CODES.get(exit_code, "Internal")]


def classify_pod(pod: PodView) -> FailureClass:
    """A failed pod -> class. DisruptionTarget wins, as it does in the Job's podFailurePolicy."""
    if pod.disrupted:
        return CLASSES["Preempted"]
    if pod.terminated:
        return classify_exit(pod.terminated.exit_code, pod.terminated.reason)
    if pod.reason == "Evicted":  # by the kubelet for a limit of the pod's own (an emptyDir's size): no disruption
        return CLASSES["StorageError"]
    # refused by the kubelet (UnexpectedAdmissionError, OutOfcpu), or the node went away before the container started
    return CLASSES["Infrastructure"]


def pod_failure_policy() -> dict[str, Any]:
    """`spec.podFailurePolicy` of the Job: the first matching rule wins, what matches none counts."""
    return {
        "rules": [
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            _rule("FailJob", "never"),
            _rule("Ignore", "free"),
        ]
    }


def _rule(action: str, retry: Retry) -> dict[str, Any]:
    codes = sorted(code for code, name in EXIT_CODES.items() if CLASSES[name].retry == retry)
    return {"action": action, "onExitCodes": {"containerName": CONTAINER, "operator": "In", "values": codes}}
