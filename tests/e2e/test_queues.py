"""Kueue, for real: jobs wait for a quota of two fake GPUs, and say why; preempted ones lose no step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.e2e.kube import ROOT, Job, kubectl
from tests.e2e.queues import (
    GPU,
    SELECTOR,
    TOLERATION,
    Quota,
    child,
    install,
    ran,
    sleeping,
    training,
    workload,
    writes,
)

# It ends by being deleted, so that no machine is too fast or too slow for it; no checkpoint but a stop's
ENDLESS = {"maxSteps": 1_000_000, "saveSteps": 1_000_000}
SHARED = {"volume": {"persistentVolumeClaim": {"claimName": "output-shared"}}}


@pytest.fixture(scope="module")
def quota(workspace: str) -> Iterator[Quota]:
    """Two GPUs of four that the node has: quota is what is scarce."""
    install(gpus=4)
    made = Quota(workspace, gpus=2)
    made.make()
    yield made
    made.remove()


def condition(status: dict[str, Any], kind: str) -> dict[str, Any]:
    return next((c for c in status.get("conditions", []) if c["type"] == kind), {})


def waits(status: dict[str, Any], words: str, reason: str = "WaitingInQueue") -> bool:
    queued = condition(status, "Queued")
    return (queued.get("status"), queued.get("reason")) == ("True", reason) and words in queued["message"]


def running(job: Job) -> dict[str, Any]:
    """Wait until the run's pods are there."""
    return job.wait("pods", lambda s: s.get("phase") in ("Starting", "Running") and job.pods(), timeout=90)


def flavored(job: Job) -> bool:
    """Whether the child Job has what the flavor adds."""
    pod = child(job)["spec"]["template"]["spec"]
    return pod.get("nodeSelector") == SELECTOR and TOLERATION in pod.get("tolerations", [])


def beyond_its_start(progress: dict[str, Any]) -> bool:
    """Whether an attempt that resumed has made steps of its own."""
    return "resumedFromStep" in progress and progress["step"] > progress["resumedFromStep"]


def test_six_jobs_on_two_gpus_run_two_at_a_time_in_priority_order(quota: Quota, apply: Callable[..., Job]) -> None:
    quota.hold(True)
    order = ("low", "high", "normal", "low", "high", "normal")
    jobs = [
        apply(f"six-{n}", **sleeping(4), workloadPriorityClass=quota.priority(name)) for n, name in enumerate(order)
    ]
    for job in jobs:
        job.wait("its queue to be stopped", lambda s: waits(s, "is inactive"), timeout=60)
    quota.hold(False)
    last = next(job for job, name in zip(jobs, order, strict=True) if name == "low")
    waiting = last.wait("why", lambda s: waits(s, f"insufficient unused quota for {GPU}"), timeout=60)
    begun = datetime.fromisoformat(condition(waiting, "Queued")["lastTransitionTime"])
    assert 0 <= (datetime.now(UTC) - begun).total_seconds() < 300, "for how long, counted from its first wait"
    for job in jobs:
        done = job.complete()
        assert condition(done, "Complete")["reason"] == "NoResult"
        assert writes(job, "jobs") == ["create"], "nothing but its creation was written to the Job"
    times = [ran(job) for job in jobs]
    by_start = sorted(range(6), key=lambda n: times[n][0])
    assert [order[n] for n in by_start] == ["high", "high", "normal", "normal", "low", "low"]
    assert max(sum(begin <= start < end for begin, end in times) for start, _ in times) == 2, times


def test_a_preempted_run_stops_at_a_steps_end_and_resumes_from_it(quota: Quota, apply: Callable[..., Job]) -> None:
    victim = apply("victim", **training(2, training=ENDLESS, workloadPriorityClass=quota.priority("low")))
    victim.wait("training", lambda s: s.get("progress", {}).get("step", 0) > 10)
    assert flavored(victim)
    victim.patch(backoffLimit=5)  # one of the few changes of a live Job
    other = apply("urgent", **sleeping(3, gpus=2), workloadPriorityClass=quota.priority("high"))
    status = victim.wait("preemption", lambda s: waits(s, "", reason="Preempted"), timeout=90)
    assert "to go on from its last checkpoint" in condition(status, "Queued")["message"]
    assert condition(status, "Suspended")["status"] == "False"
    other.complete()
    running(victim)
    assert flavored(victim), "admitted again, the flavor's nodeSelector and tolerations are there again"
    status = victim.wait("steps beyond the stop", lambda s: beyond_its_start(s["progress"]))
    progress = status["progress"]
    assert progress["attempt"] == 2
    assert progress["resumedFromStep"] > 10
    assert progress["lostSteps"] == 0
    assert status["run"] == 1
    assert child(victim)["spec"]["backoffLimit"] == 5
    assert writes(victim, "jobs") == ["create", "patch"]
    assert flavored(victim), "our own write left them alone"


