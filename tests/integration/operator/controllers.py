"""Kubernetes' own Job controller and garbage collector for an API server of the tests, and what a watch sees there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

from alignment_operator.resources import ALIGNMENT_JOBS, PODS
from tests.integration.apiserver import ApiServer, process
from tests.integration.operator.conftest import SECONDS, World

Object = dict[str, Any]
CONTROLLERS = "job-controller,garbage-collector-controller"


@contextmanager
def controller_manager(server: ApiServer, folder: Path) -> Iterator[None]:
    """It makes the pods of every Job of this API server, counts their ends, and removes what has lost its owner.

    Nobody runs the pods: the tests play the kubelet (`World.runs`, `World.ends`).
    """
    flags = [f"--kubeconfig={server.kubeconfig}", f"--controllers={CONTROLLERS}", "--leader-elect=false"]
    with process("kube-controller-manager", folder, *flags, "--secure-port=0"):
        yield


async def pods_of(world: World, run: int) -> list[Object]:
    """The pods of a run's Job that are not on their way out."""
    selector = f"batch.kubernetes.io/job-name={world.child(run)}"
    pages = [page async for page in world.cluster.pages(PODS, world.namespace, labelSelector=selector)]
    return [pod for page in pages for pod in page["items"] if "deletionTimestamp" not in pod["metadata"]]


async def pod_of(world: World, run: int) -> Object:
    """The pod that is to run next, as soon as the Job controller has made it."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        for pod in await pods_of(world, run):
            if pod["status"].get("phase") == "Pending":
                return pod
        await asyncio.sleep(0.05)
    job = await world.cluster.get(ALIGNMENT_JOBS, world.namespace, world.name)
    raise AssertionError(f"no pod of {world.child(run)} in {SECONDS} s; the job: {job and job.get('status')}")


@asynccontextmanager
async def seen(world: World) -> AsyncIterator[list[Object]]:
    """Every version of the AlignmentJob that a watch delivers while the block runs, in order."""
    async for page in world.cluster.pages(ALIGNMENT_JOBS, world.namespace):
        version = page["metadata"]["resourceVersion"]
    versions: list[Object] = []
    watching = asyncio.create_task(_record(world, version, versions))
    try:
        yield versions
        await _caught_up(world, versions)
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


async def _record(world: World, version: str, versions: list[Object]) -> None:
    async for event in world.cluster.watch(ALIGNMENT_JOBS, world.namespace, version):
        if event["type"] != "BOOKMARK" and event["object"]["metadata"]["name"] == world.name:
            versions.append(event["object"])


async def _caught_up(world: World, versions: list[Object]) -> None:
    """The watch has delivered what a read finds."""
    deadline = time.monotonic() + SECONDS
    latest = (await world.get_job())["metadata"]["resourceVersion"]
    while all(obj["metadata"]["resourceVersion"] != latest for obj in versions):
        assert time.monotonic() < deadline, "the watch is behind"
        await asyncio.sleep(0.05)
