"""What the leader tells Prometheus: gauges by the store, counters by status writes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from alignment_operator.resources import ALIGNMENT_JOBS
from alignment_operator.series import JobSeries
from alignment_operator.store import Store
from alignment_operator.transitions import Transitions
from tests.unit.operator.builders import NOW, at

Object = dict[str, Any]
PREFIX = "alignment_operator_"


def job(name: str, phase: str, *, spec: Object | None = None, **status: Any) -> Object:
    metadata = {"namespace": "team", "name": name, "uid": name, "resourceVersion": "1"}
    return {"metadata": metadata, "spec": spec or {}, "status": {"phase": phase, "method": "DPO", "run": 1, **status}}


def queued(since: float) -> list[Object]:
    return [{"type": "Queued", "status": "True", "lastTransitionTime": at(since), "reason": "WaitingInQueue"}]


RUNNING = job(
    "runs",
    "Running",
    progress={"step": 7, "stepSeconds": 0.5, "lastReportTime": at(-3)},
    metrics=[{"name": "loss", "value": "0.5"}, {"name": "mine", "value": "1"}, {"name": "grad_norm", "value": "nan?"}],
    usage={
        "gpuSeconds": 10,
        "pods": [
            {"pod": "a", "gpus": 4, "since": at(-20)},
            {"pod": "b", "gpus": 4, "since": at(-90), "until": at(-50)},
        ],
    },
)
WAITS = job("waits", "Queued", spec={"queueName": "team"}, conditions=queued(-60))
FAILED = job("failed", "Failed", failure={"class": "DataError"}, progress={"step": 3})


def collect(leading: bool = True) -> CollectorRegistry:
    store, registry = Store(), CollectorRegistry()
    for obj in (RUNNING, WAITS, FAILED, job("new", "", conditions=[])):
        store.put(ALIGNMENT_JOBS, obj)
    registry.register(JobSeries(store, lambda: leading, lambda: NOW))
    return registry


@pytest.mark.parametrize(
    ("name", "labels", "value"),
    [
        ("alignmentjobs", {"phase": "Running", "method": "DPO", "failure_class": ""}, 1),
        ("alignmentjobs", {"phase": "Failed", "method": "DPO", "failure_class": "DataError"}, 1),
        ("alignmentjobs", {"phase": "Unknown", "method": "DPO", "failure_class": ""}, 1),
        ("gpus", {"method": "DPO"}, 4),
        ("queue_jobs", {"queue": "team"}, 1),
        ("queue_longest_wait_seconds", {"queue": "team"}, 60),
        ("job_step", {"alignmentjob": "runs"}, 7),
        ("job_step_seconds", {"alignmentjob": "runs"}, 0.5),
        ("job_last_report_timestamp_seconds", {"alignmentjob": "runs"}, (NOW - timedelta(seconds=3)).timestamp()),
        ("job_gpu_seconds", {"alignmentjob": "runs"}, 10 + 4 * 20),
        ("job_metric", {"alignmentjob": "runs", "metric": "loss"}, 0.5),
        ("job_metric", {"alignmentjob": "runs", "metric": "mine"}, None),
        ("job_metric", {"alignmentjob": "runs", "metric": "grad_norm"}, None),
        ("job_step", {"alignmentjob": "failed"}, None),
        ("job_tokens_per_second", {"alignmentjob": "runs"}, None),
    ],
)
def test_a_gauge_is_what_the_store_knows(name: str, labels: dict[str, str], value: float | None) -> None:
    assert collect().get_sample_value(PREFIX + name, {"namespace": "team", **labels}) == value


def test_who_does_not_lead_tells_nothing() -> None:
    assert [sample for family in collect(leading=False).collect() for sample in family.samples] == []


BEGUN = {"run": 1, "method": "DPO", "phase": "Starting"}
OVER = {**BEGUN, "phase": "Complete", "startTime": at(-90), "completionTime": at(-30), "progress": {"lostSteps": 2}}
USED = {"totalGpuSeconds": 60, "totalCost": "1.5000", "currency": "EUR"}


@pytest.mark.parametrize(
    ("before", "after", "name", "labels", "value"),
    [
        pytest.param({}, BEGUN, "runs_finished_total", {"outcome": "Failed"}, 0, id="a-zero-comes-first"),
        pytest.param(BEGUN, OVER, "runs_finished_total", {"outcome": "Complete"}, 1, id="completes"),
        pytest.param(OVER, OVER, "runs_finished_total", {"outcome": "Complete"}, None, id="is-over-already"),
        pytest.param(BEGUN, {**BEGUN, "run": 2}, "runs_finished_total", {"outcome": "Replaced"}, 1, id="is-replaced"),
        pytest.param(OVER, {**BEGUN, "run": 2}, "runs_finished_total", {"outcome": "Replaced"}, 0, id="runs-again"),
        pytest.param(BEGUN, OVER, "lost_steps_total", {}, 2, id="lost-steps"),
        pytest.param({}, {**BEGUN, "usage": USED}, "gpu_seconds_total", {}, 60, id="gpu-seconds"),
        pytest.param({"usage": USED}, {**BEGUN, "usage": USED}, "gpu_seconds_total", {}, 0, id="the-same-gpu-seconds"),
        pytest.param({}, {**BEGUN, "usage": USED}, "gpu_cost_total", {"currency": "EUR"}, 1.5, id="cost"),
    ],
)
def test_a_status_write_counts_what_it_says_once(
    before: Object, after: Object, name: str, labels: dict[str, str], value: float | None
) -> None:
    registry = CollectorRegistry()
    Transitions(registry).written({"metadata": {"namespace": "team"}, "spec": {}, "status": before}, after)
    assert registry.get_sample_value(PREFIX + name, {"namespace": "team", "method": "DPO", **labels}) == value


def test_a_failed_run_counts_by_class_and_by_its_length() -> None:
    registry = CollectorRegistry()
    failed = {**OVER, "phase": "Failed", "failure": {"class": "Hung"}}
    Transitions(registry).written({"metadata": {"namespace": "team"}, "spec": {}, "status": BEGUN}, failed)
    of = {"method": "DPO"}
    assert registry.get_sample_value(f"{PREFIX}run_failures_total", {**of, "failure_class": "Hung"}) == 1
    assert registry.get_sample_value(f"{PREFIX}run_failures_total", {**of, "failure_class": "DataError"}) == 0
    assert registry.get_sample_value(f"{PREFIX}run_duration_seconds_sum", {**of, "outcome": "Failed"}) == 60


def test_a_wait_is_counted_when_it_ends_by_admission_only() -> None:
    registry = CollectorRegistry()
    transitions, labels = Transitions(registry), {"namespace": "team", "queue": "team"}
    waits = {**WAITS, "status": {**BEGUN, "phase": "Queued", "conditions": queued(-60)}}
    transitions.written(waits, {**BEGUN, "phase": "Suspended"})
    assert registry.get_sample_value(f"{PREFIX}queue_wait_seconds_count", labels) == 0
    transitions.written(waits, BEGUN)
    assert registry.get_sample_value(f"{PREFIX}queue_wait_seconds_count", labels) == 1
