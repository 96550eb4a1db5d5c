"""Nodes that only fall silent: the run says so, says how to free it, and goes on when that is done or its node is back.

On a cluster of its own: scheduler, Job controller, node lifecycle controller, taint eviction and pod garbage collector
are Kubernetes' own; the nodes are KWOK's.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from alignment_operator.api.crd import crd
from dev.simulated.cluster import SimulatedCluster, simulated_cluster
from dev.simulated.pods import ENDLESS
from tests.chaos.scripts import BASE, COMPLETE
from tests.integration.operator.conftest import Operator, condition

Json = dict[str, Any]
NAMESPACE = "team"
GRACE = 8  # Kubernetes' own default is 50 s
TOLERATED = 2  # and 300 s
SECONDS = 60.0
GONE, AWAY = "node-1", "node-2"  # for good, and for a while
UNREACHABLE = {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute"}
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[SimulatedCluster]:
    """Four nodes that send heartbeats, and AlignmentJobs."""
    with simulated_cluster(
        tmp_path / "cluster", nodes=4, pod_seconds=1, message=json.dumps(COMPLETE), node_grace=GRACE
    ) as running:
        running.apply(crd(), {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        running.wait("AlignmentJobs", lambda: running.kubectl("get", "alignmentjobs", check=False).returncode == 0)
        yield running


@pytest.fixture
def replica(cluster: SimulatedCluster, tmp_path: Path) -> Iterator[Operator]:
    one = Operator(cluster.kubeconfig, NAMESPACE, tmp_path / "operator.log").start()
    yield one
    one.end()


class Run:
    """A job whose first pod goes to that node, and trains on whichever until it is told to end."""

    def __init__(self, cluster: SimulatedCluster, name: str, node: str) -> None:
        self._cluster, self.name, self.node = cluster, name, node
        there = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
        affinity = {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference": there}]}
        spec = {"affinity": {"nodeAffinity": affinity}, "tolerations": [UNREACHABLE | {"tolerationSeconds": TOLERATED}]}
        template = {"metadata": {"annotations": {ENDLESS: "true"}}, "spec": spec}
        manifest = {"apiVersion": "alignment-operator.io/v1alpha1", "kind": "AlignmentJob"}
        metadata = {"namespace": NAMESPACE, "name": name}
        cluster.apply(manifest | {"metadata": metadata, "spec": BASE | {"podTemplate": template}})

    def get(self) -> Json:
        return self._read("alignmentjob", self.name)

    def pods(self) -> list[Json]:
        found: list[Json] = self._read("pods", f"-l=alignment-operator.io/job={self.name}")["items"]
        return found

    def until(self, what: str, told: Callable[[Json], bool]) -> Json:
        """Wait for the AlignmentJob to say that; returns it."""
        deadline = time.monotonic() + SECONDS
        while not told(job := self.get()):
            assert time.monotonic() < deadline, f"{self.name}: not {what} in {SECONDS:.0f} s: {job.get('status')}"
            time.sleep(0.2)
        return job

    def until_phase(self, phase: str) -> Json:
        return self.until(phase, lambda job: job.get("status", {}).get("phase") == phase)

    def until_evicted(self) -> Json:
        """Wait until Kubernetes has asked for the end of the first pod; returns it."""
        deadline = time.monotonic() + SECONDS
        while "deletionTimestamp" not in (pod := self.pods()[0])["metadata"]:
            assert time.monotonic() < deadline, "the node's pods are not evicted"
            time.sleep(0.2)
        return pod

    def end(self) -> None:
        """Let the live pod succeed."""
        (pod,) = (pod for pod in self.pods() if "deletionTimestamp" not in pod["metadata"])
        self._cluster.kubectl("annotate", "pod", pod["metadata"]["name"], f"-n={NAMESPACE}", f"{ENDLESS}-")

    def _read(self, *what: str) -> Json:
        answer: Json = json.loads(self._cluster.kubectl("get", *what, f"-n={NAMESPACE}", "-o=json").stdout)
        return answer


def lost(job: Json) -> bool:
    return condition(job, "Ready").get("reason") == "NodeLost"


def unknown_since(cluster: SimulatedCluster, node: str) -> datetime:
    """Wait until Kubernetes has given the node up; returns when."""
    cluster.kubectl("wait", f"node/{node}", "--for=condition=Ready=Unknown", f"--timeout={SECONDS:.0f}s")
    return since(json.loads(cluster.kubectl("get", "node", node, "-o=json").stdout), "Ready")


def since(obj: Json, kind: str) -> datetime:
    return datetime.fromisoformat(condition(obj, kind)["lastTransitionTime"])


def test_a_silent_node_is_told_with_its_cure_and_the_run_goes_on_elsewhere_or_when_the_node_is_back(
    cluster: SimulatedCluster, replica: Operator
) -> None:
    runs = [Run(cluster, "gone", GONE), Run(cluster, "away", AWAY)]
    for run in runs:
        run.until_phase("Running")
        assert run.pods()[0]["spec"]["nodeName"] == run.node
    for run in runs:
        cluster.silence(run.node)

    for run in runs:
        given_up = unknown_since(cluster, run.node)
        job = run.until("NodeLost", lost)
        assert (since(job, "Ready") - given_up).total_seconds() <= 30
        ready, failure = condition(job, "Ready"), job["status"]["failure"]
        assert ready["status"] == "False"
        assert f"Node {run.node} does not answer" in ready["message"]
        assert "node.kubernetes.io/out-of-service" in ready["message"]
        assert (failure["class"], failure["retryable"]) == ("NodeLost", True)
        run.until_evicted()
        assert lost(run.get())

    gone = runs[0]
    stuck = gone.until_evicted()["metadata"]
    cluster.kubectl("delete", "pod", stuck["name"], f"-n={NAMESPACE}", "--force", "--grace-period=0", "--wait=false")
    time.sleep(3)  # for the Job controller to free the pod, if forcing did that
    (still,) = gone.pods()
    assert still["metadata"]["uid"] == stuck["uid"], "docs/failures.md says that forcing frees nothing"
    assert lost(gone.get())
    cluster.kubectl("taint", "node", GONE, OUT_OF_SERVICE)
    cluster.wake(AWAY)
    for run in runs:
        run.until("Running again", lambda job: job["status"]["phase"] == "Running" and not lost(job))
        run.end()
        done = run.until_phase("Complete")
        assert condition(done, "Complete")["status"] == "True"
        assert "failure" not in done["status"]
        assert done["status"]["run"] == 1
