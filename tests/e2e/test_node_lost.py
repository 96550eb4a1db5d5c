"""A node that is gone: the run says so, says how to free it, and goes on when that is done.

The node is an object that nobody stands behind; scheduler, node lifecycle controller and pod garbage collector are
real. The test says once that the node is well and that its pod runs, as its kubelet would have, and then is silent.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import claim
from tests.e2e.failure_cases import SMALL
from tests.e2e.kube import Job, kubectl

UNREACHABLE = {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute"}
TAINT = {"key": "tests/gone", "value": "yes", "effect": "NoSchedule"}
TOLD_SECONDS = 30 + 1 + 10  # Kubernetes' slack, the pod's grace, and what a busy machine needs


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _true(*kinds: str) -> list[dict[str, str]]:
    return [{"type": kind, "status": "True", "lastTransitionTime": _now()} for kind in kinds]


def _says(kind: str, name: str, status: dict[str, Any], namespace: str | None = None) -> None:
    """Write a status as the kubelet does."""
    patch = json.dumps({"status": status})
    kubectl("patch", kind, name, "--subresource=status", "--type=strategic", "-p", patch, namespace=namespace)


@pytest.fixture
def node() -> Iterator[str]:
    """A node with room that only those who tolerate it are given."""
    name = f"gone-{time.time_ns()}"
    metadata = {"name": name, "labels": {"kubernetes.io/hostname": name, "tests/gone": "yes"}}
    kubectl(
        "create",
        "-f",
        "-",
        stdin={"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": {"taints": [TAINT]}},
    )
    room = {"cpu": "8", "memory": "32Gi", "pods": "10"}
    ready = [{**condition, "lastHeartbeatTime": _now(), "reason": "KubeletReady"} for condition in _true("Ready")]
    _says("node", name, {"capacity": room, "allocatable": room, "conditions": ready})
    deadline = time.monotonic() + 30
    while len(json.loads(kubectl("get", "node", name, "-o", "json"))["spec"]["taints"]) > 1:
        assert time.monotonic() < deadline, "the node controller does not take not-ready from the node"
        time.sleep(0.5)
    yield name
    kubectl("delete", "node", name, "--ignore-not-found", "--wait=false")


@pytest.fixture
def anywhere(workspace: str, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Claims `output` and `models` that no node is bound to: folders of this machine."""
    volume = json.loads(kubectl("get", "pvc", "models", "-o", "json", namespace=workspace))["spec"]["volumeName"]
    models = json.loads(kubectl("get", "persistentvolume", volume, "-o", "json"))["spec"]
    tmp_path.chmod(0o777)
    folders = {"output": str(tmp_path), "models": (models.get("hostPath") or models["local"])["path"]}
    names = {kind: f"{kind}-{time.time_ns()}" for kind in folders}
    for kind, folder in folders.items():
        spec = claim(names[kind])["spec"] | {"storageClassName": "", "volumeName": names[kind]}
        reference = {"namespace": workspace, "name": names[kind]}
        volume_spec = {"storageClassName": "", "capacity": spec["resources"]["requests"], "claimRef": reference}
        volume_spec |= {"accessModes": spec["accessModes"], "hostPath": {"path": folder}}
        kubectl("create", "-f", "-", stdin={**claim(names[kind]), "kind": "PersistentVolume", "spec": volume_spec})
        kubectl("create", "-f", "-", namespace=workspace, stdin={**claim(names[kind]), "spec": spec})
    yield names
    for name in names.values():
        kubectl("delete", "pvc", name, "--wait=false", namespace=workspace)
        kubectl("delete", "persistentvolume", name, "--wait=false")


