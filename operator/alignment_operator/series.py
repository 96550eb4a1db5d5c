"""Prometheus series that are read from the cluster's state at each scrape: no restart and no new leader changes them.

Only the leader has them, or every replica would tell the same. Series with the label `alignmentjob` exist for jobs that
are not over, and go with the job or with its end; what remains of jobs that are over is counted by namespace, method
and outcome. Labels hold nothing that a user may write freely but names of objects.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from . import usage
from .observed import parse_time
from .store import Store

Object = Mapping[str, Any]
Labels = tuple[str, ...]

PREFIX = "alignment_operator"
JOB_LABELS = ("namespace", "alignmentjob")
OVER = ("Complete", "Failed")
# Of what a trainer reports, by the names that TRL gives it. A list of ours: a trainer cannot make series at will.
METRICS = ("loss", "eval_loss", "grad_norm", "rewards/margins", "rewards/accuracies", "mean_token_accuracy")
# series -> (field of status.progress, text)
PROGRESS: dict[str, tuple[str, str]] = {
    "step": ("step", "Optimizer steps done."),
    "planned_steps": ("totalSteps", "Optimizer steps in all."),
    "attempt": ("attempt", "Attempt of the run, from 1."),
    "lost_steps": ("lostSteps", "Steps done again because of restarts."),
    "step_seconds": ("stepSeconds", "Mean time of a step of this attempt."),
    "tokens_per_second": ("tokensPerSecond", "Of all processes."),
    "remaining_seconds": ("estimatedRemainingSeconds", "Time left, by the trainer's own pace."),
    "peak_memory_bytes": ("peakMemoryBytes", "Largest memory of a process: of the GPU, without one resident."),
    "last_report_timestamp_seconds": ("lastReportTime", "When the trainer last reported."),
    "last_checkpoint_timestamp_seconds": ("lastCheckpointTime", "When the last checkpoint was complete."),
}


class JobSeries(Collector):
    """Collected from the store, as long as `leading()`."""

    def __init__(
        self, store: Store, leading: Callable[[], bool], now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._store, self._leading, self._now = store, leading, now

    def collect(self) -> Iterator[GaugeMetricFamily]:
        jobs = list(self._store.jobs()) if self._leading() else []
        live = [job for job in jobs if _status(job).get("phase") not in OVER]
        yield _jobs(jobs)
        yield _gpus(live, self._now())
        yield from _queues(live, self._now())
        yield _info(live)
        yield from _progress(live)
        yield _gpu_seconds(live, self._now())
        yield _metrics(live)

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Nothing: else the registry would collect once to know the names."""
        return ()


def _jobs(jobs: Iterable[Object]) -> GaugeMetricFamily:
    labels = ("namespace", "method", "phase", "failure_class")
    tally = Tally((_namespace(job), *_kind(job), _failure(job)) for job in jobs)
    text = "AlignmentJobs, by where they stand; of failed and of hindered ones with the class of status.failure."
    return _family("alignmentjobs", text, labels, tally.items())


def _gpus(live: Iterable[Object], now: datetime) -> GaugeMetricFamily:
    tally: Tally[Labels] = Tally()
    for job in live:
        held, _ = usage.running(_status(job).get("usage") or {}, now)
        if held:
            tally[_namespace(job), _kind(job)[0]] += held
    return _family("gpus", "GPUs that pods of AlignmentJobs hold.", ("namespace", "method"), tally.items())


def _queues(live: Iterable[Object], now: datetime) -> Iterator[GaugeMetricFamily]:
    waits: defaultdict[Labels, list[float]] = defaultdict(list)
    for job in live:
        if since := queued_since(_status(job)):
            waits[_namespace(job), queue_of(job)].append(max(0.0, (now - since).total_seconds()))
    labels = ("namespace", "queue")
    counts = ((key, len(seconds)) for key, seconds in waits.items())
    longest = ((key, max(seconds)) for key, seconds in waits.items())
    yield _family("queue_jobs", "AlignmentJobs that wait in a queue.", labels, counts)
    yield _family("queue_longest_wait_seconds", "For how long the first of them has.", labels, longest)


def _info(live: Iterable[Object]) -> GaugeMetricFamily:
    labels = (*JOB_LABELS, "method", "queue", "phase", "reason")
    text = "1 for each AlignmentJob that is not over; reason is that of its condition Ready."
    rows = (((*_key(job), _kind(job)[0], queue_of(job), _kind(job)[1], _reason(job)), 1.0) for job in live)
    return _family("job_info", text, labels, rows)


def _progress(live: Sequence[Object]) -> Iterator[GaugeMetricFamily]:
    for name, (field, text) in PROGRESS.items():
        rows = ((_key(job), _number((_status(job).get("progress") or {}).get(field))) for job in live)
        yield _family(f"job_{name}", text, JOB_LABELS, ((key, value) for key, value in rows if value is not None))


def _gpu_seconds(live: Iterable[Object], now: datetime) -> GaugeMetricFamily:
    """Up to this moment; status has the pods that have ended."""
    known = ((job, _status(job)["usage"]) for job in live if _status(job).get("usage"))
    rows = ((_key(job), float(usage.running(used, now)[1])) for job, used in known)
    return _family("job_gpu_seconds", "GPU-seconds of the current run, all attempts.", JOB_LABELS, rows)


def _metrics(live: Iterable[Object]) -> GaugeMetricFamily:
    rows = (
        ((*_key(job), metric["name"]), value)
        for job in live
        for metric in _status(job).get("metrics") or ()
        if metric["name"] in METRICS and (value := _number(metric["value"])) is not None
    )
    return _family("job_metric", "Latest value of a training metric.", (*JOB_LABELS, "metric"), rows)


def queued_since(status: Object) -> datetime | None:
    """Since when the job waits in a queue, by its condition Queued; None: it does not."""
    return next((parse_time(c["lastTransitionTime"]) for c in _true(status) if c["type"] == "Queued"), None)


def queue_of(job: Object) -> str:
    """`spec.queueName`; empty for a Job that Kueue took without one."""
    return str(job.get("spec", {}).get("queueName") or "")


def _true(status: Object) -> Iterable[Object]:
    return (c for c in status.get("conditions") or () if c["status"] == "True")


def _family(name: str, text: str, labels: Labels, rows: Iterable[tuple[Labels, float]]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"{PREFIX}_{name}", text, labels=labels)
    for values, number in rows:
        family.add_metric(values, number)
    return family


def _number(value: Any) -> float | None:
    """Of a number, a number as text, or a time as text; None of anything else."""
    try:
        return float(value)
    except (TypeError, ValueError):
        pass
    try:
        time = parse_time(value)
    except (AttributeError, TypeError, ValueError):
        return None
    return time.timestamp() if time else None


def _status(job: Object) -> Object:
    status: Object = job.get("status") or {}
    return status


def _namespace(job: Object) -> str:
    return str(job["metadata"]["namespace"])


def _key(job: Object) -> Labels:
    return _namespace(job), str(job["metadata"]["name"])


def _kind(job: Object) -> tuple[str, str]:
    """Method and phase; a job that nobody has looked at yet is Unknown."""
    status = _status(job)
    return status.get("method") or "Unknown", status.get("phase") or "Unknown"


def _failure(job: Object) -> str:
    return str((_status(job).get("failure") or {}).get("class", ""))


def _reason(job: Object) -> str:
    ready = (c for c in _status(job).get("conditions") or () if c["type"] == "Ready")
    return str(next((c.get("reason", "") for c in ready), ""))
