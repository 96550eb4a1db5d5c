"""The operator and Workloads on a real API server with Kueue's own CRD, and without it. The tests play Kueue."""

import asyncio
import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from alignment_operator.api.constants import GROUP
from alignment_operator.cluster import ApiError
from alignment_operator.resources import JOBS, WORKLOADS
from dev.cluster import kueue
from dev.cluster.layout import here
from tests.integration.apiserver import ApiServer
from tests.integration.operator.conftest import Operator, World, condition

RBAC = "rbac.authorization.k8s.io"
CRD = "customresourcedefinition/workloads.kueue.x-k8s.io"
NO_ROOM = "couldn't assign flavors to pod set main: insufficient unused quota for cpu in flavor small, 1 more needed"


@pytest.fixture(scope="module")
def crd() -> Path:
    folder, _ = kueue.module(here())
    return folder / "config/components/crd/bases/kueue.x-k8s.io_workloads.yaml"


@pytest.fixture(scope="module")
def installed(apiserver: ApiServer, crd: Path) -> Iterator[None]:
    """Kueue's Workloads are served, from the first test that asks for them to the last of this file."""
    install(apiserver, crd)
    yield
    apiserver.kubectl("delete", CRD, "--timeout=60s")


def install(apiserver: ApiServer, crd: Path) -> None:
    apiserver.kubectl("apply", "--server-side", "-f", str(crd))
    deadline = time.monotonic() + 60
    while apiserver.kubectl("get", "workloads.kueue.x-k8s.io", "-A", check=False).returncode:
        assert time.monotonic() < deadline, "the API server does not serve Workloads"
        time.sleep(0.2)


