"""AlignmentJobs in every state of their life, as the API server has them: each status is the operator's own.

The states that the unit tests know (`tests/unit/operator/test_status.py`), and those that only a second look shows: a
spec that changed, a queue that says no, a run that ended and another that is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from alignment_operator.api.alignmentjob import AlignmentJob
from alignment_operator.api.constants import API_VERSION, KIND
from alignment_operator.api.crd import root_schema
from alignment_operator.problems import SpecProblem
from alignment_operator.runs import Decision
from alignment_operator.settings import Settings
from alignment_operator.status import compute
from alignment_operator.views import Kueue, Observed
from tests.unit.operator import test_admission, test_status
from tests.unit.operator.builders import NOW, Job, Pod, alignment_job, observed, said, with_status
from tests.unit.operator.workload_builder import Workload

Object = dict[str, Any]
PODS = "Pods of the run still exist: a."


def every_state() -> dict[str, Object]:
    """Name -> AlignmentJob."""
    return _stages() | _queues() | _before_and_after()


def state(job: AlignmentJob, seen: Observed, decision: Decision) -> Object:
    """The object after the operator has looked."""
    return _object(job, compute(job, seen, decision, NOW, Settings()).status)


def _object(job: AlignmentJob, status: Object) -> Object:
    written = job.to_object()
    return {"apiVersion": API_VERSION, "kind": KIND, **written, "status": status}


def _stages() -> dict[str, Object]:
    made = {}
    for param in test_status.STAGES:
        values: Sequence[Any] = param.values
        seen, decision, spec, *_ = values
        before = {} if decision.run == 0 or decision.new_run else test_status.STARTED
        made[str(param.id)] = state(alignment_job(status=before, **spec), seen, decision)
    return made


def _queues() -> dict[str, Object]:
    job = alignment_job(queueName="gpus")
    by_kueue = Workload().inactive("kueue").evicted("Deactivated", "The workload is deactivated")
    statuses = {
        "queue-has-no-room": _queued(Workload().pending()),
        "queue-does-not-exist": _queued(Workload().pending("LocalQueue gpus doesn't exist", "Inadmissible")),
        "preempted": _queued(Workload().evicted("Preempted", test_admission.BY_PRIORITY)),
        "deactivated-by-kueue": _queued(by_kueue),
        "kueue-is-not-installed": _queued(None, Kueue.ABSENT),
        "admitted-and-not-started": _queued(Workload().admitted()),
    }
    return {name: _object(job, status) for name, status in statuses.items()}


def _queued(workload: Workload | None, kueue: Kueue = Kueue.PRESENT) -> Object:
    return test_admission.status_of(test_admission.seen(workload, kueue))


def _before_and_after() -> dict[str, Object]:
    job = alignment_job(status=test_status.STARTED)
    running = state(job, observed(Job(), Pod().running()), test_status.RUN)
    complete = state(job, observed(Job().complete(), Pod().exited(0, said())), test_status.RUN)
    changed = {**running, "metadata": {**running["metadata"], "generation": 2}}
    return {
        "not-looked-at": _object(alignment_job(), root_schema()["properties"]["status"]["default"]),
        "spec-changed-and-not-looked-at": changed,
        "complete-and-its-job-removed": _again(complete, Decision(run=1)),
        "complete-and-ttl-changed": _again(complete, Decision(run=1), ttlSecondsAfterFinished=60),
    } | _successors(complete)


def _successors(complete: Object) -> dict[str, Object]:
    """Run 1 is complete, and spec.rerun asks for run 2."""
    begin = Decision(run=2, rerun="b", new_run=True, start=True, output_path="/output/new")
    suspended = Decision(run=1, waiting="SuspendedByUser", message="spec.suspend is true; no Job has been made.")
    upstream = "Waits for AlignmentJob a, which is not complete yet."
    return {
        "rerun-waits-for-pods": _again(complete, Decision(run=1, waiting="WaitingForPods", message=PODS), rerun="b"),
        "rerun-is-suspended": _again(complete, suspended, rerun="b", suspend=True),
        "rerun-waits-for-another-job": _again(
            complete, Decision(run=1, waiting="WaitingForJob", message=upstream), rerun="b"
        ),
        "rerun-is-refused": _again(complete, Decision(run=1, problem=SpecProblem("spec.dpo", "No.")), rerun="b"),
        "rerun-begins": _again(complete, begin, rerun="b"),
    }


def _again(obj: Object, decision: Decision, **spec: Any) -> Object:
    """The spec is changed, and the operator looks again; the Job of run 1 is gone."""
    job = with_status(alignment_job(generation=2, **spec), obj["status"])
    return state(job, observed(), decision)
