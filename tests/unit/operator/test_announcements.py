"""Events: a sentence for every transition, and none without one."""

from __future__ import annotations

from typing import Any

import pytest

from alignment_operator.observed import Observed
from alignment_operator.problems import SpecProblem
from alignment_operator.runs import Decision
from alignment_operator.settings import Settings
from alignment_operator.status import compute
from tests.unit.operator.builders import NOW, Job, Pod, alignment_job, observed, said, with_status

RUN = Decision(run=1)
BEGIN = Decision(run=1, new_run=True, start=True, output_path="/output/x")
REFUSED = Decision(problem=SpecProblem("spec.dpo", "No."))
Step = tuple[Observed, Decision, dict[str, Any]]
BEGUN: Step = (observed(), BEGIN, {})
QUEUED: Step = (observed(Job().queued()), RUN, {"queueName": "gpus"})
STARTING: Step = (observed(Job(), Pod()), RUN, {})
RUNNING: Step = (observed(Job(), Pod().running()), RUN, {})
STUCK: Step = (observed(Job(), Pod().unschedulable()), RUN, {})
PULLING: Step = (observed(Job(), Pod().waiting("ErrImagePull", "x")), RUN, {})
STOPPED: Step = (observed(Job(), Pod().exited(75)), RUN, {})
SUSPENDED: Step = (observed(Job().suspended()), RUN, {"suspend": True})
COMPLETE: Step = (observed(Job().complete(), Pod().exited(0, said())), RUN, {})
FAILED: Step = (observed(Job().failed("PodFailurePolicy"), Pod().exited(78)), RUN, {})
NO: Step = (observed(), REFUSED, {})


@pytest.mark.parametrize(
    ("steps", "events"),
    [
        pytest.param([BEGUN], [("Normal", "Created")], id="begins"),
        pytest.param([BEGUN, STARTING], [], id="starting-is-no-news"),
        pytest.param([STARTING, RUNNING], [], id="runs-as-was-said"),
        pytest.param([BEGUN, QUEUED], [("Normal", "WaitingInQueue")], id="queued"),
        pytest.param(
            [QUEUED, (observed(Job(), Pod()), RUN, {"queueName": "gpus"})], [("Normal", "Admitted")], id="admitted"
        ),
        pytest.param([STARTING, STUCK], [("Warning", "Unschedulable")], id="stuck"),
        pytest.param([STUCK, STUCK], [], id="still-stuck"),
        pytest.param([STUCK, PULLING], [("Warning", "ImagePull")], id="stuck-elsewhere"),
        pytest.param([STUCK, RUNNING], [("Normal", "Running")], id="heals"),
        pytest.param([RUNNING, STOPPED], [("Normal", "BackingOff")], id="preempted"),
        pytest.param([RUNNING, SUSPENDED], [("Normal", "SuspendedByUser")], id="suspended"),
        pytest.param([SUSPENDED, STARTING], [("Normal", "NotSuspended")], id="resumed"),
        pytest.param([RUNNING, COMPLETE], [("Normal", "Complete")], id="complete"),
        pytest.param([RUNNING, FAILED], [("Warning", "UserError")], id="failed"),
        pytest.param([FAILED, FAILED], [], id="still-failed"),
        pytest.param([NO], [("Warning", "InvalidSpec")], id="refused"),
        pytest.param([NO, NO], [], id="still-refused"),
    ],
)
def test_a_transition_is_told_once(steps: list[Step], events: list[tuple[str, str]]) -> None:
    status: dict[str, Any] = {}
    for seen, decision, spec in steps:
        job = with_status(alignment_job(**spec), status)
        result = compute(job, seen, decision, NOW, Settings())
        status = result.status
    assert [(event.type, str(event.reason)) for event in result.events] == events
    assert all(event.message.endswith(".") and len(event.message.split()) > 1 for event in result.events)
