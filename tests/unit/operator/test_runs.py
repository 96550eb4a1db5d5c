"""Which run is the current one, and what is to be done: a table."""

from datetime import timedelta
from typing import Any

import pytest

from alignment_operator.runs import Decision, decide
from alignment_operator.settings import Settings
from alignment_operator.views import Observed, UpstreamView
from tests.unit.operator.builders import NOW, Job, Pod, alignment_job, at

LIVE = {"run": 1, "jobName": "demo-r1", "jobUID": "job-1"}
OVER = {
    "conditions": [
        {"type": "Complete", "status": "True", "reason": "x", "message": "", "lastTransitionTime": at(-100)}
    ],
    "completionTime": at(-100),
}


def decided(
    status: dict[str, Any] | None = None,
    job: Job | None = None,
    *pods: Pod,
    upstream: UpstreamView | None = None,
    **spec: Any,
) -> Decision:
    observed = Observed(job.view() if job else None, tuple(pod.view() for pod in pods), upstream=upstream)
    return decide(alignment_job(status=status, **spec), observed, Settings(), NOW)


@pytest.mark.parametrize(
    ("given", "run", "new_run", "start", "waiting"),
    [
        ((None, None), 1, True, True, None),
        ((LIVE, None), 1, False, True, None),
        ((LIVE, Job()), 1, False, False, None),
        ((LIVE | OVER, None), 1, False, False, None),
        (({"run": 1}, None), 1, True, True, None),
        ((LIVE, None, Pod().running()), 1, False, False, "WaitingForPods"),
        ((LIVE, None, Pod().exited(75)), 1, False, True, None),
        ((None, None, Pod().running()), 0, False, False, "WaitingForPods"),
    ],
    ids=[
        "none yet",
        "its Job is lost",
        "live",
        "over, and its Job deleted",
        "refused before",
        "lost, with a pod that still writes",
        "lost, with a pod that ended",
        "pods of an earlier job of the name",
    ],
)
def test_a_run_starts_when_nothing_of_it_is_there(given, run, new_run, start, waiting):
    decision = decided(*given)
    assert (decision.run, decision.new_run, decision.start, decision.waiting) == (run, new_run, start, waiting)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((LIVE, Job()), {"run": 1, "stop_run": 1, "start": False}),
        ((LIVE, None, Pod().running()), {"run": 1, "stop_run": None, "start": False, "waiting": "WaitingForPods"}),
        ((LIVE, None), {"run": 2, "stop_run": None, "start": True, "new_run": True, "rerun": "again"}),
        ((LIVE | OVER, Job().complete()), {"run": 2, "stop_run": None, "start": True, "new_run": True}),
        (({"run": 1}, None), {"run": 1, "start": True, "new_run": True, "rerun": "again"}),
    ],
    ids=["live: stopped first", "its pods still write", "stopped", "over", "never started: the same number"],
)
def test_a_new_token_makes_the_next_run_when_the_last_has_gone(given, expected):
    decision = decided(*given, rerun="again")
    assert {name: getattr(decision, name) for name in expected} == expected


def test_a_pod_of_a_lost_node_that_holds_the_next_run_up_is_told_with_the_cure():
    decision = decided(LIVE, None, Pod().running().node_silent(), rerun="again")
    assert decision.waiting == "WaitingForPods"
    assert "Node node-0 does not answer" in decision.message
    assert "node.kubernetes.io/out-of-service" in decision.message


def test_the_same_token_makes_no_run():
    assert not decided(LIVE | OVER | {"rerun": "again"}, None, rerun="again").start


@pytest.mark.parametrize(
    ("job", "spec", "patch"),
    [
        (Job(), {}, {}),
        (Job(), {"suspend": True}, {"spec": {"suspend": True}}),
        (Job().suspended(), {}, {"spec": {"suspend": False}}),
        (Job().queued("gpus"), {"queueName": "gpus"}, {}),
        (Job().queued("gpus"), {"queueName": "more"}, {"metadata": {"labels": {"kueue.x-k8s.io/queue-name": "more"}}}),
        (Job(), {"backoffLimit": 9}, {"spec": {"backoffLimit": 9}}),
        (Job().deadline(60), {}, {"spec": {"activeDeadlineSeconds": None}}),
        (Job().complete(), {"suspend": True, "backoffLimit": 9}, {}),
    ],
    ids=["nothing", "suspend", "go on", "queue owns suspend", "other queue", "backoff", "no deadline", "finished"],
)
def test_only_these_fields_of_a_live_job_are_ever_changed(job, spec, patch):
    assert decided(LIVE, job, **spec).patch == patch


@pytest.mark.parametrize(
    ("ttl", "delete", "look_again"), [(None, False, None), (50, True, None), (100, True, None), (160, False, 60.0)]
)
def test_the_child_is_deleted_when_its_time_is_over(ttl, delete, look_again):
    decision = decided(LIVE | OVER, Job().complete(), ttlSecondsAfterFinished=ttl)
    assert (decision.delete_child, decision.look_again) == (delete, look_again)
    assert not decided(LIVE | OVER, None, ttlSecondsAfterFinished=ttl).delete_child


def test_a_child_whose_end_is_not_stored_yet_is_not_deleted():
    job = Job().complete(seconds=-timedelta(hours=1).total_seconds())
    assert not decided(LIVE, job, ttlSecondsAfterFinished=0).delete_child


@pytest.mark.parametrize(
    ("upstream", "words", "in_vain"),
    [
        (UpstreamView("first"), "does not exist. Create it, or name another job in spec.model.fromJob.", True),
        (UpstreamView("first", exists=True), "not complete", False),
        (UpstreamView("first", exists=True, failed=True), "failed. Mend it and change its spec.rerun", True),
    ],
)
def test_a_job_waits_for_the_one_it_starts_from_and_says_when_that_is_in_vain(upstream, words, in_vain):
    decision = decided(None, None, upstream=upstream, model={"fromJob": "first"})
    assert (decision.start, decision.waiting, decision.waits_in_vain) == (False, "WaitingForJob", in_vain)
    assert words in decision.message


@pytest.mark.parametrize(
    "upstream", [UpstreamView("demo", exists=True), UpstreamView("demo", exists=True, complete=True)]
)
def test_a_job_that_names_itself_as_its_upstream_is_refused_and_does_not_wait_for_ever(upstream):
    decision = decided(None, None, upstream=upstream, model={"fromJob": "demo"})
    assert (decision.start, decision.waiting) == (False, None)
    assert decision.problem.path == "spec.model.fromJob"
    assert "its own output" in decision.problem.message


def test_once_started_the_upstream_means_nothing_any_more():
    decision = decided(LIVE, None, upstream=UpstreamView("first", exists=True), model={"fromJob": "first"})
    assert decision.start


def test_suspended_from_the_start_makes_no_job_with_and_without_a_queue():
    assert decided(suspend=True).waiting == "SuspendedByUser"
    assert not decided(suspend=True, queueName="gpus").start


def test_a_spec_that_cannot_run_is_a_problem_not_an_exception():
    decision = decided(dpo=None)
    assert decision.problem is not None
    assert not decision.start