class Kueue:
    """What Kueue does to the Workload of a job's first run."""

    def __init__(self, world: World) -> None:
        self.world, self.name = world, f"job-{world.child(1)}"

    async def claims(self) -> None:
        """Makes the Workload of the child Job."""
        job = await self.world.job()
        owner = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "name": job["metadata"]["name"],
            "uid": job["metadata"]["uid"],
        }
        metadata = {"namespace": self.world.namespace, "name": self.name}
        metadata |= {"ownerReferences": [{**owner, "controller": True}]}
        template = {"spec": {"containers": [{"name": "c", "image": "i"}], "restartPolicy": "Never"}}
        spec = {"queueName": "team", "active": True, "podSets": [{"name": "main", "count": 1, "template": template}]}
        manifest = {"apiVersion": WORKLOADS.api, "kind": "Workload", "metadata": metadata, "spec": spec}
        await self.world.cluster.create(WORKLOADS, manifest)

    async def says(self, kind: str, status: str, reason: str, message: str) -> None:
        """Sets this condition and no other."""
        time_ = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        made = {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": time_}
        status_ = {"status": {"conditions": [made]}}
        await self.world.cluster.patch(WORKLOADS, self.world.namespace, self.name, status_, "status")

    async def active(self, wanted: bool) -> dict[str, Any]:
        """The Workload, as soon as its `spec.active` is so."""
        return await self.world.until(lambda o: o["spec"]["active"] is wanted, WORKLOADS, self.name)


def queued(obj: dict[str, Any], reason: str) -> bool:
    found = condition(obj, "Queued")
    return (found["status"], found["reason"]) == ("True", reason)


async def test_without_kueue_the_job_says_so_and_the_operator_goes_on(shared_operator: Operator, world: World) -> None:
    await world.apply(queueName="team")
    told = await world.until(lambda o: queued(o, "KueueNotInstalled"))
    assert "spec.queueName needs Kueue" in condition(told, "Queued")["message"]
    assert condition(told, "Ready")["status"] == "False"
    assert (await world.job())["spec"]["suspend"] is True
    version = await world.quiet()
    free = World(world.cluster, world.namespace, f"{world.name}-free")
    await free.apply()
    await free.job()
    assert (await world.get_job())["metadata"]["resourceVersion"] == version
    assert shared_operator.get("/readyz") == 200


async def test_kueue_may_be_installed_and_removed_while_the_operator_runs(
    shared_operator: Operator, world: World, apiserver: ApiServer, crd: Path
) -> None:
    await world.apply(queueName="team")
    await world.until(lambda o: queued(o, "KueueNotInstalled"))
    install(apiserver, crd)
    try:
        kueue_ = Kueue(world)
        await kueue_.claims()
        await kueue_.says("QuotaReserved", "False", "Pending", NO_ROOM)
        told = await world.until(lambda o: queued(o, "WaitingInQueue") and NO_ROOM in condition(o, "Queued")["message"])
        assert condition(told, "Ready")["status"] == "True"
    finally:
        apiserver.kubectl("delete", CRD, "--timeout=60s")
    await world.until(lambda o: queued(o, "KueueNotInstalled"))
    assert shared_operator.get("/healthz") == 200


async def test_why_a_run_waits_changes_with_its_workload_and_the_job_is_left_alone(
    shared_operator: Operator, installed: None, world: World
) -> None:
    await world.apply(queueName="team")
    kueue_ = Kueue(world)
    await kueue_.claims()
    made = await world.job()
    for kind, reason, message, expected in (
        ("QuotaReserved", "Inadmissible", "LocalQueue team doesn't exist", "Inadmissible"),
        ("QuotaReserved", "Pending", NO_ROOM, "WaitingInQueue"),
    ):
        await kueue_.says(kind, "False", reason, message)
        await world.until(lambda o, m=message, e=expected: queued(o, e) and m in condition(o, "Queued")["message"])
    await kueue_.says("Evicted", "True", "Preempted", "Preempted to accommodate a workload")
    await world.until(lambda o: queued(o, "Preempted"))
    version = await world.quiet()
    # what Kueue's controllers write without news for the user
    note = {"metadata": {"annotations": {"note": "1"}}}
    await world.cluster.patch(WORKLOADS, world.namespace, kueue_.name, note)
    assert await world.quiet() == version
    now = await world.job()
    assert now["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"], "no write to the Job"


async def test_suspend_is_the_workloads_active_and_survives_a_killed_operator(
    installed: None, new_operator: Callable[..., Operator], world: World
) -> None:
    first = new_operator().start()
    await world.apply(queueName="team")
    kueue_ = Kueue(world)
    await kueue_.claims()
    await world.change(suspend=True)
    await kueue_.active(False)
    await world.until(lambda o: condition(o, "Suspended")["reason"] == "SuspendedByUser")
    assert first.end(signal.SIGKILL)[0] != 0
    await world.change(suspend=False)
    new_operator().start()
    await kueue_.active(True)
    await world.until(lambda o: condition(o, "Suspended")["status"] == "False")
    assert (await world.job())["spec"]["suspend"] is True, "that is Kueue's"


async def test_a_workload_that_somebody_else_deactivated_stays_so(
    shared_operator: Operator, installed: None, world: World, apiserver: ApiServer
) -> None:
    await world.apply(queueName="team")
    kueue_ = Kueue(world)
    await kueue_.claims()
    await kueue_.says("QuotaReserved", "False", "Pending", NO_ROOM)
    await world.until(lambda o: queued(o, "WaitingInQueue"))
    deactivate = ["patch", "workload", kueue_.name, "-n", world.namespace, "--type=merge", "-p"]
    apiserver.kubectl(*deactivate, '{"spec":{"active":false}}')
    told = await world.until(lambda o: condition(o, "Suspended")["reason"] == "Deactivated")
    assert kueue_.name in condition(told, "Suspended")["message"]
    assert condition(told, "Ready")["status"] == "False"
    await world.change(suspend=True)
    await world.until(lambda o: condition(o, "Suspended")["reason"] == "SuspendedByUser")
    await world.change(suspend=False)
    await world.until(lambda o: condition(o, "Suspended")["reason"] == "Deactivated")
    assert (await kueue_.active(False))["spec"]["active"] is False
    apiserver.kubectl(*deactivate, '{"spec":{"active":true}}')
    await world.until(lambda o: queued(o, "WaitingInQueue"))


async def test_a_job_that_kueue_ignores_says_so(shared_operator: Operator, installed: None, world: World) -> None:
    await world.apply(queueName="team")
    told = await world.until(lambda o: queued(o, "NoWorkload"))
    assert "batch/job" in condition(told, "Ready")["message"]
    await Kueue(world).claims()
    await world.until(lambda o: queued(o, "WaitingInQueue"))
    assert (await world.get(JOBS, world.child(1)))["spec"]["suspend"] is True


@pytest.fixture
def limited(apiserver: ApiServer, namespace: str, tmp_path: Path) -> Iterator[Path]:
    """Kubeconfig of somebody who may do all that the operator does, but nothing with Workloads."""
    role = f"limited-{namespace}"
    groups = [GROUP, "batch", "coordination.k8s.io", ""]
    rules = [{"apiGroups": groups, "resources": ["*"], "verbs": ["*"]}]
    manifest = {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": role}, "rules": rules}
    apiserver.kubectl("apply", "-f", "-", input=json.dumps(manifest))
    account = f"{namespace}:limited"
    apiserver.kubectl("create", "serviceaccount", "limited", "-n", namespace)
    apiserver.kubectl("create", "clusterrolebinding", role, f"--clusterrole={role}", f"--serviceaccount={account}")
    token = apiserver.kubectl("create", "token", "limited", "-n", namespace).stdout.strip()
    path = tmp_path / "kubeconfig"
    path.write_text(apiserver.kubeconfig.read_text().replace(apiserver.token, token))
    yield path
    apiserver.kubectl("delete", "clusterrole,clusterrolebinding", role)


async def test_without_rights_on_workloads_jobs_queue_and_status_says_what_is_missing(
    installed: None, limited: Path, world: World, tmp_path: Path
) -> None:
    operator = Operator(limited, world.namespace, tmp_path / "limited.log").start()
    try:
        await world.apply(queueName="team")
        told = await world.until(lambda o: "rbac.kueue" in condition(o, "Queued")["message"])
        assert queued(told, "WaitingInQueue")
        assert (await world.job())["spec"]["suspend"] is True
        await world.change(suspend=True)
        await world.until(lambda o: any("rbac.kueue" in warning for warning in o["status"]["warnings"]))
        assert operator.get("/healthz") == 200
    finally:
        operator.end(signal.SIGKILL)


async def test_the_operator_starts_while_kueue_is_down(
    installed: None, new_operator: Callable[..., Operator], world: World, apiserver: ApiServer
) -> None:
    """Kueue's webhook converts Workloads between their versions: without it the API server cannot list them."""
    await world.apply(queueName="team")
    first = new_operator().start()
    await Kueue(world).claims()
    await world.until(lambda o: queued(o, "WaitingInQueue"))
    first.end(signal.SIGKILL)
    webhook = {"clientConfig": {"url": "https://127.0.0.1:1/convert"}, "conversionReviewVersions": ["v1"]}
    convert = ["patch", CRD, "--type=merge", "-p"]
    apiserver.kubectl(*convert, json.dumps({"spec": {"conversion": {"strategy": "Webhook", "webhook": webhook}}}))
    try:
        assert "conversion" in (await unreadable(world)).message
        second = new_operator().start()
        free = World(world.cluster, world.namespace, "free")
        await free.apply()
        await free.job()
        assert second.get("/healthz") == 200
    finally:
        apiserver.kubectl(*convert, '{"spec":{"conversion":{"strategy":"None","webhook":null}}}')


async def unreadable(world: World) -> ApiError:
    """What the API server says once it cannot list Workloads any more."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            async for _ in world.cluster.pages(WORKLOADS, world.namespace):
                pass
        except ApiError as error:
            return error
        await asyncio.sleep(0.2)
    raise AssertionError("Workloads are listed without their webhook")
