"""Kueue on the cluster, and one ClusterQueue of fake GPUs with its LocalQueue: what test_queues queues its jobs in."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dev.cluster.kueue import NAMESPACE_LABEL
from tests.e2e.conftest import OPERATOR_NAMESPACE, RELEASE, RESTRICTED
from tests.e2e.kube import ROOT, Job, items, kubectl

GPU = "nvidia.com/gpu"
QUEUE = "team"
SHELL = "localhost:5000/busybox:1"
API = "kueue.x-k8s.io/v1beta2"
SELECTOR = {"kubernetes.io/hostname": "local"}
TOLERATION = {"key": "accelerator", "operator": "Exists", "effect": "NoSchedule"}
PRIORITIES = {"low": 100, "normal": 200, "high": 300}
OPERATOR = f"system:serviceaccount:{OPERATOR_NAMESPACE}:{RELEASE}"


def install(gpus: int) -> None:
    """Kueue, and so many fake GPUs on the node."""
    _cluster("kueue")
    advertise(gpus)


def advertise(gpus: int) -> None:
    """So many fake GPUs on the node; no device is behind them."""
    _cluster("gpus", str(gpus))


def _cluster(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "dev.cluster", *arguments], cwd=ROOT, check=True, timeout=1800)


@dataclass(frozen=True)
class Quota:
    """One ClusterQueue; its objects without a namespace carry the namespace's name."""

    namespace: str
    gpus: int

    def priority(self, name: str) -> str:
        return f"{self.namespace}-{name}"

    def make(self) -> None:
        kubectl("label", "namespace", self.namespace, *(f"{k}={v}" for k, v in NAMESPACE_LABEL.items()), "--overwrite")
        for manifest in self._manifests():
            kubectl("apply", "-f", "-", stdin=manifest)
        self.local_queue(QUEUE)

    def remove(self) -> None:
        """The queue goes when its last workload has."""
        kubectl("label", "namespace", self.namespace, *(f"{label}-" for label in NAMESPACE_LABEL))
        names = [self.priority(name) for name in PRIORITIES]
        kubectl("delete", "workloadpriorityclass", *names, "--wait=false")
        kubectl("delete", "localqueue", "--all", "--wait=false", namespace=self.namespace)
        for kind in ("clusterqueue", "resourceflavor"):
            kubectl("delete", kind, self.namespace, "--wait=false")

    def local_queue(self, name: str) -> None:
        metadata = {"name": name, "namespace": self.namespace}
        spec = {"clusterQueue": self.namespace}
        kubectl("apply", "-f", "-", stdin={"apiVersion": API, "kind": "LocalQueue", "metadata": metadata, "spec": spec})

    def hold(self, held: bool) -> None:
        """Stop admitting, or go on."""
        policy = json.dumps({"spec": {"stopPolicy": "Hold" if held else "None"}})
        kubectl("patch", "clusterqueue", self.namespace, "--type=merge", "-p", policy)

    def _manifests(self) -> Iterable[dict[str, Any]]:
        metadata = {"name": self.namespace}
        quotas = {GPU: self.gpus, "cpu": 100, "memory": "1Ti"}  # only GPUs are scarce
        flavor = {"name": self.namespace, "resources": [{"name": n, "nominalQuota": q} for n, q in quotas.items()]}
        spec = {
            "namespaceSelector": {},
            "preemption": {"withinClusterQueue": "LowerPriority"},
            "resourceGroups": [{"coveredResources": list(quotas), "flavors": [flavor]}],
        }
        node = {"nodeLabels": SELECTOR, "tolerations": [TOLERATION]}
        yield {"apiVersion": API, "kind": "ResourceFlavor", "metadata": metadata, "spec": node}
        yield {"apiVersion": API, "kind": "ClusterQueue", "metadata": metadata, "spec": spec}
        for name, value in PRIORITIES.items():
            named = {"name": self.priority(name)}
            yield {"apiVersion": API, "kind": "WorkloadPriorityClass", "metadata": named, "value": value}


def sleeping(seconds: int, gpus: int = 1) -> dict[str, Any]:
    """Changes for a job that holds its GPUs for so long and ends well: an image that is no trainer."""
    wait = {"name": "wait", "image": SHELL, "command": ["sleep", str(seconds)], "securityContext": RESTRICTED}
    return {
        "queueName": QUEUE,
        "image": SHELL,  # a shell without input: it ends at once, after the init container
        "gpusPerNode": gpus,
        "training": {"bf16": None},
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
        "podTemplate": {"spec": {"initContainers": [wait]}},
        "terminationGracePeriodSeconds": 1,
    }


def training(gpus: int, **changes: Any) -> dict[str, Any]:
    """Changes for a job that really trains, on the CPU, and is counted as if it had GPUs.

    A pod requests what the greediest of its init containers does: this one takes the GPUs and ends.
    """
    resources = {"requests": {GPU: str(gpus)}, "limits": {GPU: str(gpus)}}
    counted = {"name": "count", "image": SHELL, "command": ["true"], "resources": resources}
    template = {"spec": {"initContainers": [{**counted, "securityContext": RESTRICTED}]}}
    return {"queueName": QUEUE, "podTemplate": template} | changes


def child(job: Job) -> dict[str, Any]:
    """The Job of the first run."""
    found: dict[str, Any] = json.loads(kubectl("get", "job", f"{job.name}-r1", "-o", "json", namespace=job.namespace))
    return found


def workload(job: Job) -> dict[str, Any]:
    """Kueue's Workload of the first run."""
    uid = child(job)["metadata"]["uid"]
    found = items("workloads.kueue.x-k8s.io", job.namespace)
    return next(w for w in found if any(o["uid"] == uid for o in w["metadata"]["ownerReferences"]))


def ran(job: Job) -> tuple[datetime, datetime]:
    """From when to when the first run's Job ran. (Kueue 0.15 deletes a Workload soon after its end.)"""
    status = child(job)["status"]
    return datetime.fromisoformat(status["startTime"]), datetime.fromisoformat(status["completionTime"])


def writes(job: Job, resource: str) -> list[str]:
    """Verbs of every write that the operator made to that Job, or its Workload, by the API server's audit log."""
    name = f"{job.name}-r1" if resource == "jobs" else workload(job)["metadata"]["name"]
    verbs = []
    with (ROOT / ".cluster/log/audit.log").open() as log:
        for line in log:
            if OPERATOR not in line or job.namespace not in line or name not in line:
                continue
            event = json.loads(line)
            about = event.get("objectRef", {})
            wrote = event["verb"] not in ("get", "list", "watch") and event["user"]["username"] == OPERATOR
            if wrote and (about.get("resource"), about.get("name")) == (resource, name):
                verbs.append(event["verb"])
    return verbs