def test_suspend_frees_the_quota_and_is_told_apart_from_waiting(quota: Quota, apply: Callable[..., Job]) -> None:
    holder = apply("holder", **sleeping(600, gpus=2))
    running(holder)
    waiter = apply("waiter", **sleeping(1, gpus=2))
    waiter.wait("its turn", lambda s: waits(s, "insufficient unused quota"), timeout=60)
    holder.patch(suspend=True)
    status = holder.wait("suspension", lambda s: s.get("phase") == "Suspended" and not holder.pods(), timeout=90)
    assert condition(status, "Suspended")["reason"] == "SuspendedByUser"
    assert condition(status, "Queued")["status"] == "False"
    waiter.complete()
    holder.patch(suspend=False)
    running(holder)
    assert writes(holder, "jobs") == ["create"]
    assert writes(holder, "workloads") == ["patch", "patch"]


def test_a_suspended_run_may_change_its_queue(quota: Quota, apply: Callable[..., Job]) -> None:
    """Kueue itself forgets the Job's new queue while its Workload is deactivated."""
    quota.local_queue("other")
    job = apply("moves", **sleeping(600))
    running(job)
    job.patch(suspend=True)
    job.wait("suspension", lambda s: s.get("phase") == "Suspended" and not job.pods(), timeout=90)
    job.patch(queueName="other", suspend=False)
    running(job)
    assert workload(job)["spec"]["queueName"] == "other"
    assert writes(job, "jobs") == ["create", "patch"]


def test_a_workload_that_was_deactivated_says_how_it_goes_on(quota: Quota, apply: Callable[..., Job]) -> None:
    job = apply("stopped", **sleeping(600))
    running(job)
    name = workload(job)["metadata"]["name"]
    kubectl("patch", "workload", name, "--type=merge", "-p", '{"spec":{"active":false}}', namespace=job.namespace)
    status = job.wait("deactivation", lambda s: s.get("phase") == "Suspended", timeout=60)
    assert condition(status, "Suspended")["reason"] == "Deactivated"
    assert f"spec.active of Workload {name}" in condition(status, "Suspended")["message"]
    assert condition(status, "Ready")["status"] == "False"
    kubectl("patch", "workload", name, "--type=merge", "-p", '{"spec":{"active":true}}', namespace=job.namespace)
    running(job)
    assert writes(job, "workloads") == []


def test_several_nodes_are_admitted_whole(quota: Quota, apply: Callable[..., Job]) -> None:
    one = apply("one-gpu", **sleeping(600))
    running(one)
    pair = apply("pair", **sleeping(5), nodes=2, output=SHARED)
    pair.wait("its turn", lambda s: waits(s, "1 more needed"), timeout=60)
    three = apply("three", **sleeping(1), nodes=3, output=SHARED)
    status = three.wait("a verdict", lambda s: waits(s, "maximum capacity", reason="Inadmissible"), timeout=60)
    assert "lower spec.gpusPerNode" in condition(status, "Ready")["message"]
    assert condition(status, "Ready")["status"] == "False"
    assert pair.pods() == three.pods() == [], "no pod waits for the others with a GPU in hand"
    one.delete()
    pair.wait("both pods", lambda s: len(pair.pods()) == 2, timeout=60)
    pair.complete()


def test_sft_and_dpo_in_a_queue_run_one_after_the_other(quota: Quota, apply: Callable[..., Job]) -> None:
    short = {"maxSteps": 2, "saveSteps": 2}
    dpo = apply("then-dpo", **training(1, training=short, model={"modelNameOrPath": None, "fromJob": "first-sft"}))
    dpo.wait("the other job", lambda s: "WaitingForJob" in str(s.get("conditions")), timeout=30)
    sft = {"sft": {"maxLength": 128}, "dpo": None, "dataset": {"datasetName": "/cache/conversations"}}
    first = apply("first-sft", **training(1, training=short, output={"merge": True}, **sft))
    first.complete()
    assert dpo.complete()["result"]["step"] == 2
    assert ran(first)[1] <= ran(dpo)[0]


def test_the_queued_example_says_what_is_missing_and_runs_when_it_is_there(quota: Quota) -> None:
    job = Job(quota.namespace, "smollm2-dpo-queued")
    research = {"apiVersion": "kueue.x-k8s.io/v1beta2", "kind": "WorkloadPriorityClass", "value": 10}
    kubectl("apply", "-f", "-", stdin={**research, "metadata": {"name": "research"}})
    try:
        kubectl("apply", "-f", str(ROOT / "examples" / f"{job.name}.yaml"), namespace=job.namespace)
        status = job.wait("a verdict", lambda s: waits(s, "LocalQueue training doesn't exist", "Inadmissible"), 60)
        assert condition(status, "Ready")["status"] == "False"
        quota.local_queue("training")
        assert job.complete()["result"]["step"] == 20
    finally:
        job.delete()
        kubectl("delete", "workloadpriorityclass", "research")
