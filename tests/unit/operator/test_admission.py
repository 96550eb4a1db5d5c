"""What the status says of a run in a queue, and what `suspend` does to its Workload."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from alignment_operator.runs import decide
from alignment_operator.settings import Settings
from alignment_operator.status import compute
from alignment_operator.views import Kueue, Observed
from tests.unit.operator.builders import NOW, Job, Pod, alignment_job, observed
from tests.unit.operator.workload_builder import NO_ROOM, Workload

RUN = {"run": 1, "jobName": "demo-r1"}
BY_PRIORITY = (
    "Preempted to accommodate a workload (UID: 1, JobUID: 2) due to prioritization in the ClusterQueue; "
    "preemptor path: /all; preemptee path: /all"
)


def seen(workload: Workload | None = None, kueue: Kueue = Kueue.PRESENT, job: Job | None = None) -> Observed:
    return replace(observed(job or Job().queued()), workload=workload.view() if workload else None, kueue=kueue)


def status_of(what: Observed, **spec: Any) -> dict[str, Any]:
    """The whole status of a job in queue `gpus` whose run 1 is as observed."""
    job = alignment_job(status=RUN, **({"queueName": "gpus"} | spec))
    return compute(job, what, decide(job, what, Settings(), NOW), NOW, Settings()).status


def condition(status: dict[str, Any], kind: str) -> dict[str, Any]:
    return next(c for c in status["conditions"] if c["type"] == kind)


@pytest.mark.parametrize(
    ("workload", "reason", "ready", "words"),
    [
        pytest.param(Workload(), "WaitingInQueue", "True", "waits in queue gpus.", id="kueue-has-not-said-anything"),
        pytest.param(Workload().pending(), "WaitingInQueue", "True", f"queue gpus: {NO_ROOM}.", id="no-room"),
        pytest.param(
            Workload().checking("capacity", "a node is being made"),
            "WaitingInQueue",
            "True",
            "checks are pending: capacity (a node is being made)",
            id="admission-check",
        ),
        pytest.param(
            Workload().pending("LocalQueue gpus doesn't exist", "Inadmissible"),
            "Inadmissible",
            "False",
            "spec.queueName",
            id="no-such-queue",
        ),
        pytest.param(
            Workload().pending("ClusterQueue all is inactive", "Inadmissible"),
            "WaitingInQueue",
            "True",
            "its administrator",
            id="a-stopped-queue-may-go-on",
        ),
        pytest.param(
            Workload().pending(
                "couldn't assign flavors to pod set main: insufficient quota for nvidia.com/gpu in flavor small, "
                "previously considered podsets requests (0) + current podset request (8) > maximum capacity (2)"
            ),
            "Inadmissible",
            "False",
            "lower spec.gpusPerNode",
            id="more-than-the-queue-ever-has",
        ),
        pytest.param(
            Workload().pending(
                "couldn't assign flavors to pod set main: insufficient quota for nvidia.com/gpu in flavor small, "
                "previously considered podsets requests (0) + current podset request (8) > maximum capacity (2), "
                "insufficient unused quota for nvidia.com/gpu in flavor big, 4 more needed"
            ),
            "WaitingInQueue",
            "True",
            "4 more needed",
            id="another-flavor-would-do",
        ),
        pytest.param(
            Workload().pending("couldn't assign flavors to pod set main: resource memory unavailable in ClusterQueue"),
            "Inadmissible",
            "False",
            "no quota for that resource",
            id="a-resource-without-quota",
        ),
        pytest.param(
            Workload().evicted("Preempted", BY_PRIORITY),
            "Preempted",
            "True",
            "was preempted and waits in queue gpus to go on from its last checkpoint: Preempted to accommodate",
            id="preempted",
        ),
        pytest.param(
            Workload().evicted("Preempted", BY_PRIORITY).pending(), "Preempted", "True", NO_ROOM, id="preempted-no-room"
        ),
        pytest.param(
            Workload().evicted("PodsReadyTimeout", "Exceeded the PodsReady timeout team-a/demo"),
            "Evicted",
            "True",
            "evicted (PodsReadyTimeout)",
            id="evicted-for-slow-pods",
        ),
        pytest.param(
            Workload().evicted("Deactivated", "The workload is deactivated").written_by("alignment-operator"),
            "WaitingInQueue",
            "True",
            "waits in queue gpus.",
            id="activated-again-what-kueue-said-before-is-stale",
        ),
        pytest.param(
            Workload().inactive("alignment-operator"),
            "WaitingInQueue",
            "True",
            "again",
            id="suspended-by-the-user-and-resumed-just-now",
        ),
    ],
)
def test_a_waiting_run_says_why(workload: Workload, reason: str, ready: str, words: str) -> None:
    status = status_of(seen(workload))
    queued = condition(status, "Queued")
    assert (queued["status"], queued["reason"]) == ("True", reason)
    assert words in queued["message"]
    assert condition(status, "Ready")["status"] == ready
    assert condition(status, "Suspended")["status"] == "False"
    assert status["phase"] == "Queued"


def test_the_queued_condition_tells_since_when_although_its_reason_changes() -> None:
    before = {"type": "Queued", "status": "True", "reason": "WaitingInQueue", "message": "old"}
    stored = RUN | {"conditions": [{**before, "lastTransitionTime": "2026-11-22T08:00:00Z"}]}
    job = alignment_job(status=stored, queueName="gpus")
    what = seen(Workload().pending())
    status = compute(job, what, decide(job, what, Settings(), NOW), NOW, Settings()).status
    assert condition(status, "Queued")["lastTransitionTime"] == "2026-11-22T08:00:00Z"


@pytest.mark.parametrize(
    ("made_seconds_ago", "kueue", "reason", "words", "ready"),
    [
        pytest.param(5, Kueue.PRESENT, "WaitingInQueue", "waits in queue gpus", "True", id="kueue-has-a-moment"),
        pytest.param(60, Kueue.PRESENT, "NoWorkload", "WorkloadPriorityClass research", "False", id="ignored"),
        pytest.param(60, Kueue.ABSENT, "KueueNotInstalled", "spec.queueName needs Kueue", "False", id="no-kueue"),
        pytest.param(60, Kueue.FORBIDDEN, "WaitingInQueue", "rbac.kueue", "True", id="no-rights-on-workloads"),
        pytest.param(60, Kueue.UNKNOWN, "WaitingInQueue", "waits in queue gpus", "True", id="not-looked-yet"),
    ],
)
def test_without_a_workload_the_reason_is_told(
    made_seconds_ago: int, kueue: Kueue, reason: str, words: str, ready: str
) -> None:
    child = Job().queued()
    child.obj["metadata"]["creationTimestamp"] = (NOW.replace(microsecond=0)).isoformat()
    later = NOW.fromtimestamp(NOW.timestamp() + made_seconds_ago, NOW.tzinfo)
    job = alignment_job(status=RUN, queueName="gpus", workloadPriorityClass="research")
    what = seen(kueue=kueue, job=child)
    result = compute(job, what, decide(job, what, Settings(), later), later, Settings())
    queued = condition(result.status, "Queued")
    assert (queued["status"], queued["reason"]) == ("True", reason)
    assert words in queued["message"]
    assert condition(result.status, "Ready")["status"] == ready
    assert result.look_again == (15.0 if (made_seconds_ago, kueue) == (5, Kueue.PRESENT) else None)


@pytest.mark.parametrize(
    ("workload", "suspend", "patch"),
    [
        pytest.param(Workload().admitted(), True, {"spec": {"active": False}}, id="suspend-frees-the-quota"),
        pytest.param(Workload().pending(), True, {"spec": {"active": False}}, id="suspend-leaves-the-queue"),
        pytest.param(Workload().inactive("alignment-operator"), True, {}, id="suspended-already"),
        pytest.param(Workload().inactive("kueue"), True, {}, id="deactivated-already"),
        pytest.param(Workload().inactive("alignment-operator"), False, {"spec": {"active": True}}, id="resume"),
        pytest.param(
            Workload().in_queue("old").inactive("alignment-operator"),
            False,
            {"spec": {"active": True, "queueName": "gpus"}},
            id="resume-in-another-queue",
        ),
        pytest.param(Workload().inactive("kueue"), False, {}, id="kueue-deactivated-it"),
        pytest.param(Workload().inactive("kubectl-edit"), False, {}, id="an-administrator-deactivated-it"),
        pytest.param(Workload().admitted(), False, {}, id="nothing-to-do"),
        pytest.param(None, True, {}, id="no-workload-yet"),
    ],
)
def test_suspend_sets_the_workload_inactive_and_only_our_own_is_set_active_again(
    workload: Workload | None, suspend: bool, patch: dict[str, Any]
) -> None:
    job = alignment_job(status=RUN, queueName="gpus", suspend=suspend)
    decision = decide(job, seen(workload), Settings(), NOW)
    assert decision.workload == patch
    assert decision.patch == {}, "with a queue, spec.suspend of the Job is Kueue's"


def test_a_finished_jobs_workload_is_left_alone() -> None:
    ended = seen(Workload().admitted(), job=Job().complete())
    assert decide(alignment_job(status=RUN, queueName="gpus", suspend=True), ended, Settings(), NOW).workload == {}


def test_suspended_by_the_user_is_told_apart_from_waiting() -> None:
    status = status_of(seen(Workload().inactive("alignment-operator")), suspend=True)
    suspended, queued = condition(status, "Suspended"), condition(status, "Queued")
    assert (suspended["status"], suspended["reason"]) == ("True", "SuspendedByUser")
    assert "wait in queue gpus again" in suspended["message"]
    assert (queued["status"], status["phase"]) == ("False", "Suspended")


@pytest.mark.parametrize(
    ("workload", "words"),
    [
        pytest.param(
            Workload()
            .evicted("DeactivatedDueToRequeuingLimitExceeded", "The workload is deactivated due to exceeding the limit")
            .inactive("kueue"),
            "due to exceeding the limit. To go on, set spec.active of Workload job-demo-r1-1a2b3 to true",
            id="by-kueue",
        ),
        pytest.param(Workload().inactive("kubectl-patch"), "To go on, set spec.active", id="by-an-administrator"),
    ],
)
def test_a_deactivated_workload_is_neither_waiting_nor_the_users_suspension(workload: Workload, words: str) -> None:
    status = status_of(seen(workload))
    suspended = condition(status, "Suspended")
    assert (suspended["status"], suspended["reason"]) == ("True", "Deactivated")
    assert words in suspended["message"]
    assert condition(status, "Queued")["status"] == "False"
    assert condition(status, "Ready")["status"] == "False"


def test_an_admitted_run_starts() -> None:
    status = status_of(seen(Workload().admitted()))
    assert status["phase"] == "Starting"
    assert condition(status, "Queued")["reason"] == "Admitted"


def test_a_deleted_job_is_not_made_again_while_its_user_suspends_it() -> None:
    """Its new Workload would be active: the queue might admit it before anyone could say no."""
    job = alignment_job(status=RUN, queueName="gpus", suspend=True)
    decision = decide(job, Observed(kueue=Kueue.PRESENT), Settings(), NOW)
    assert (decision.start, decision.waiting) == (False, "SuspendedByUser")
    resumed = alignment_job(status=RUN, queueName="gpus")
    assert decide(resumed, Observed(kueue=Kueue.PRESENT), Settings(), NOW).start


def test_suspend_without_rights_on_workloads_is_warned_of() -> None:
    running = replace(observed(Job(), Pod().running()), kueue=Kueue.FORBIDDEN)
    warnings = status_of(running, suspend=True)["warnings"]
    assert any("rbac.kueue" in warning for warning in warnings)
    assert not any("rbac.kueue" in w for w in status_of(seen(Workload().admitted()), suspend=True)["warnings"])
    assert status_of(seen(kueue=Kueue.FORBIDDEN), suspend=True)["phase"] == "Queued", "the queue may start it"


def test_another_queue_waits_until_kueue_has_suspended_the_job() -> None:
    """Kueue's webhook refuses it before, and the refused write would keep the suspension from being asked for."""
    child = Job().queued("old")
    child.obj["spec"]["suspend"] = False
    job = alignment_job(status=RUN, queueName="gpus", suspend=True)
    running = decide(job, seen(Workload().in_queue("old").admitted(), job=child), Settings(), NOW)
    assert (running.patch, running.workload) == ({}, {"spec": {"active": False}})
    child.obj["spec"]["suspend"] = True
    stopped = decide(job, seen(Workload().in_queue("old").inactive("alignment-operator"), job=child), Settings(), NOW)
    assert stopped.patch == {"metadata": {"labels": {"kueue.x-k8s.io/queue-name": "gpus"}}}
    assert stopped.workload == {}