def _on(node: str, claims: dict[str, str], *tolerations: dict[str, Any]) -> dict[str, Any]:
    """Changes for a job that goes to this node while there is one."""
    gone = {"matchExpressions": [{"key": "tests/gone", "operator": "Exists"}]}
    affinity = {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference": gone}]}
    tolerated = {"key": TAINT["key"], "operator": "Exists"}
    return {
        "podTemplate": {"spec": {"affinity": {"nodeAffinity": affinity}, "tolerations": [tolerated, *tolerations]}},
        "output": {"volume": {"persistentVolumeClaim": {"claimName": claims["output"]}}},
        "cache": {"volume": {"persistentVolumeClaim": {"claimName": claims["models"]}}},
        "terminationGracePeriodSeconds": 1,
        "resources": SMALL,
    }


@pytest.mark.slow
def test_a_lost_node_is_told_with_its_cure_and_the_run_goes_on_elsewhere(
    apply: Callable[..., Job], node: str, anywhere: dict[str, str]
) -> None:
    job = apply("lost", **_on(node, anywhere))
    name = _runs_there(job, node)
    deleted = time.monotonic()
    kubectl("delete", "pod", name, "--wait=false", namespace=job.namespace)
    status = job.wait("NodeLost", _lost, timeout=90)
    assert time.monotonic() - deleted < TOLD_SECONDS
    _tells_the_cure(status, node)

    # what the message says; Kubernetes takes it up once it has itself given the node up
    kubectl("wait", f"node/{node}", "--for=condition=Ready=Unknown", "--timeout=120s", timeout=130)
    _goes_on_elsewhere(job, node)


@pytest.mark.slow
def test_a_node_that_only_falls_silent_is_told_as_soon_as_kubernetes_knows_and_the_run_goes_on_elsewhere(
    apply: Callable[..., Job], node: str, anywhere: dict[str, str]
) -> None:
    """Nobody deletes the pod but Kubernetes, when it has tolerated the node's silence for long enough."""
    job = apply("silent", **_on(node, anywhere, UNREACHABLE | {"tolerationSeconds": 5}))
    name = _runs_there(job, node)
    kubectl("wait", f"node/{node}", "--for=condition=Ready=Unknown", "--timeout=120s", timeout=130)
    known = time.monotonic()
    _tells_the_cure(job.wait("NodeLost", _lost, timeout=60), node)
    assert time.monotonic() - known < 30
    job.wait("an evicted pod", lambda _: "deletionTimestamp" in job.pods()[0]["metadata"], timeout=60)

    # which alone frees nothing: the Job waits for the pod's end, and holds it by a finalizer
    kubectl("delete", "pod", name, "--force", "--grace-period=0", "--wait=false", namespace=job.namespace)
    time.sleep(5)
    assert [pod["metadata"]["name"] for pod in job.pods()] == [name]
    assert _lost(job.status())
    _goes_on_elsewhere(job, node)


def _runs_there(job: Job, node: str) -> str:
    """Wait for the job's pod on the node, and say that it runs, as a kubelet would; returns its name."""
    job.wait("a pod there", lambda _: any(pod["spec"].get("nodeName") == node for pod in job.pods()), timeout=30)
    [pod] = job.pods()
    name: str = pod["metadata"]["name"]
    container = {"name": "trainer", "image": "i", "imageID": "i", "ready": True, "restartCount": 0}
    container["state"] = {"running": {"startedAt": _now()}}
    running = {"phase": "Running", "conditions": _true("Ready", "ContainersReady"), "containerStatuses": [container]}
    _says("pod", name, running, job.namespace)
    job.wait("a running pod", lambda s: s.get("phase") == "Running", timeout=30)
    return name


def _lost(status: dict[str, Any]) -> bool:
    return bool(status.get("failure", {}).get("class") == "NodeLost")


def _tells_the_cure(status: dict[str, Any], node: str) -> None:
    ready = next(c for c in status["conditions"] if c["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "NodeLost")
    assert f"Node {node} does not answer" in ready["message"]
    assert "node.kubernetes.io/out-of-service" in ready["message"]


def _goes_on_elsewhere(job: Job, node: str) -> None:
    """Once somebody has said that the node is gone for good."""
    kubectl("taint", "node", node, "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute")
    result = job.complete(timeout=240)["result"]
    assert result["step"] == 6
    assert [pod["spec"]["nodeName"] for pod in job.pods()] == ["local"]
