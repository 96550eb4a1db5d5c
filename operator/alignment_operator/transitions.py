"""Counters and histograms of what happens to jobs, fed by the leader's status writes.

A write is accepted once, on the resourceVersion that it was made for, so of several leaders only one counts what it
says. They begin at 0 in every process, as Prometheus' counters do; what must outlive that is in `series`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
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


@dataclass(frozen=True, slots=True)
class Change:
    """One status write of an AlignmentJob: `before` and `after` are its status."""

    job: Object
    before: Object
    after: Object

    @property
    def namespace(self) -> str:
        return str(self.job["metadata"]["namespace"])

    @property
    def method(self) -> str:
        return str(self.after.get("method") or "Unknown")

    @property
    def begins_run(self) -> bool:
        run = self.after.get("run")
        return bool(run) and run != self.before.get("run")

    @property
    def outcome(self) -> str | None:
        """How a run has just ended: with this write, or because this write begins the next one."""
        same = self.before.get("run") == self.after.get("run")
        was, is_ = self.before.get("phase"), self.after.get("phase")
        if is_ in OVER and not (same and was in OVER):
            return str(is_)
        if self.before.get("run") and not same and was not in OVER:
            return REPLACED
        return None

    @property
    def of_ended_run(self) -> Object:
        """The status that tells of the run that `outcome` is about."""
        return self.before if self.outcome == REPLACED else self.after


class Transitions:
    """`written` is told of every status write that the API server accepted."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"{PREFIX}_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"{PREFIX}_{name}", text, labels, buckets=buckets, registry=registry)

        per = ("namespace", "method")
        self._runs = counter("runs_finished", "Runs that are over.", *per, "outcome")
        self._failures = counter("run_failures", "Runs that failed.", "method", "failure_class")
        text = "From a run's start to its end, waiting between attempts included."
        self._seconds = histogram("run_duration_seconds", text, RUN_SECONDS, "method", "outcome")
        text = "From the beginning of a wait in a queue to admission; a preempted run waits again."
        self._waits = histogram("queue_wait_seconds", text, WAIT_SECONDS, "namespace", "queue")
        self._gpu = counter("gpu_seconds", "GPU-seconds of pods that have ended.", *per)
        self._cost = counter("gpu_cost", "Cost of those.", *per, "currency")
        self._lost = counter("lost_steps", "Steps done again, of runs that are over.", *per)
        for method, name in product(Method, CLASSES):
            self._failures.labels(method.word, name)

    def written(self, job: Object, after: Object) -> None:
        """Count what one write says. job: as it was before, its status with it; after: the status that was written."""
        change = Change(job, job.get("status") or {}, after)
        if change.begins_run:
            self._begin_series(change)
        if outcome := change.outcome:
            self._count_end(change, outcome)
        self._count_wait(change)
        self._count_usage(change)

    def _begin_series(self, change: Change) -> None:
        """Series that have a 0 before their first 1: a rate sees no other first."""
        for outcome in (*OVER, REPLACED):
            self._runs.labels(change.namespace, change.method, outcome)
            self._seconds.labels(change.method, outcome)
        for counter in (self._gpu, self._lost):
            counter.labels(change.namespace, change.method)

    def _count_end(self, change: Change, outcome: str) -> None:
        over = change.of_ended_run
        self._runs.labels(change.namespace, change.method, outcome).inc()
        if outcome == "Failed":
            self._failures.labels(change.method, (over.get("failure") or {}).get("class", "Internal")).inc()
        start, end = parse_time(over.get("startTime")), parse_time(over.get("completionTime"))
        if start and end:
            self._seconds.labels(change.method, outcome).observe(max(0.0, (end - start).total_seconds()))
        lost = (over.get("progress") or {}).get("lostSteps") or 0
        self._lost.labels(change.namespace, change.method).inc(lost)

    def _count_wait(self, change: Change) -> None:
        since, still = queued_since(change.before), queued_since(change.after)
        if not since and not still:
            return
        waits = self._waits.labels(change.namespace, queue_of(change.job))
        if since and not still and change.after.get("phase") in ("Starting", "Running", *OVER):
            waits.observe(max(0.0, (datetime.now(UTC) - since).total_seconds()))

    def _count_usage(self, change: Change) -> None:
        before, after = change.before.get("usage") or {}, change.after.get("usage") or {}
        seconds = after.get("totalGpuSeconds", 0) - before.get("totalGpuSeconds", 0)
        self._gpu.labels(change.namespace, change.method).inc(max(0, seconds))
        cost = float(after.get("totalCost") or 0) - float(before.get("totalCost") or 0)
        if cost > 0:
            self._cost.labels(change.namespace, change.method, after.get("currency", "")).inc(cost)
