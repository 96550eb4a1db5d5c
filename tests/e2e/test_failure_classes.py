"""Every failure class of the table, brought about on a real cluster: what a trainer's end becomes in status.

The jobs of the tests that were chosen run side by side: they mostly wait. `make failures` chooses all of them.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dev.cluster.layout import NODE_ADDRESS, NODE_NAME
from tests.e2e.conftest import claim, manifest
from tests.e2e.failure_cases import LONG, SMALL, Case, cases, fault
from tests.e2e.kube import Job, kubectl
from tests.e2e.queues import advertise
from tests.hub import Hub, Repository

CASES = cases("", "", "")


def _chosen(request: pytest.FixtureRequest) -> set[str]:
    """Names of the cases whose tests run in this session."""
    calls = (getattr(item, "callspec", None) for item in request.session.items)
    return {call.params["case"].name for call in calls if call and "case" in call.params}


@pytest.fixture(scope="module")
def faults(workspace: str) -> None:
    text = (Path(__file__).parent / "faults" / "sitecustomize.py").read_text()
    meta = {"name": "faults", "namespace": workspace}
    kubectl(
        "apply",
        "-f",
        "-",
        stdin={"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"sitecustomize.py": text}},
    )


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A model hub on the node's address, with a model that needs a token nobody has."""
    folder = tmp_path_factory.mktemp("gated")
    (folder / "config.json").write_text("{}")
    with Hub({"org/gated": Repository(folder, token="hf_secret")}, address=NODE_ADDRESS) as server:
        yield server.url


@pytest.fixture(scope="module")
def small_claim(workspace: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A claim on a file system of 1 MiB of its own."""
    folder, name = tmp_path_factory.mktemp("small"), f"small-{time.time_ns()}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=1777", "tmpfs", folder], check=True)
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE_NAME]}
    room = {"storage": "1Mi"}
    volume = {
        "storageClassName": "",
        "capacity": room,
        "accessModes": ["ReadWriteOnce"],
        "claimRef": {"namespace": workspace, "name": name},
        "local": {"path": str(folder)},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
    }
    kubectl("apply", "-f", "-", stdin={**claim(name), "kind": "PersistentVolume", "spec": volume})
    spec = claim(name)["spec"] | {"storageClassName": "", "volumeName": name, "resources": {"requests": room}}
    kubectl("apply", "-f", "-", namespace=workspace, stdin={**claim(name), "spec": spec})
    yield name
    subprocess.run(["umount", "-l", folder], check=True)  # first: whatever becomes of the cluster
    kubectl("delete", "pvc", name, "--wait=false", namespace=workspace)
    kubectl("delete", "persistentvolume", name, "--wait=false")


@pytest.fixture(scope="module")
def failing(
    request: pytest.FixtureRequest, workspace: str, faults: None, hub: str, small_claim: str
) -> Iterator[dict[str, Job]]:
    """The jobs of the chosen cases, all applied at once; one of them asks for a GPU."""
    advertise(4)
    chosen = _chosen(request)
    wanted = [case for case in cases(hub, f"http://{NODE_ADDRESS}:9", small_claim) if case.name in chosen]
    for case in wanted:
        kubectl("apply", "-f", "-", namespace=workspace, stdin=manifest(case.name, **case.changes))
    jobs = {case.name: Job(workspace, case.name) for case in wanted}
    yield jobs
    for job in jobs.values():
        job.delete()


@pytest.mark.parametrize(
    "case", [pytest.param(c, id=c.name, marks=[pytest.mark.slow] if c.slow else []) for c in CASES]
)
def test_a_run_that_fails_says_how_and_what_helps(failing: dict[str, Job], case: Case) -> None:
    job = failing[case.name]
    status = job.failed(timeout=420)
    failure, conditions = status["failure"], {c["type"]: c for c in status["conditions"]}
    assert (failure["class"], failure.get("exitCode"), failure["retryable"]) == case.failure
    assert case.words in f"{failure['message']} {failure['cure']}"
    assert conditions["Failed"]["reason"] == conditions["Ready"]["reason"] == case.failure[0]
    assert conditions["Stalled"]["status"] == "True"
    assert len(job.pods()) == case.pods, "as often as the table says, and no more"


@pytest.fixture
def start(faults: None, apply: Callable[..., Job]) -> Callable[..., Job]:
    """apply(), with the faults at hand."""
    return apply


@pytest.mark.slow
def test_a_run_that_does_not_fit_goes_down_the_ladder_when_that_is_asked_for(start: Callable[..., Job]) -> None:
    changes = fault("no-room-for-two", outOfMemoryLadder=True, training={"maxSteps": 6})
    result = start("ladder", **changes).complete(timeout=300)["result"]
    assert (result["step"], result["attempt"]) == (6, 2), "in the same pod, with half the micro-batch"


@pytest.mark.slow
def test_an_evicted_pod_costs_no_attempt(apply: Callable[..., Job]) -> None:
    job = apply("evicted", training=LONG, backoffLimit=0, resources=SMALL)
    job.wait("training", lambda s: s.get("progress", {}).get("step", 0) > 10)
    [pod] = job.pods()
    name = pod["metadata"]["name"]
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": job.namespace}}
    kubectl("create", "--raw", f"/api/v1/namespaces/{job.namespace}/pods/{name}/eviction", "-f", "-", stdin=eviction)
    status = job.wait("back-off", lambda s: s.get("failure", {}).get("class") == "Preempted", timeout=60)
    assert "resumes from the last checkpoint" in json.dumps(status["conditions"])
    again = job.wait("the next attempt", lambda s: s.get("progress", {}).get("resumedFromStep", 0) > 10, timeout=180)
    assert again["progress"]["attempt"] == 2
    assert again["progress"]["lostSteps"] <= 1
