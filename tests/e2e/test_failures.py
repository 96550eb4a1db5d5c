"""What goes wrong on a real cluster ends in the right class, reason and message, with no useless retry."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.e2e.conftest import claim
from tests.e2e.kube import Job, items, kubectl


@pytest.mark.parametrize(
    ("name", "changes", "failure_class", "exit_code", "words"),
    [
        pytest.param(
            "bad-columns", {"dataset": {"datasetName": "/cache/bad"}}, "DataError", 65, "chosen", id="bad-dataset"
        ),
        pytest.param(
            "no-dataset",
            {"dataset": {"datasetName": "/cache/nothing"}},
            "ModelUnavailable",
            66,
            "spec.dataset.datasetName",
            id="missing-dataset",
        ),
        pytest.param(
            "no-model",
            {"model": {"modelNameOrPath": "/cache/nothing"}},
            "ModelUnavailable",
            66,
            "spec.model.modelNameOrPath",
            id="missing-model",
        ),
        pytest.param(
            "no-module",
            {"model": {"loraTargetModules": ["no_such_layer", "nor_this_one"]}},
            "UserError",
            78,
            "loraTargetModules",
            id="lora-modules-that-the-model-lacks",
        ),
    ],
)
def test_a_users_mistake_fails_once_and_names_the_field(
    apply: Callable[..., Job], name: str, changes: dict[str, Any], failure_class: str, exit_code: int, words: str
) -> None:
    job = apply(name, **changes)
    status = job.failed()
    failure = status["failure"]
    assert (failure["class"], failure["exitCode"], failure["retryable"]) == (failure_class, exit_code, False)
    assert words in failure["message"] + failure["cure"]
    assert len(job.pods()) == 1, "a mistake is not tried again"
    conditions = {c["type"]: c for c in status["conditions"]}
    assert conditions["Failed"]["status"] == conditions["Stalled"]["status"] == "True"
    assert conditions["Failed"]["reason"] == failure_class
    assert conditions["Ready"]["status"] == "False"


def test_host_out_of_memory_is_told_apart_from_other_kills(apply: Callable[..., Job]) -> None:
    job = apply("host-oom", backoffLimit=0, resources={"limits": {"memory": "160Mi"}, "requests": {"memory": "64Mi"}})
    failure = job.failed()["failure"]
    assert failure["class"] == "HostOutOfMemory"
    assert "spec.resources" in failure["cure"]


def told_in_time(job: Job, reason: str) -> dict[str, Any]:
    """The status that says so, at most 30 s after Kubernetes has first warned: how long that takes is not our doing."""
    status = job.wait(reason, lambda s: reason in [c.get("reason") for c in s.get("conditions", [])], timeout=120)
    told = min(c["lastTransitionTime"] for c in status["conditions"] if c["reason"] == reason)
    begun = job.object()["metadata"]["creationTimestamp"]
    warnings = [e for e in items("events", job.namespace) if e["type"] == "Warning" and of_children(e, job)]
    warned = min(at for event in warnings if (at := event["metadata"]["creationTimestamp"]) >= begun)
    assert datetime.fromisoformat(told) - datetime.fromisoformat(warned) <= timedelta(seconds=30)
    return status


def of_children(event: dict[str, Any], job: Job) -> bool:
    about = event["involvedObject"]
    return about["kind"] in ("Job", "Pod") and str(about["name"]).startswith(f"{job.name}-r1")


@pytest.mark.parametrize(
    ("name", "changes", "reason", "words"),
    [
        pytest.param(
            "no-image",
            {"image": "localhost:5000/nothing:here"},
            "ImagePull",
            "spec.image",
            id="image-that-does-not-exist",
        ),
        pytest.param(
            "no-gpu", {"gpusPerNode": 64, "training": {"bf16": None}}, "Unschedulable", "gpu", id="unschedulable"
        ),
    ],
)
def test_a_job_that_cannot_start_says_why_within_30_seconds(
    apply: Callable[..., Job], name: str, changes: dict[str, Any], reason: str, words: str
) -> None:
    job = apply(name, **changes)
    status = told_in_time(job, reason)
    ready = next(c for c in status["conditions"] if c["type"] == "Ready")
    assert ready["status"] == "False"
    assert words in ready["message"].lower() or words in ready["message"]
    assert status["phase"] not in ("Failed", "Complete")


def test_a_quota_that_refuses_the_pod_is_told_and_heals(apply: Callable[..., Job], workspace: str) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "tight"},
        "spec": {"hard": {"limits.memory": "1Mi"}},
    }
    kubectl("apply", "-f", "-", namespace=workspace, stdin=quota)
    try:
        job = apply("over-quota", training={"maxSteps": 2})
        status = told_in_time(job, "PodRefused")
        assert "exceeded quota" in json.dumps(status["conditions"])
    finally:
        kubectl("delete", "resourcequota", "tight", namespace=workspace)
    job.complete(timeout=300)


def test_a_volume_that_cannot_be_mounted_is_told_within_30_seconds_and_heals(
    apply: Callable[..., Job], workspace: str
) -> None:
    keys = {"name": "keys", "secret": {"secretName": "comes-later"}}
    mount = {"name": "trainer", "volumeMounts": [{"name": "keys", "mountPath": "/keys"}]}
    job = apply("no-secret", podTemplate={"spec": {"volumes": [keys], "containers": [mount]}})
    status = told_in_time(job, "VolumeNotMounted")
    assert "comes-later" in status["failure"]["message"]
    assert "Create that Secret" in status["failure"]["cure"]
    kubectl("create", "secret", "generic", "comes-later", "--from-literal=a=b", namespace=workspace)
    job.complete(timeout=300)  # the kubelet tries again every two minutes at least


def test_a_claim_whose_storage_is_gone_is_told_within_30_seconds(apply: Callable[..., Job], workspace: str) -> None:
    anywhere = {"key": "kubernetes.io/hostname", "operator": "Exists"}
    gone = f"gone-{time.time_ns()}"
    volume = {
        "storageClassName": "",
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "claimRef": {"namespace": workspace, "name": gone},
        "local": {"path": "/no/such/disk"},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [anywhere]}]}},
    }
    name = f"{workspace}-{gone}"
    kubectl("apply", "-f", "-", stdin={**claim(name), "kind": "PersistentVolume", "spec": volume})
    try:
        spec = claim(gone)["spec"] | {"storageClassName": "", "volumeName": name}
        spec["resources"] = {"requests": {"storage": "1Gi"}}
        kubectl("apply", "-f", "-", namespace=workspace, stdin={**claim(gone), "spec": spec})
        kubectl("wait", "--for=jsonpath={.status.phase}=Bound", f"pvc/{gone}", "--timeout=60s", namespace=workspace)
        job = apply("no-disk", output={"volume": {"persistentVolumeClaim": {"claimName": gone}}})
        status = told_in_time(job, "VolumeNotMounted")
        assert "/no/such/disk" in status["failure"]["message"]
        assert "spec.output.volume" in status["failure"]["cure"]
        job.delete()
    finally:
        kubectl("delete", "pvc", gone, "--ignore-not-found", "--wait=false", namespace=workspace)
        kubectl("delete", "persistentvolume", name, "--wait=false")


def test_a_manifest_with_a_conflict_is_refused_at_apply(workspace: str, apply: Callable[..., Job]) -> None:
    with pytest.raises(AssertionError, match=r"spec.*(loadIn4bit|loadIn8bit)"):
        apply("both-bits", model={"loadIn4bit": True, "loadIn8bit": True})
