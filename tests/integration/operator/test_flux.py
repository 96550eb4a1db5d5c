"""A queue of AlignmentJobs in git: Flux applies it, waits for it, and prunes it.

Real: git, Flux's kustomize-controller with the Kustomizations of gitops/flux, the operator, the Job controller and the
garbage collector. The tests play the kubelet and source-controller.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from alignment_operator.cluster import Cluster
from alignment_operator.resources import ALIGNMENT_JOBS, JOBS, Resource
from tests.integration.apiserver import ApiServer
from tests.integration.gitops.engines import ACCEPTED, COMPLETE
from tests.integration.operator import flux
from tests.integration.operator.conftest import Operator, World, condition
from tests.integration.operator.controllers import controller_manager, pod_of
from tests.integration.operator.kept import manifest
from tests.integration.operator.test_life import RESULT

Object = dict[str, Any]
KUSTOMIZATIONS = Resource("kustomize.toolkit.fluxcd.io/v1", "kustomizations", "Kustomization")
QUEUE, MODELS = "alignment-queue", "alignment-models"


@pytest.fixture(scope="module", autouse=True)
def controllers(apiserver: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("flux")
    flux.install_crds(apiserver)
    with controller_manager(apiserver, folder), flux.kustomize_controller(apiserver, folder):
        yield


@pytest.fixture
def git(shared_operator: Operator, apiserver: ApiServer, tmp_path: Path) -> Iterator[flux.Repository]:
    with flux.repository(apiserver, shared_operator.namespace, tmp_path) as repository:
        yield repository
    apiserver.kubectl("delete", "kustomizations", "--all", "-n", shared_operator.namespace, "--wait=false")


class Fleet:
    """The two Kustomizations in the operator's namespace, and the jobs that git asks for."""

    def __init__(self, server: ApiServer, cluster: Cluster, git: flux.Repository, namespace: str) -> None:
        self.server, self.git, self.namespace = server, git, namespace
        self.world = World(cluster, namespace)

    def follow(self) -> None:
        """Apply gitops/flux as it is, but for the namespace."""
        for file in (ACCEPTED, COMPLETE):
            manifest = yaml.safe_load(file.read_text())
            manifest["metadata"]["namespace"] = manifest["spec"]["targetNamespace"] = self.namespace
            self.server.kubectl("apply", "-f", "-", input=json.dumps(manifest))

    async def ready(self, kustomization: str, revision: str) -> None:
        """Wait until the Kustomization is Ready with this revision."""
        await self.world.until(
            lambda o: o["status"]["lastAppliedRevision"] == revision and condition(o, "Ready")["status"] == "True",
            KUSTOMIZATIONS,
            kustomization,
        )

    async def unhealthy(self, kustomization: str, revision: str) -> str:
        """Wait until the health check of this revision has failed; returns what Flux says."""
        found = await self.world.until(
            lambda o: (
                o["status"]["lastAttemptedRevision"] == revision
                and condition(o, "Ready")["reason"] == "HealthCheckFailed"
            ),
            KUSTOMIZATIONS,
            kustomization,
        )
        return str(condition(found, "Ready")["message"])

    async def at(self, kustomization: str) -> str:
        """`Ready` of the Kustomization as it is now."""
        found = await self.world.get(KUSTOMIZATIONS, kustomization)
        assert found is not None
        return str(condition(found, "Ready").get("status"))

    async def running(self, name: str, run: int = 1) -> Object:
        self.world.name = name
        pod = await pod_of(self.world, run)
        await self.world.runs(pod)
        await self.world.until(lambda o: o["status"]["phase"] == "Running")
        return pod

    async def current(self, name: str) -> Object:
        """The job as it is now."""
        self.world.name = name
        return await self.world.get_job()

    async def nothing_is_written_by_another_look(self, kustomization: str, name: str) -> None:
        """Flux reconciles without a new commit: the job stays as it is, to the last resourceVersion."""
        before, now = await self.current(name), str(time.time())
        request = ["annotate", "kustomization", kustomization, "-n", self.namespace]
        self.server.kubectl(*request, f"reconcile.fluxcd.io/requestedAt={now}")
        await self.world.until(lambda o: o["status"]["lastHandledReconcileAt"] == now, KUSTOMIZATIONS, kustomization)
        assert (await self.current(name))["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]


@pytest.fixture
def fleet(apiserver: ApiServer, cluster: Cluster, git: flux.Repository) -> Fleet:
    return Fleet(apiserver, cluster, git, git.namespace)


BAD = {"spec": {"tolerations": [{"key": "a", "operator": "Nonsense"}]}}


async def test_a_queue_in_git_is_applied_waited_for_and_pruned(fleet: Fleet) -> None:
    first = fleet.git.commit(
        {
            "queue/a.yaml": manifest("a", queueName="gpus"),
            "queue/b.yaml": manifest("b"),
            "queue/c.yaml": manifest("c", podTemplate=BAD),
            "models/m.yaml": manifest("m"),
        }
    )
    fleet.follow()
    pod = await fleet.running("m")
    assert f"AlignmentJob/{fleet.namespace}/c" in await fleet.unhealthy(QUEUE, first), "c is refused"

    fleet.server.kubectl("patch", "aj", "a", "-n", fleet.namespace, "--type=merge", "-p", '{"spec":{"suspend":true}}')
    second = fleet.git.commit(
        {"queue/b.yaml": None, "queue/c.yaml": manifest("c"), "models/m.yaml": manifest("m", backoffLimit=7)}
    )
    await fleet.world.until(lambda o: o["spec"]["backoffLimit"] == 7, JOBS, "m-r1")  # while Flux waits for m
    await fleet.running("c")  # else its acceptance is final when 45 s have brought no news of its pods
    await fleet.ready(QUEUE, second)
    waits = await fleet.current("a")
    assert waits["status"]["phase"] == "Queued", "accepted, and waits its turn"
    assert waits["spec"]["suspend"] is False, "what kubectl set and git has not is taken back"
    await fleet.world.gone(ALIGNMENT_JOBS, "b")
    await fleet.world.gone(JOBS, "b-r1")
    assert await fleet.at(MODELS) == "Unknown", "m still runs"
    await fleet.world.ends(pod, 0, json.dumps({**RESULT, "outcome": "Complete"}))
    await fleet.ready(MODELS, second)

    third = fleet.git.commit({"models/m.yaml": manifest("m", rerun="2")})
    pod = await fleet.running("m", 2)
    assert await fleet.at(MODELS) == "Unknown", "run 1 is complete, and git asks for run 2"
    await fleet.world.ends(pod, 65, '{"contractVersion": 1, "outcome": "Failed", "message": "no column"}')
    assert f"AlignmentJob/{fleet.namespace}/m" in await fleet.unhealthy(MODELS, third), "run 2 failed"
    await fleet.nothing_is_written_by_another_look(QUEUE, "a")
