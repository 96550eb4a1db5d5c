"""The rows of the table: each plays one scene for one side and returns its figures."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from statistics import quantiles
from typing import Any

from . import calls, usage
from .load import create_all
from .progress import progress
from .sides import Side
from .stage import Meter, Stage

Figures = dict[str, Any]
THREADS = 20
BURST = 1000
SEQUENTIAL = 20
SETTLE_SECONDS = 5.0
IDLE_SECONDS = 60.0
RESTART_STILL_SECONDS = 8.0
MEBIBYTE = 1 << 20
SECONDS_A_JOB = 1.0  # after which a run is given up


def idle(stage: Stage, side: Side, size: int) -> Figures:
    """`size` jobs one after the other, each when the last one has its Job: latency without a queue."""
    with stage.namespace(side) as namespace:
        start = stage.now()
        for number in range(size):
            create_all(stage.client, *_jobs(side, namespace, [f"idle-{number}"]), threads=1)
            time.sleep(0.5)
        stage.wait_complete(side, namespace, size, 60 + size * SECONDS_A_JOB)
        return _latency(list(calls.latencies(stage.calls(start), side.resource, side.job_of).values()))


def burst(stage: Stage, side: Side, size: int) -> Figures:
    """`size` jobs at once, until the last one says that it is complete."""
    with stage.namespace(side) as namespace:
        return _burst(stage, side, size, namespace)


def resident(stage: Stage, side: Side, size: int) -> Figures:
    """`size` jobs that are there and done: memory, what an idle minute writes, and a restart."""
    with stage.namespace(side) as namespace:
        figures = _burst(stage, side, size, namespace)
        return figures | _idle_minute(stage, side) | _restart(stage, side, size)


def growth(stage: Stage, side: Side, size: int) -> Figures:
    """`size` jobs in bursts of 1,000, each when those before are done: what a job costs beside all that are there.

    The other figures are those of the last burst.
    """
    with stage.namespace(side) as namespace:
        bursts = [_burst(stage, side, min(BURST, size - there), namespace, there) for there in range(0, size, BURST)]
        figures = {**bursts[-1], "bursts": bursts}
        return figures | _idle_minute(stage, side) | _restart(stage, side, size)


def _idle_minute(stage: Stage, side: Side) -> Figures:
    time.sleep(SETTLE_SECONDS)
    start = stage.now()
    time.sleep(IDLE_SECONDS)
    return {"idle_writes": len(calls.writes(stage.heard(side, start))), "rss_mib": _rss(side)}


def _burst(stage: Stage, side: Side, size: int, namespace: str, there: int = 0) -> Figures:
    """`there`: the jobs that the namespace has already."""
    meter = Meter(stage, side)
    names = [f"job-{number}" for number in range(there, there + size)]
    client_seconds = create_all(stage.client, *_jobs(side, namespace, names), threads=THREADS)
    stage.wait_complete(side, namespace, there + size, 120 + size * SECONDS_A_JOB)
    controllers, others = meter.controllers(), meter.control_plane()
    every = stage.calls(meter.position)
    own = calls.counted(every, side.users)
    latencies = calls.latencies(every, side.resource, side.job_of)
    return {
        "jobs": size,
        "jobs_with_a_job": len(latencies),
        "jobs_per_second": size / calls.span(every, side.resource),
        "creates_per_second": size / client_seconds,
        **_latency(list(latencies.values())),
        "cpu_ms_per_job": _each(controllers, size),
        "control_plane_cpu_ms_per_job": _each(others, size),
        "calls_per_job": len(own) / size,
        "calls": calls.by_verb(own),
        "failed_calls": sum(call.code >= 400 for call in own),
        "peak_rss_mib": {name: usage.of(process.pid).peak_rss / MEBIBYTE for name, process in side.processes.items()},
    }


def _restart(stage: Stage, side: Side, size: int) -> Figures:
    """From the end of the old process: how long the new one calls the API server, and what it writes."""
    side.stop()
    start, began = stage.now(), time.time()
    side.start()
    last = stage.wait_quiet(side, RESTART_STILL_SECONDS, 60 + size * SECONDS_A_JOB)
    heard = stage.heard(side, start)
    last = max([last, *(call.answered for call in heard)])
    written = calls.writes(heard)
    return {
        "restart_quiet_seconds": last - began if last else 0.0,
        "restart_writes": calls.by_verb(written),
        "restart_reads": len(heard) - len(written),
        "restart_jobs_made": sum(call.verb == "create" and call.resource == "jobs" for call in written),
        "restart_rss_mib": _rss(side),
    }


def _jobs(side: Side, namespace: str, names: Iterable[str]) -> tuple[str, list[dict[str, Any]]]:
    return side.collection.format(namespace=namespace), [side.manifest(namespace, name) for name in names]


def _latency(seconds: list[float]) -> Figures:
    """p50, p99 and the worst, in milliseconds."""
    cuts = quantiles(seconds, n=100, method="inclusive") if len(seconds) > 1 else seconds * 99
    return {"p50_ms": 1000 * cuts[49], "p99_ms": 1000 * cuts[98], "max_ms": 1000 * max(seconds)}


def _each(seconds: dict[str, float], size: int) -> dict[str, float]:
    return {name: 1000 * used / size for name, used in seconds.items()}


def _rss(side: Side) -> dict[str, float]:
    return {name: usage.of(process.pid).rss / MEBIBYTE for name, process in side.processes.items()}


ROWS: dict[str, Callable[[Stage, Side, int], Figures]] = {
    "idle": idle,
    "burst": burst,
    "resident": resident,
    "growth": growth,
    "progress": progress,
}
