"""What holds for the status of any run, however Job, pods and events are mixed: watches deliver in any order."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from alignment_operator.api.status import Status
from alignment_operator.observed import Observed
from alignment_operator.problems import SpecProblem
from alignment_operator.runs import Decision
from alignment_operator.settings import Settings
from alignment_operator.status import compute
from tests.unit.operator.builders import NOW, Job, Pod, alignment_job, failed_create, observed, said, with_status

STARTED = {"run": 1, "jobName": "demo-r1", "outputPath": "/output/x"}
SPECS: list[dict[str, Any]] = [
    {},
    {"nodes": 2},
    {"queueName": "q"},
    {"suspend": True},
    {"queueName": "q", "suspend": True},
]
JOBS = [
    None,
    Job(),
    Job().suspended(),
    Job().queued(),
    Job().complete(),
    Job().complete(seconds=-300),
    Job().failed("PodFailurePolicy"),
    Job().failed("BackoffLimitExceeded", seconds=-300),
    Job().deadline(1).failed("DeadlineExceeded"),
    Job().with_condition("FailureTarget"),
    Job().with_condition("SuccessCriteriaMet"),
]
PODS = [
    Pod(),
    Pod(1),
    Pod().unschedulable(),
    Pod().waiting("ErrImagePull"),
    Pod().running(),
    Pod(1).running().deleted(-5),
    Pod().running().deleted(-900, grace=30),
    Pod().running().node_silent(),
    Pod().exited(0),
    Pod().exited(0, said(step=20, totalSteps=20)),
    Pod().exited(78, said("Failed", 78)),
    Pod(1).exited(75),
    Pod().exited(137, reason="OOMKilled"),
    Pod().disrupted().exited(143),
    Pod().refused_by_kubelet("Evicted", "disk"),
    Pod().init_exited("fetch", 1),
]
DECISIONS = [
    Decision(run=1),
    Decision(run=1, start=True),
    Decision(run=1, waiting="WaitingForPods", message="Pods of the run still exist: a."),
    Decision(run=1, problem=SpecProblem("spec.dpo", "No.")),
]
EVENTS = [(), (failed_create("exceeded quota"),)]

worlds = st.builds(
    lambda child, pods, events: observed(child, *pods, events=events),
    st.sampled_from(JOBS),
    st.lists(st.sampled_from(PODS), max_size=4),
    st.sampled_from(EVENTS),
)


@settings(max_examples=150, deadline=None)
@given(seen=worlds, spec=st.sampled_from(SPECS), decision=st.sampled_from(DECISIONS))
def test_any_status_is_valid_stable_and_consistent(seen: Observed, spec: dict[str, Any], decision: Decision) -> None:
    job = alignment_job(status=STARTED, **spec)
    result = compute(job, seen, decision, NOW, Settings())
    Status.model_validate(result.status)
    true = {c["type"] for c in result.status["conditions"] if c["status"] == "True"}
    assert not {"Complete", "Failed"} <= true
    assert not {"Running", "Failed"} <= true
    assert not {"Ready", "Stalled"} <= true
    assert not {"Reconciling", "Stalled"} <= true
    assert ("Failed" in true) <= ("failure" in result.status)
    again = compute(with_status(job, result.status), seen, decision, NOW, Settings())
    assert again.status["conditions"] == result.status["conditions"]
    assert (again.status["phase"], again.events) == (result.status["phase"], [])


@settings(max_examples=100, deadline=None)
@given(first=worlds, second=worlds)
def test_an_end_that_was_written_never_changes(first: Observed, second: Observed) -> None:
    job = alignment_job(status=STARTED)
    before = compute(job, first, Decision(run=1), NOW, Settings()).status
    if before["phase"] not in ("Complete", "Failed"):
        return
    after = compute(with_status(job, before), second, Decision(run=1), NOW, Settings()).status
    for name in ("phase", "failure", "result", "completionTime", "outputPath", "run", "warnings"):
        assert after.get(name) == before.get(name), name
