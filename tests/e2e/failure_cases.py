"""One job for each way to fail that test_failures has not: what is asked for, and what status must say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

SMALL = {"requests": {"cpu": "300m", "memory": "300Mi"}, "limits": {"memory": "3Gi"}}
LONG = {"maxSteps": 3000, "saveSteps": 5000}
FAULTS = {"name": "faults", "configMap": {"name": "faults"}}
FULL = {"usePeft": None, "loraR": None, "loraTargetModules": None}


@dataclass(frozen=True)
class Case:
    """`failure`: class, exit code, retryable. `words`: in message and cure. `pods`: attempts that Kubernetes made."""

    name: str
    failure: tuple[str, int | None, bool]
    words: str
    changes: dict[str, Any] = field(default_factory=dict)
    pods: int = 1
    slow: bool = True


def with_env(**env: str) -> dict[str, Any]:
    """Changes: environment of the trainer, and the folder with the faults on its path."""
    variables = [{"name": name, "value": value} for name, value in env.items()]
    trainer = {"name": "trainer", "env": variables, "volumeMounts": [{"name": "faults", "mountPath": "/faults"}]}
    return {"podTemplate": {"spec": {"containers": [trainer], "volumes": [FAULTS]}}}


def fault(kind: str, **changes: Any) -> dict[str, Any]:
    """Changes: the worker fails like that, once (no attempt follows), however long it would have trained."""
    once = {"resources": SMALL, "training": LONG, "backoffLimit": 0}
    return with_env(PYTHONPATH="/faults", FAULT=kind) | once | changes


def cases(hub: str, gone_hub: str, small_claim: str) -> tuple[Case, ...]:
    """hub: URL of a model hub with the gated model org/gated. gone_hub: where none answers. small_claim: of 1 MiB."""
    once: dict[str, Any] = {"resources": SMALL, "backoffLimit": 0}
    on_small_disk = {"volume": {"persistentVolumeClaim": {"claimName": small_claim}}}
    on_gpu = {"gpusPerNode": 1, "training": {"bf16": False}}
    return (
        Case(
            "gated",
            ("AccessDenied", 77, False),
            "spec.hub.secretName",
            {"resources": SMALL, "model": {"modelNameOrPath": "org/gated"}, **with_env(HF_ENDPOINT=hub)},
            slow=False,
        ),
        Case(
            "nan",
            ("Diverged", 81, False),
            "spec.training.learningRate",
            {"resources": SMALL, "model": FULL, "training": {**LONG, "learningRate": 1e30}},
        ),
        Case("small-gpu", ("GpuOutOfMemory", 80, False), "cheapest change", fault("small-gpu", **on_gpu), slow=False),
        Case(
            "disk-full",
            ("StorageError", 74, True),
            "spec.output.volume",
            {**once, "model": FULL, "output": on_small_disk},
            slow=False,
        ),
        Case("segmentation-fault", ("Infrastructure", 139, True), "last of 1 failures", fault("SIGSEGV")),
        Case("abort", ("Infrastructure", 134, True), "last of 1 failures", fault("SIGABRT")),
        Case("killed", ("Killed", 137, True), "Something outside killed", fault("SIGKILL")),
        Case("bug", ("Internal", 70, True), "a bug of ours", fault("exception")),
        Case("gpu-out-of-memory", ("GpuOutOfMemory", 80, False), "CUDA out of memory", fault("out-of-memory")),
        Case("hangs", ("Hung", 83, True), "spec.hangTimeoutSeconds", fault("hang", hangTimeoutSeconds=60)),
        Case(
            "hub-down",
            ("Infrastructure", 69, True),
            "last of 1 failures",
            {**once, "model": {"modelNameOrPath": "org/model"}, **with_env(HF_ENDPOINT=gone_hub)},
        ),
        Case(
            "no-progress",
            ("NoProgress", 82, False),
            "2 attempts in a row ended without a new checkpoint",
            fault("SIGSEGV", backoffLimit=6),
            pods=3,
        ),
        Case(
            "deadline",
            ("Deadline", None, False),
            "spec.activeDeadlineSeconds (20 s)",
            {"resources": SMALL, "training": LONG, "activeDeadlineSeconds": 20},
            pods=0,
        ),
    )
