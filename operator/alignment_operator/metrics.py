"""Prometheus metrics, named as controller-runtime and client-go name theirs: existing dashboards and alerts fit."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from .resources import ALIGNMENT_JOBS, JOBS, PODS
from .series import JobSeries
from .store import Key, Store
from .transitions import Transitions
from .workqueue import WorkQueue

CONTROLLER = "alignmentjob"
QUEUE_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 300)


class Metrics:
    """Everything that is counted as it happens. What can be read from store and queue is collected at the scrape."""

    def __init__(self, store: Store, queue: WorkQueue[Key], workers: int, lease: str) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._leads = False
        self.registry.register(_Scraped(queue))
        self.registry.register(JobSeries(store, lambda: self._leads))
        self.transitions = Transitions(self.registry)
        leader = Gauge("leader_election_master_status", "1 while this process leads.", ["name"], registry=self.registry)
        self._leader = leader.labels(lease)
        name = "alignment_operator_progress_reports"
        self.reports = Counter(name, "Progress reports by HTTP status.", ["code"], registry=self.registry)
        name, text = "alignment_operator_watch_missed", "Objects that a LIST knew and the watches did not."
        self.missed = Counter(name, text, ["resource"], registry=self.registry)
        for resource in (ALIGNMENT_JOBS, JOBS, PODS):
            self.missed.labels(resource.plural)
        self._count_reconciles(workers)
        self._count_waits(queue)

    def _count_reconciles(self, workers: int) -> None:
        one, per, name = self.registry, ["controller"], "controller_runtime_reconcile"
        self._reconciles = Counter(name, "Reconciles by result.", [*per, "result"], registry=one)
        for result in ("success", "requeue_after", "requeue", "error"):
            self._reconciles.labels(CONTROLLER, result)
        self._errors = Counter(f"{name}_errors", "Reconciles that raised.", per, registry=one).labels(CONTROLLER)
        self.seconds = Histogram(f"{name}_time_seconds", "Length of a reconcile.", per, registry=one).labels(CONTROLLER)
        active = Gauge("controller_runtime_active_workers", "Workers that reconcile now.", per, registry=one)
        self.active = active.labels(CONTROLLER)
        limit = Gauge("controller_runtime_max_concurrent_reconciles", "Workers in all.", per, registry=one)
        limit.labels(CONTROLLER).set(workers)

    def _count_waits(self, queue: WorkQueue[Key]) -> None:
        name, text = "workqueue_queue_duration_seconds", "Wait of a key for a worker."
        waited = Histogram(name, text, ["name"], registry=self.registry, buckets=QUEUE_SECONDS)
        queue.waited = waited.labels(CONTROLLER).observe
        name, text = "workqueue_retries", "Keys that came back after a failure."
        self.retries = Counter(name, text, ["name"], registry=self.registry).labels(CONTROLLER)

    def lead(self) -> None:
        """This process leads from now on, until it ends."""
        self._leads = True
        self._leader.set(1)

    def reconciled(self, result: str) -> None:
        """Count one reconcile: success, requeue_after, requeue (a conflict) or error."""
        self._reconciles.labels(CONTROLLER, result).inc()
        if result == "error":
            self._errors.inc()


class _Scraped(Collector):
    def __init__(self, queue: WorkQueue[Key]) -> None:
        self._queue = queue

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        for name, text, value in (
            ("workqueue_depth", "Keys that wait for a worker.", len(self._queue)),
            ("workqueue_longest_wait_seconds", "For how long the first key has waited.", self._queue.oldest_wait),
            ("workqueue_adds_total", "Keys queued.", self._queue.added),
        ):
            kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
            family = kind(name, text, labels=["name"])
            family.add_metric([CONTROLLER], value)
            yield family
