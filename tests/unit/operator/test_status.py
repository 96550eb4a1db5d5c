"""(spec, children, decision, now) -> status: what a user sees at every stage of a run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from alignment_operator.observed import Observed, UpstreamView
from alignment_operator.problems import SpecProblem
from alignment_operator.runs import Decision
from alignment_operator.settings import Settings
from alignment_operator.status import StatusResult, compute
from tests.unit.operator.builders import NOW, Job, Pod, alignment_job, at, failed_create, observed, said, with_status

SETTINGS = Settings()
RUN = Decision(run=1)
STARTED = {"run": 1, "jobName": "demo-r1", "outputPath": "/output/team-a/demo/abc-r1"}
BEGIN = Decision(run=1, new_run=True, start=True, output_path="/output/team-a/demo/abc-r1")


def status_of(
    seen: Observed, decision: Decision = RUN, status: dict[str, Any] | None = None, **spec: Any
) -> StatusResult:
    return compute(alignment_job(status=status or STARTED, **spec), seen, decision, NOW, SETTINGS)


def conditions(result: StatusResult) -> dict[str, tuple[str, str]]:
    return {c["type"]: (c["status"], c["reason"]) for c in result.status["conditions"]}


def message(result: StatusResult, kind: str) -> str:
    return str(next(c["message"] for c in result.status["conditions"] if c["type"] == kind))


STAGES = [
    pytest.param(observed(), BEGIN, {}, "Starting", ("True", "Starting"), id="run-begins"),
    pytest.param(observed(), BEGIN, {"queueName": "q"}, "Pending", ("True", "Starting"), id="run-begins-in-a-queue"),
    pytest.param(observed(Job()), RUN, {}, "Starting", ("True", "Starting"), id="job-without-pods-yet"),
    pytest.param(observed(Job(), Pod()), RUN, {}, "Starting", ("True", "Starting"), id="pod-is-starting"),
    pytest.param(observed(Job(), Pod().running()), RUN, {}, "Running", ("True", "Running"), id="running"),
    pytest.param(
        observed(Job(), Pod(0).running(), Pod(1)),
        RUN,
        {"nodes": 2},
        "Starting",
        ("True", "Starting"),
        id="one-of-two-runs",
    ),
    pytest.param(
        observed(Job(), Pod(0).running(), Pod(1).running()),
        RUN,
        {"nodes": 2},
        "Running",
        ("True", "Running"),
        id="both-run",
    ),
    pytest.param(
        observed(Job(), Pod(0).running(), Pod(1).exited(0)),
        RUN,
        {"nodes": 2},
        "Running",
        ("True", "Running"),
        id="a-peer-is-done",
    ),
    pytest.param(
        observed(Job(), Pod().exited(0).still_running()),
        RUN,
        {},
        "Running",
        ("True", "Running"),
        id="succeeded-before-its-phase-says-so",
    ),
    pytest.param(
        observed(Job(), Pod().exited(74).still_running()),
        RUN,
        {},
        "Running",
        ("True", "NotRunning"),
        id="failed-before-its-phase-says-so",
    ),
    pytest.param(
        observed(Job().queued()), RUN, {"queueName": "gpus"}, "Queued", ("True", "WaitingInQueue"), id="waits-in-queue"
    ),
    pytest.param(
        observed(Job().suspended()), RUN, {"suspend": True}, "Suspended", ("True", "SuspendedByUser"), id="suspended"
    ),
    pytest.param(
        observed(Job().queued()),
        RUN,
        {"queueName": "gpus", "suspend": True},
        "Suspended",
        ("True", "SuspendedByUser"),
        id="suspended-in-a-queue",
    ),
    pytest.param(
        observed(),
        Decision(waiting="SuspendedByUser", message="spec.suspend is true; no Job has been made."),
        {"suspend": True},
        "Suspended",
        ("True", "SuspendedByUser"),
        id="applied-suspended",
    ),
    pytest.param(
        observed(),
        Decision(waiting="WaitingForJob", message="Waits for AlignmentJob a, which is not complete yet."),
        {},
        "Pending",
        ("True", "WaitingForJob"),
        id="waits-for-another-job",
    ),
    pytest.param(
        observed(),
        Decision(waiting="WaitingForJob", message="Waits for AlignmentJob a, which failed.", waits_in_vain=True),
        {},
        "Pending",
        ("False", "WaitingForJob"),
        id="waits-for-a-job-that-failed",
    ),
    pytest.param(
        observed(Job(), Pod().unschedulable()), RUN, {}, "Starting", ("False", "Unschedulable"), id="unschedulable"
    ),
    pytest.param(
        observed(Job(), Pod().unschedulable().created(-5)),
        RUN,
        {},
        "Starting",
        ("True", "Starting"),
        id="unschedulable-for-a-moment",
    ),
    pytest.param(
        observed(Job(), Pod().waiting("ImagePullBackOff", "not found")),
        RUN,
        {},
        "Starting",
        ("False", "ImagePull"),
        id="image-cannot-be-pulled",
    ),
    pytest.param(
        observed(Job(), Pod().waiting("CreateContainerConfigError", 'secret "hub" not found')),
        RUN,
        {},
        "Starting",
        ("False", "PodRefused"),
        id="secret-is-missing",
    ),
    pytest.param(
        observed(Job(), events=(failed_create("exceeded quota: q"),)),
        RUN,
        {},
        "Starting",
        ("False", "PodRefused"),
        id="quota",
    ),
    pytest.param(
        observed(Job(), Pod().running(), events=(failed_create("exceeded quota: q"),)),
        RUN,
        {},
        "Running",
        ("True", "Running"),
        id="quota-that-was-raised",
    ),
    pytest.param(
        observed(Job(), Pod().running().node_silent()), RUN, {}, "Starting", ("False", "NodeLost"), id="node-is-silent"
    ),
    pytest.param(
        observed(Job(), Pod().running().deleted(-120, grace=60)),
        RUN,
        {},
        "Starting",
        ("False", "NodeLost"),
        id="pod-that-cannot-be-removed",
    ),
    pytest.param(
        observed(Job(), Pod().running().deleted(-10)),
        RUN,
        {},
        "Starting",
        ("True", "Starting"),
        id="pod-is-being-stopped",
    ),
    pytest.param(
        observed(Job(), Pod().exited(78)), RUN, {}, "Running", ("True", "NotRunning"), id="pod-failed-and-job-not-yet"
    ),
    pytest.param(
        observed(Job(), Pod(0).running(), Pod(1).exited(80)),
        RUN,
        {"nodes": 2},
        "Running",
        ("True", "NotRunning"),
        id="peers-of-the-culprit-still-run",
    ),
    pytest.param(
        observed(Job(), *(Pod(attempt=a).exited(70) for a in "abcd")),
        RUN,
        {},
        "Running",
        ("True", "NotRunning"),
        id="last-failure-that-counts",
    ),
    pytest.param(
        observed(Job().with_condition("FailureTarget"), Pod().running().deleted(-1)),
        RUN,
        {},
        "Running",
        ("True", "NotRunning"),
        id="job-stops-its-pods",
    ),
    pytest.param(
        observed(Job().with_condition("SuccessCriteriaMet"), Pod(0).exited(0), Pod(1).running()),
        RUN,
        {"nodes": 2},
        "Running",
        ("True", "Running"),
        id="leader-is-done",
    ),
    pytest.param(
        observed(Job(), Pod(0).exited(0)),
        RUN,
        {},
        "Running",
        ("True", "Running"),
        id="pod-is-done-and-its-job-has-not-counted-it",
    ),
    pytest.param(
        observed(Job(), Pod(attempt="a").exited(78).of_job("deleted"), Pod(attempt="b").running()),
        RUN,
        {},
        "Running",
        ("True", "Running"),
        id="a-pod-of-the-job-that-was-deleted-by-hand",
    ),
    pytest.param(observed(Job(), Pod().exited(70)), RUN, {}, "Starting", ("True", "BackingOff"), id="between-attempts"),
    pytest.param(
        observed(Job().complete(), Pod().exited(0, said())), RUN, {}, "Complete", ("True", "Complete"), id="complete"
    ),
    pytest.param(
        observed(Job().failed("PodFailurePolicy"), Pod().exited(78)),
        RUN,
        {},
        "Failed",
        ("False", "UserError"),
        id="failed",
    ),
    pytest.param(
        observed(),
        Decision(problem=SpecProblem("spec.dpo", "No.")),
        {},
        "Refused",
        ("False", "InvalidSpec"),
        id="refused",
    ),
    pytest.param(
        replace(observed(), foreign="Job team-a/demo-r1"),
        BEGIN,
        {},
        "Refused",
        ("False", "NameTaken"),
        id="name-is-taken",
    ),
]


@pytest.mark.parametrize(("seen", "decision", "spec", "phase", "ready"), STAGES)
def test_a_stage_is_one_phase_and_one_ready_condition(
    seen: Observed, decision: Decision, spec: dict[str, Any], phase: str, ready: tuple[str, str]
) -> None:
    result = status_of(seen, decision, status={} if decision.run == 0 or decision.new_run else None, **spec)
    assert (result.status["phase"], conditions(result)["Ready"]) == (phase, ready)


@pytest.mark.parametrize(("seen", "decision", "spec", "phase", "ready"), STAGES)
def test_every_stage_has_every_condition_and_is_stable(
    seen: Observed, decision: Decision, spec: dict[str, Any], phase: str, ready: tuple[str, str]
) -> None:
    job = alignment_job(status={} if decision.run == 0 or decision.new_run else STARTED, generation=7, **spec)
    first = compute(job, seen, decision, NOW, SETTINGS)
    always = {"Accepted", "Queued", "Suspended", "Running", "Complete", "Failed", "Ready"}
    kinds = [c["type"] for c in first.status["conditions"]]
    assert always <= set(kinds) <= always | {"Reconciling", "Stalled"}
    assert all(c["observedGeneration"] == 7 and c["message"].endswith(".") for c in first.status["conditions"])
    assert all(c["status"] == "True" for c in first.status["conditions"] if c["type"] in ("Reconciling", "Stalled"))
    if decision.new_run:
        return
    again = compute(with_status(job, first.status), seen, decision, NOW, SETTINGS)
    unread = {"progress", "metrics"}
    assert {k: v for k, v in again.status.items() if k not in unread} == {
        k: v for k, v in first.status.items() if k not in unread
    }
    assert again.events == []


@pytest.mark.parametrize(
    ("seen", "spec", "kind", "expected"),
    [
        pytest.param(observed(Job().queued()), {"queueName": "q"}, "Queued", ("True", "WaitingInQueue"), id="queued"),
        pytest.param(observed(Job(), Pod()), {"queueName": "q"}, "Queued", ("False", "Admitted"), id="admitted"),
        pytest.param(observed(Job(), Pod()), {}, "Queued", ("False", "NotQueued"), id="no-queue"),
        pytest.param(
            observed(Job().suspended()), {"suspend": True}, "Suspended", ("True", "SuspendedByUser"), id="suspended"
        ),
        pytest.param(
            observed(Job().queued()), {"queueName": "q"}, "Suspended", ("False", "NotSuspended"), id="not-by-user"
        ),
        pytest.param(observed(Job(), Pod().running()), {}, "Running", ("True", "Running"), id="running"),
        pytest.param(
            observed(Job(), Pod().unschedulable()), {}, "Running", ("False", "Unschedulable"), id="not-running"
        ),
        pytest.param(observed(Job(), Pod().running()), {}, "Accepted", ("True", "Accepted"), id="accepted"),
    ],
)
def test_conditions(seen: Observed, spec: dict[str, Any], kind: str, expected: tuple[str, str]) -> None:
    assert conditions(status_of(seen, **spec))[kind] == expected


@pytest.mark.parametrize(
    ("seen", "decision", "stalled", "reconciling"),
    [
        pytest.param(observed(Job(), Pod()), RUN, False, True, id="starting"),
        pytest.param(observed(Job(), Pod().running()), RUN, False, False, id="running"),
        pytest.param(observed(Job().failed("PodFailurePolicy"), Pod().exited(78)), RUN, True, False, id="failed"),
        pytest.param(observed(Job().complete(), Pod().exited(0, said())), RUN, False, False, id="complete"),
        pytest.param(observed(Job(), Pod().unschedulable()), RUN, False, True, id="may-heal"),
        pytest.param(observed(), Decision(problem=SpecProblem("spec", "No.")), True, False, id="refused"),
    ],
)
def test_gitops_tools_stop_waiting_only_when_waiting_cannot_help(
    seen: Observed, decision: Decision, stalled: bool, reconciling: bool
) -> None:
    found = conditions(status_of(seen, decision))
    assert ("Stalled" in found, "Reconciling" in found) == (stalled, reconciling)


def test_the_first_status_of_a_run_names_it_before_its_job_exists() -> None:
    result = status_of(observed(), replace(BEGIN, rerun="a"), status={})
    fields = {name: result.status[name] for name in ("run", "rerun", "jobName", "outputPath", "method")}
    assert fields == {
        "run": 1,
        "rerun": "a",
        "jobName": "demo-r1",
        "outputPath": "/output/team-a/demo/abc-r1",
        "method": "DPO",
    }
    assert result.take_over_progress
    assert result.status["progress"] == {"run": 1}
    assert "metrics" not in result.status


def test_a_running_job_leaves_progress_to_its_endpoint() -> None:
    result = status_of(observed(Job(), Pod().running()))
    assert not result.take_over_progress
    assert not result.status.keys() & {"progress", "metrics"}


def test_transition_times_move_with_the_status_alone() -> None:
    job = alignment_job(status=STARTED)
    first = compute(job, observed(Job(), Pod()), RUN, NOW, SETTINGS)
    old = [{**c, "lastTransitionTime": at(-1000)} for c in first.status["conditions"]]
    seen = observed(Job(), Pod().running())
    result = compute(with_status(job, {**first.status, "conditions": old}), seen, RUN, NOW, SETTINGS)
    times = {c["type"]: c["lastTransitionTime"] for c in result.status["conditions"]}
    assert times["Running"] == at(0)
    assert times["Ready"] == times["Accepted"] == at(-1000)


def test_a_refused_first_run_gives_its_name_up_so_that_the_spec_may_be_mended() -> None:
    refused = Decision(run=1, problem=SpecProblem("spec.podTemplate", "No.", "PodInvalid"))
    result = status_of(observed(), refused)
    assert conditions(result)["Accepted"] == ("False", "PodInvalid")
    assert not result.status.keys() & {"jobName", "jobUID", "outputPath"}


def test_a_refusal_names_the_field() -> None:
    result = status_of(observed(), Decision(problem=SpecProblem("spec.dpo.beta", "Must be at least 0.")), status={})
    assert message(result, "Accepted") == "spec.dpo.beta: Must be at least 0."
    assert message(result, "Stalled") == message(result, "Ready") == message(result, "Accepted")


def test_a_spec_that_cannot_be_read_whole_still_gets_a_status() -> None:
    result = status_of(observed(), Decision(problem=SpecProblem("spec", "No method.")), status={}, dpo=None)
    assert result.status["phase"] == "Refused"
    assert "method" not in result.status


ENDED = {
    **STARTED,
    "startTime": at(-600),
    "completionTime": at(-60),
    "warnings": ["kept"],
    "conditions": [
        {"type": "Failed", "status": "True", "reason": "Diverged", "message": "NaN.", "lastTransitionTime": at(-60)}
    ],
    "failure": {"class": "Diverged", "message": "NaN.", "cure": "Lower it.", "exitCode": 81, "retryable": False},
}


@pytest.mark.parametrize(
    "seen", [observed(), observed(Job(), Pod().running()), observed(Job().complete(), Pod().exited(0, said()))]
)
def test_a_terminal_run_is_final_whatever_becomes_of_its_job(seen: Observed) -> None:
    result = status_of(seen, status=ENDED)
    assert result.status["phase"] == "Failed"
    assert result.status["failure"] == ENDED["failure"]
    assert result.status["completionTime"] == at(-60)
    assert result.status["warnings"] == ["kept"]
    assert conditions(result)["Failed"] == ("True", "Diverged")
    assert not result.take_over_progress


def test_rerun_starts_afresh_and_remembers_the_run_before() -> None:
    begin = Decision(run=2, rerun="b", new_run=True, start=True, output_path="/output/new")
    result = status_of(observed(), begin, status={**ENDED, "rerun": "a"}, rerun="b")
    assert (result.status["run"], result.status["rerun"], result.status["jobName"]) == (2, "b", "demo-r2")
    assert not result.status.keys() & {"failure", "completionTime", "startTime", "result", "jobUID"}
    assert result.status["runs"] == [
        {
            "run": 1,
            "rerun": "a",
            "outcome": "Failed",
            "reason": "Diverged",
            "startTime": at(-600),
            "completionTime": at(-60),
            "outputPath": "/output/team-a/demo/abc-r1",
        }
    ]
    assert [event.reason for event in result.events] == ["Rerun"]


def test_a_run_that_was_stopped_for_its_successor_is_replaced() -> None:
    begin = Decision(run=2, rerun="b", new_run=True, start=True, output_path="/output/new")
    (entry,) = status_of(observed(), begin).status["runs"]
    assert (entry["outcome"], entry["reason"]) == ("Replaced", "Rerun")


def test_history_is_bounded_and_keeps_the_latest() -> None:
    past = [{"run": number, "outcome": "Failed"} for number in range(1, 11)]
    begin = Decision(run=12, new_run=True, start=True, output_path="/output/new")
    runs = status_of(observed(), begin, status={**STARTED, "run": 11, "runs": past}).status["runs"]
    assert [entry["run"] for entry in runs] == list(range(2, 12))


def test_a_new_rerun_that_is_refused_leaves_the_old_run_as_it_ended() -> None:
    result = status_of(observed(), Decision(run=1, problem=SpecProblem("spec.dpo", "No.")), status=ENDED)
    assert result.status["phase"] == "Refused"
    assert conditions(result)["Failed"] == ("True", "Diverged")
    assert result.status["jobName"] == "demo-r1"


@pytest.mark.parametrize(
    "decision",
    [
        Decision(run=1, rerun="a", waiting="WaitingForPods", message="Pods of the run still exist: a."),
        Decision(run=1, rerun="a", waiting="SuspendedByUser", message="spec.suspend is true; no Job has been made."),
        Decision(run=1, rerun="a", problem=SpecProblem("spec.dpo", "No.")),
    ],
    ids=["stops", "suspended", "refused"],
)
def test_an_end_is_of_its_own_spec_once_another_run_is_asked_for(decision: Decision) -> None:
    stored = {**ENDED, "rerun": "a", "conditions": [{**ENDED["conditions"][0], "observedGeneration": 3}]}
    job = alignment_job(status=stored, generation=5, rerun="b")
    status = compute(job, observed(), decision, NOW, SETTINGS).status
    assert generations(status) == {"Failed": 3} | dict.fromkeys(generations(status).keys() - {"Failed"}, 5)
    again = compute(with_status(job, status), observed(), decision, NOW, SETTINGS).status
    assert generations(again) == generations(status)


def test_a_run_that_ends_while_it_is_stopped_for_its_successor_is_not_the_end_of_the_new_spec() -> None:
    seen = observed(Job().complete(), Pod().exited(0, said()))
    stop = Decision(run=1, rerun="a", stop_run=1, waiting="WaitingForPods", message="Run 1 is stopped.")
    waiting = {"type": "Complete", "status": "False", "reason": "", "message": "", "lastTransitionTime": at(-9)}
    stored = {**STARTED, "rerun": "a", "conditions": [{**waiting, "observedGeneration": 2}]}
    job = alignment_job(status=stored, generation=2, rerun="b")
    status = compute(job, seen, stop, NOW, SETTINGS).status
    assert (generations(status)["Complete"], generations(status)["Ready"]) == (1, 2)


def test_an_end_is_of_the_present_spec_while_no_other_run_is_asked_for() -> None:
    job = alignment_job(status={**ENDED, "rerun": "a"}, generation=5, rerun="a", ttlSecondsAfterFinished=60)
    status = compute(job, observed(), Decision(run=1, rerun="a"), NOW, SETTINGS).status
    assert set(generations(status).values()) == {5}


def generations(status: dict[str, Any]) -> dict[str, int]:
    return {c["type"]: c["observedGeneration"] for c in status["conditions"]}


def test_start_time_is_that_of_the_first_start_although_a_suspension_resets_the_jobs() -> None:
    first = status_of(observed(Job(), Pod().running())).status["startTime"]
    assert first == at(-60)
    assert status_of(observed(Job(), Pod()), status={**STARTED, "startTime": at(-900)}).status["startTime"] == at(-900)


def test_an_unschedulable_pod_is_looked_at_again_when_its_grace_is_over() -> None:
    assert status_of(observed(Job(), Pod().unschedulable().created(-5))).look_again == pytest.approx(15)


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        pytest.param(observed(Job(), Pod().unschedulable()), ["0/3 nodes", "spec.gpusPerNode"], id="unschedulable"),
        pytest.param(
            observed(Job(), Pod().unschedulable('persistentvolumeclaim "models" not found')),
            ["models", "spec.output.volume"],
            id="claim-is-missing",
        ),
        pytest.param(
            observed(Job(), Pod().waiting("ErrImagePull", "not found")), ["not found", "spec.image"], id="image"
        ),
        pytest.param(
            observed(Job(), events=(failed_create('Error creating: pods "x" is forbidden: exceeded quota: q'),)),
            ["exceeded quota", "spec.resources"],
            id="quota",
        ),
        pytest.param(
            observed(Job(), events=(failed_create('violates PodSecurity "restricted:latest"'),)),
            ["PodSecurity", "spec.podTemplate"],
            id="pod-security",
        ),
        pytest.param(
            observed(Job(), events=(failed_create('error looking up service account: serviceaccount "t" not found'),)),
            ["serviceaccount", "spec.podTemplate.spec.serviceAccountName"],
            id="service-account",
        ),
        pytest.param(
            observed(Job(), Pod().waiting("CreateContainerConfigError", 'secret "hub" not found')),
            ["hub", "spec.hub.secretName"],
            id="secret",
        ),
        pytest.param(observed(Job(), Pod().running().node_silent()), ["node-0", "out-of-service"], id="node"),
        pytest.param(
            observed(Job(), Pod().running().node_silent().deleted(-1)), ["node-0", "out-of-service"], id="node-evicted"
        ),
    ],
)
def test_what_is_in_the_way_is_told_with_its_cure(seen: Observed, words: list[str]) -> None:
    result = status_of(seen)
    assert all(word in message(result, "Ready") for word in words)
    failure = result.status["failure"]
    assert failure["class"] == conditions(result)["Ready"][1]
    assert failure["cure"] in message(result, "Running")
    assert failure["retryable"] is True


def test_what_was_in_the_way_is_forgotten_when_it_is_gone() -> None:
    stuck = status_of(observed(Job(), Pod().unschedulable()))
    job = with_status(alignment_job(status=STARTED), stuck.status)
    assert "failure" not in compute(job, observed(Job(), Pod().running()), RUN, NOW, SETTINGS).status


def test_an_old_refusal_of_pods_is_no_news_once_a_pod_was_made() -> None:
    seen = observed(Job(), Pod().created(-10), events=(failed_create("exceeded quota", -30),))
    assert status_of(seen).status["phase"] == "Starting"
    assert conditions(status_of(seen))["Ready"] == ("True", "Starting")


@pytest.mark.parametrize(("failures", "seconds"), [(1, 10), (2, 20), (4, 80), (9, 600)])
def test_between_attempts_status_says_when_the_next_one_starts(failures: int, seconds: int) -> None:
    pods = [Pod(attempt=str(i)).exited(75, seconds=-5 - 100 * i) for i in range(failures)]
    result = status_of(observed(Job(), *pods))
    assert f"The next attempt starts at about {at(-5 + seconds)}" in message(result, "Running")
    assert (result.status["failure"]["class"], result.status["failure"]["retryable"]) == ("Preempted", True)


@pytest.mark.parametrize(("code", "reason", "cure"), [(137, "OOMKilled", True), (75, "Error", False)])
def test_between_attempts_what_counts_is_told_with_its_cure(code: int, reason: str, cure: bool) -> None:
    result = status_of(observed(Job(), Pod().exited(code, reason=reason)))
    assert result.status["phase"] == "Starting"
    assert (result.status["failure"]["cure"] in message(result, "Running")) is cure


def test_between_attempts_the_culprit_is_told_and_not_its_peers() -> None:
    seen = observed(Job(), Pod(0).exited(75, seconds=-4), Pod(1).exited(74, "disk full", seconds=-6))
    assert status_of(seen, nodes=2).status["failure"]["class"] == "StorageError"


def test_an_upstream_of_a_running_job_changes_nothing() -> None:
    upstream = UpstreamView(name="first", exists=True, failed=True)
    seen = observed(Job(), Pod().running(), upstream=upstream)
    assert status_of(seen, model={"fromJob": "first"}).status["phase"] == "Running"
