"""Counters and histograms of what happens to jobs, fed by the leader's status writes.

A write is accepted once, on the resourceVersion that it was made for, so of several leaders only one counts what it
says. They begin at 0 in every process, as Prometheus' counters do; what must outlive that is in `series`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram

from .api.constants import Method
from .failures import CLASSES
from .observed import parse_time
from .series import OVER, PREFIX, queue_of, queued_since

Object = Mapping[str, Any]
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
RUN_SECONDS = (MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 3 * DAY, 7 * DAY)
WAIT_SECONDS = (1.0, 10.0, MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 3 * HOUR, 12 * HOUR, DAY, 3 * DAY, 7 * DAY)
REPLACED = "Replaced"


class Transitions:
    """`written` is told of every status write that the API server accepted."""

    def __init__(self, registry: CollectorRegistry) -> None:
        per = ["namespace", "method"]
        self._runs = Counter(f"{PREFIX}_runs_finished", "Runs that are over.", [*per, "outcome"], registry=registry)
        self._failures = Counter(
            f"{PREFIX}_run_failures", "Runs that failed.", ["method", "failure_class"], registry=registry
        )
        self._seconds = Histogram(
            f"{PREFIX}_run_duration_seconds",
            "From a run's start to its end, waiting between attempts included.",
            ["method", "outcome"],
            registry=registry,
            buckets=RUN_SECONDS,
        )
        self._waits = Histogram(
            f"{PREFIX}_queue_wait_seconds",
            "From the beginning of a wait in a queue to admission; a preempted run waits again.",
            ["namespace", "queue"],
            registry=registry,
            buckets=WAIT_SECONDS,
        )
        self._gpu = Counter(f"{PREFIX}_gpu_seconds", "GPU-seconds of pods that have ended.", per, registry=registry)
        self._cost = Counter(f"{PREFIX}_gpu_cost", "Cost of those.", [*per, "currency"], registry=registry)
        self._lost = Counter(f"{PREFIX}_lost_steps", "Steps done again, of runs that are over.", per, registry=registry)
        for method in Method:
            for name in CLASSES:
                self._failures.labels(_word(method), name)

    def written(self, job: Object, after: Object) -> None:
        """Count what one write says. job: as it was before, its status with it; after: the status that was written."""
        before: Object = job.get("status") or {}
        labels = (job["metadata"]["namespace"], after.get("method") or "Unknown")
        if after.get("run") and after.get("run") != before.get("run"):
            self._begun(labels)
        self._ended(labels, before, after)
        self._waited(job, before, after)
        self._used(labels, before.get("usage") or {}, after.get("usage") or {})

    def _begun(self, labels: tuple[str, str]) -> None:
        """Series that have a 0 before their first 1: a rate sees no other first."""
        for outcome in (*OVER, REPLACED):
            self._runs.labels(*labels, outcome)
            self._seconds.labels(labels[1], outcome)
        for counter in (self._gpu, self._lost):
            counter.labels(*labels)

    def _ended(self, labels: tuple[str, str], before: Object, after: Object) -> None:
        outcome = _outcome(before, after)
        if outcome is None:
            return
        self._runs.labels(*labels, outcome).inc()
        over = before if outcome == REPLACED else after
        if outcome == "Failed":
            self._failures.labels(labels[1], (after.get("failure") or {}).get("class", "Internal")).inc()
        start, end = parse_time(over.get("startTime")), parse_time(over.get("completionTime"))
        if start and end:
            self._seconds.labels(labels[1], outcome).observe(max(0.0, (end - start).total_seconds()))
        self._lost.labels(*labels).inc((over.get("progress") or {}).get("lostSteps") or 0)

    def _waited(self, job: Object, before: Object, after: Object) -> None:
        since, still = queued_since(before), queued_since(after)
        if not since and not still:
            return
        waits = self._waits.labels(job["metadata"]["namespace"], queue_of(job))
        if since and not still and after.get("phase") in ("Starting", "Running", *OVER):
            waits.observe(max(0.0, (datetime.now(UTC) - since).total_seconds()))

    def _used(self, labels: tuple[str, str], before: Object, after: Object) -> None:
        self._gpu.labels(*labels).inc(max(0, after.get("totalGpuSeconds", 0) - before.get("totalGpuSeconds", 0)))
        cost = float(after.get("totalCost") or 0) - float(before.get("totalCost") or 0)
        if cost > 0:
            self._cost.labels(*labels, after.get("currency", "")).inc(cost)


def _outcome(before: Object, after: Object) -> str | None:
    """How a run has just ended: with this write, or because this write begins the next one."""
    same = before.get("run") == after.get("run")
    was, is_ = before.get("phase"), after.get("phase")
    if is_ in OVER and not (same and was in OVER):
        return str(is_)
    if before.get("run") and not same and was not in OVER:
        return REPLACED
    return None


def _word(method: Method) -> str:
    """As `status.method` has it."""
    return {"reward": "Reward"}.get(method.value, method.value.upper())
