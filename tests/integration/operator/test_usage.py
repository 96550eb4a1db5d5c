"""GPU time on a real API server: attempts, operators and pods come and go, and each pod is counted once."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alignment_operator.conditions import stamp
from alignment_operator.resources import JOBS
from tests.integration.apiserver import ApiServer
from tests.integration.operator.conftest import Operator, World
from tests.integration.operator.test_life import RESULT


def at(seconds: float) -> str:
    """So many seconds from now."""
    return stamp(datetime.fromtimestamp(time.time() + seconds, UTC))


async def attempt(
    world: World, run: int, suffix: str, since: float, until: float | None = None, code: int = 75
) -> dict[str, Any]:
    """A pod of that run which got its node at `since` and ended at `until` (None: it runs)."""
    pod = await world.pod(await world.job(world.child(run)), suffix=suffix)
    scheduled = [{"type": "PodScheduled", "status": "True", "lastTransitionTime": at(since)}]
    if until is None:
        await world.pod_status(pod, "Running", {"running": {"startedAt": at(since)}}, conditions=scheduled)
        return pod
    words = json.dumps({**RESULT, "outcome": "Complete"}) if code == 0 else ""
    ended = {"exitCode": code, "message": words, "startedAt": at(since), "finishedAt": at(until)}
    await world.pod_status(pod, "Failed" if code else "Succeeded", {"terminated": ended}, conditions=scheduled)
    return pod


def near(seconds: float, expected: float) -> bool:
    """Two GPUs; each of a pod's two stamps is of whole seconds, and a test's steps take some."""
    return abs(seconds - 2 * expected) <= 8


async def test_every_attempt_is_counted_once_whoever_watches(
    new_operator: Callable[..., Operator], world: World, apiserver: ApiServer, tmp_path: Path
) -> None:
    (tmp_path / "settings.yaml").write_text("lease_seconds: 4")  # so soon a killed operator is followed
    operator = new_operator(f"--settings={tmp_path / 'settings.yaml'}").start()
    await world.apply(gpusPerNode=2)
    await attempt(world, 1, "a", -1000, -900)  # preempted
    await world.until(lambda o: near(o["status"]["usage"]["gpuSeconds"], 100))
    second = await attempt(world, 1, "b", -800)
    job = await world.until(lambda o: o["status"]["phase"] == "Running")
    assert near(job["status"]["usage"]["gpuSeconds"], 100), "a running pod is not in the sum"

    operator.end(signal.SIGKILL)
    apiserver.kubectl("delete", "pod", second["metadata"]["name"], "--force", f"-n={world.namespace}")  # nobody sees it
    await attempt(world, 1, "c", -50, -10, code=0)
    operator.start()
    await world.job_ends(world.child(1), "Complete", "CompletionsReached", "done")
    done = await world.until(lambda o: o["status"]["phase"] == "Complete")
    first_run = done["status"]["usage"]["gpuSeconds"]
    # the one that nobody saw ended at the latest when its successor was made, which is just now
    assert near(first_run, 100 + 800 + 40)

    await world.change(rerun="again")
    await world.job(world.child(2))
    await attempt(world, 2, "d", -100, -70)
    both = await world.until(lambda o: near(o["status"]["usage"]["totalGpuSeconds"], 970))
    assert both["status"]["runs"][0]["gpuSeconds"] == first_run
    assert near(both["status"]["usage"]["gpuSeconds"], 30)

    before = await world.quiet()
    operator.end(signal.SIGKILL)
    operator.start()
    assert await world.quiet(2) == before, "a restart counts nothing again, and writes nothing"
    assert await world.get(JOBS, world.child(2)) is not None