@pytest.mark.parametrize(
    ("child", "workload", "queue"),
    [
        pytest.param(Job().queued("default"), Workload().in_queue("default").pending(), "default", id="default-queue"),
        pytest.param(Job().suspended(), Workload().in_queue("").pending(), "none", id="jobs-without-queue-are-managed"),
        pytest.param(Job().queued("left"), None, "left", id="queue-name-removed-while-suspended"),
    ],
)
def test_a_job_that_kueue_took_by_itself_is_kueues_too(child: Job, workload: Workload | None, queue: str) -> None:
    """Writing suspend or the label against it would never end."""
    status = status_of(seen(workload, job=child), queueName=None)
    assert status["phase"] == "Queued"
    assert f"queue {queue}" in condition(status, "Queued")["message"] or "no Workload" in str(status["conditions"])
    decision = decide(alignment_job(status=RUN), seen(workload, job=child), Settings(), NOW)
    assert (decision.patch, decision.workload) == ({}, {})


def test_a_queue_name_that_was_removed_acts_from_the_next_run() -> None:
    warnings = status_of(seen(job=Job().queued("left")), queueName=None)["warnings"]
    assert any("change spec.rerun" in warning for warning in warnings)


@pytest.mark.parametrize(
    ("workload", "kind", "reason"),
    [
        pytest.param(Workload().evicted("Preempted", BY_PRIORITY), "Normal", "Preempted", id="preempted"),
        pytest.param(
            Workload().pending("LocalQueue gpus doesn't exist", "Inadmissible"),
            "Warning",
            "Inadmissible",
            id="no-queue",
        ),
        pytest.param(Workload().pending("insufficient unused quota"), "", "", id="another-message-is-no-news"),
    ],
)
def test_a_change_of_the_reason_is_told_as_an_event(workload: Workload, kind: str, reason: str) -> None:
    what = seen(Workload().pending())
    first = status_of(what)
    job = alignment_job(status=first, queueName="gpus")
    after = seen(workload)
    events = compute(job, after, decide(job, after, Settings(), NOW), NOW, Settings()).events
    assert [(event.type, event.reason) for event in events] == ([(kind, reason)] if reason else [])
    assert all(event.message.endswith(".") for event in events)
