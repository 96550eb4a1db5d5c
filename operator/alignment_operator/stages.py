"""Where a run stands: the one phase, every condition, and what is in its way."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from . import obstacles
from .api.alignmentjob import AlignmentJob
from .api.constants import ConditionType, Phase, Reason
from .api.status import Condition
from .conditions import Fact, stamp
from .outcome import Outcome, failure_of
from .settings import Settings
from .views import JobView, Observed, PodView

if TYPE_CHECKING:
    from .runs import Decision

BACKOFF_FIRST = timedelta(seconds=10)  # the Job controller's: doubled with every failed pod, ignored ones included
BACKOFF_LAST = timedelta(minutes=10)
RESULT_RETRY_SECONDS = 5.0  # a Job has ended and its pod's end is not seen yet

Facts = dict[ConditionType, Fact]


@dataclass(frozen=True, slots=True)
class Stage:
    """`failure`: what `status.failure` says; `look_again`: seconds until time alone changes this."""

    phase: Phase
    facts: Facts
    failure: dict[str, Any] | None = None
    look_again: float | None = None


@dataclass(frozen=True, slots=True)
class _State:
    """A phase, and the conditions that differ from those of a run that has not started."""

    phase: Phase
    reason: str
    message: str
    ready: bool = True
    moving: bool = False
    failure: dict[str, Any] | None = None
    look_again: float | None = None
    facts: Facts = field(default_factory=dict)


def stage_of(
    job: AlignmentJob,
    observed: Observed,
    decision: Decision,
    end: Outcome | Condition | None,
    now: datetime,
    settings: Settings,
) -> Stage:
    """`end`: how the run ended, if it did: seen now, or as a condition that was stored before."""
    accepted, refusal = _accepted(observed, decision)
    ended = _ended(job, end)
    if refusal:
        state = _State(Phase.REFUSED, refusal.reason, refusal.message, ready=False)
        failure = ended.failure if ended else None
        return Stage(Phase.REFUSED, _facts(job, state, accepted, ended), failure)
    state = _waiting(decision) or ended or _live(job, observed, decision, now, settings)
    return Stage(state.phase, _facts(job, state, accepted, ended), state.failure, state.look_again)


def _accepted(observed: Observed, decision: Decision) -> tuple[Fact, Fact | None]:
    problem = decision.problem
    if problem:
        fact = Fact(False, problem.reason, str(problem))
    elif observed.foreign:
        text = f"{observed.foreign} is not of this AlignmentJob: delete it, or give the AlignmentJob another name."
        fact = Fact(False, Reason.NAME_TAKEN, text)
    else:
        return Fact(True, Reason.ACCEPTED, "The spec can be run."), None
    return fact, fact


def _facts(job: AlignmentJob, state: _State, accepted: Fact, ended: _State | None) -> Facts:
    """Every condition: the defaults, what the end of the run fixes, and what the state says."""
    queue = job.spec.queue_name
    facts: Facts = {
        ConditionType.ACCEPTED: accepted,
        ConditionType.QUEUED: Fact(False, Reason.ADMITTED, f"Queue {queue} has admitted the run.")
        if queue and state.phase in (Phase.STARTING, Phase.RUNNING, Phase.COMPLETE, Phase.FAILED)
        else Fact(False, Reason.NOT_QUEUED, "The job waits in no queue."),
        ConditionType.SUSPENDED: Fact(False, Reason.NOT_SUSPENDED, "The job is not suspended."),
        ConditionType.RUNNING: Fact(False, Reason.NOT_RUNNING, state.message),
        ConditionType.COMPLETE: Fact(False, Reason.NOT_FINISHED, "The run has not completed."),
        ConditionType.FAILED: Fact(False, Reason.NOT_FAILED, "The run has not failed."),
        ConditionType.READY: Fact(state.ready, state.reason, state.message),
    }
    if state.moving:
        facts[ConditionType.RECONCILING] = Fact(True, state.reason, state.message)
    if state.phase in (Phase.REFUSED, Phase.FAILED):
        facts[ConditionType.STALLED] = Fact(True, state.reason, state.message)
    return facts | (ended.facts if ended else {}) | state.facts


def _ended(job: AlignmentJob, end: Outcome | Condition | None) -> _State | None:
    if end is None:
        return None
    if isinstance(end, Condition):
        failed = end.type == ConditionType.FAILED
        failure = job.status.failure if failed else None
        return _end_state(failed, end.reason, end.message, failure.model_dump(by_alias=True) if failure else None)
    return _end_state(
        end.failure is not None, end.reason, end.message, end.failure.as_status() if end.failure else None
    )


def _end_state(failed: bool, reason: str, message: str, failure: dict[str, Any] | None) -> _State:
    phase, kind = (Phase.FAILED, ConditionType.FAILED) if failed else (Phase.COMPLETE, ConditionType.COMPLETE)
    return _State(phase, reason, message, not failed, failure=failure, facts={kind: Fact(True, reason, message)})


def _waiting(decision: Decision) -> _State | None:
    """The operator itself waits before it makes the Job."""
    if decision.waiting is None:
        return None
    message = decision.message
    if decision.waiting == Reason.SUSPENDED_BY_USER:
        return _suspended(message)
    if decision.waiting == Reason.WAITING_FOR_JOB:
        # a job that never completes, or is not there, will not change by waiting
        hopeless = message.endswith(("failed.", "does not exist."))
        return _State(Phase.PENDING, decision.waiting, message, ready=not hopeless)
    return _State(Phase.PENDING, decision.waiting, message, moving=True)


def _suspended(message: str) -> _State:
    facts = {ConditionType.SUSPENDED: Fact(True, Reason.SUSPENDED_BY_USER, message)}
    return _State(Phase.SUSPENDED, Reason.SUSPENDED_BY_USER, message, facts=facts)


def _live(job: AlignmentJob, observed: Observed, decision: Decision, now: datetime, settings: Settings) -> _State:
    child = observed.job
    if child is None:
        return _State(Phase.PENDING, Reason.STARTING, f"Run {decision.run} is about to start.", moving=True)
    if child.suspended:
        return _held(job, observed, child)
    if child.condition("Complete") or child.condition("Failed"):
        message = f"Job {child.name} has ended; its result is being read."
        return _State(Phase.RUNNING, Reason.RUNNING, message, moving=True, look_again=RESULT_RETRY_SECONDS)
    obstacle, look_again = obstacles.find(observed, job.spec.nodes, now, settings)
    if obstacle:
        return _obstructed(obstacle, look_again)
    return _started(job, observed, child, now, look_again)


def _held(job: AlignmentJob, observed: Observed, child: JobView) -> _State:
    """The Job is suspended: by the user, or by the queue."""
    stopping = sum(not pod.ended for pod in observed.pods)
    tail = f" {stopping} pods are still stopping." if stopping > 1 else " A pod is still stopping." if stopping else ""
    if job.spec.suspend:
        return _suspended(f"Run {child.run} is suspended; set spec.suspend to false to go on.{tail}")
    if job.spec.queue_name:
        message = f"Run {child.run} waits in queue {job.spec.queue_name}.{tail}"
        facts = {ConditionType.QUEUED: Fact(True, Reason.WAITING_IN_QUEUE, message)}
        return _State(Phase.QUEUED, Reason.WAITING_IN_QUEUE, message, facts=facts)
    return _State(Phase.STARTING, Reason.STARTING, f"Run {child.run} is being resumed.{tail}", moving=True)


def _obstructed(obstacle: obstacles.Obstacle, look_again: float | None) -> _State:
    message = f"{obstacle.message.rstrip('.')}. {obstacle.cure}"
    failure = {"class": obstacle.reason, "message": obstacle.message, "cure": obstacle.cure, "retryable": True}
    facts = {ConditionType.RUNNING: Fact(False, obstacle.reason, message)}
    return _State(
        Phase.STARTING,
        obstacle.reason,
        message,
        ready=False,
        moving=True,
        failure=failure,
        look_again=look_again,
        facts=facts,
    )


def _started(job: AlignmentJob, observed: Observed, child: JobView, now: datetime, look_again: float | None) -> _State:
    nodes, live = job.spec.nodes, [pod for pod in observed.pods if not pod.ended]
    running = [pod for pod in live if pod.running_since and not pod.deleting_since]
    if len(running) >= nodes or (running and _finished_pods(observed) + len(running) >= nodes):
        message = f"Run {child.run} is running on {_places(running)}."
        facts = {ConditionType.RUNNING: Fact(True, Reason.RUNNING, message)}
        return _State(Phase.RUNNING, Reason.RUNNING, message, facts=facts)
    stopped = _last_failed(observed.pods)
    if stopped and not live:
        return _backing_off(observed.pods, stopped, look_again)
    if any(pod.deleting_since for pod in live):
        message = f"A pod of run {child.run} is being stopped; the run resumes from its last checkpoint."
    else:
        message = f"Run {child.run} is starting: {len(running)} of {nodes} pods run."
    facts = {ConditionType.RUNNING: Fact(False, Reason.STARTING, message)}
    return _State(Phase.STARTING, Reason.STARTING, message, moving=True, look_again=look_again, facts=facts)


def _finished_pods(observed: Observed) -> int:
    return sum(pod.phase == "Succeeded" for pod in observed.pods)


def _places(pods: list[PodView]) -> str:
    names = sorted({pod.node or "an unknown node" for pod in pods})
    if len(names) == 1:
        return f"node {names[0]}"
    return f"{len(names)} nodes"


def _last_failed(pods: tuple[PodView, ...]) -> PodView | None:
    """The pod whose failure is told: of the last attempt's, not a survivor that ended because of it."""
    failed = [pod for pod in pods if pod.phase == "Failed"]
    last = max((time for pod in failed if (time := _end(pod))), default=None)
    if last is None:
        return failed[-1] if failed else None
    recent = [pod for pod in failed if (time := _end(pod)) and last - time < timedelta(minutes=1)]
    return next((pod for pod in recent if failure_of(pod).kind.name != "Preempted"), recent[-1])


def _end(pod: PodView) -> datetime | None:
    return (pod.terminated.finished if pod.terminated else None) or pod.deleting_since


def _backing_off(pods: tuple[PodView, ...], stopped: PodView, look_again: float | None) -> _State:
    """Kubernetes waits before the next attempt, after a free failure too: say until when."""
    failure = failure_of(stopped)
    again = "The next attempt starts soon"
    if restart := _restart_time(pods):
        again = f"The next attempt starts at about {stamp(restart)}"
    message = f"{failure.message} {again} and resumes from the last checkpoint."
    facts = {ConditionType.RUNNING: Fact(False, Reason.BACKING_OFF, message)}
    return _State(
        Phase.STARTING,
        Reason.BACKING_OFF,
        message,
        moving=True,
        failure=failure.as_status(),
        look_again=look_again,
        facts=facts,
    )


def _restart_time(pods: tuple[PodView, ...]) -> datetime | None:
    times = [time for pod in pods if pod.phase == "Failed" and (time := _end(pod))]
    if not times:
        return None
    return max(times) + min(BACKOFF_FIRST * 2 ** min(len(times) - 1, 10), BACKOFF_LAST)
