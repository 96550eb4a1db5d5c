"""Where a run stands whose Job exists: held, obstructed, starting, running, between attempts, about to end."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from . import admission, obstacles
from .api.alignmentjob import AlignmentJob
from .api.constants import ConditionType, Phase, Reason
from .conditions import Fact, stamp
from .outcome import failure_of, is_decided
from .settings import Settings
from .views import JobView, Observed, PodView

if TYPE_CHECKING:
    from .runs import Decision

BACKOFF_FIRST = timedelta(seconds=10)  # the Job controller's: doubled with every failed pod, ignored ones included
BACKOFF_LAST = timedelta(minutes=10)
RESULT_RETRY_SECONDS = 5.0  # a Job has ended and its pod's end is not seen yet

Facts = dict[ConditionType, Fact]


@dataclass(frozen=True, slots=True)
class State:
    """A phase, and the conditions that differ from those of a run that has not started."""

    phase: Phase
    reason: str
    message: str
    ready: bool = True
    moving: bool = False
    failure: dict[str, Any] | None = None
    look_again: float | None = None
    facts: Facts = field(default_factory=dict)


def suspended(message: str) -> State:
    facts = {ConditionType.SUSPENDED: Fact(True, Reason.SUSPENDED_BY_USER, message)}
    return State(Phase.SUSPENDED, Reason.SUSPENDED_BY_USER, message, facts=facts)


def live_state(job: AlignmentJob, observed: Observed, decision: Decision, now: datetime, settings: Settings) -> State:
    child = observed.job
    if child is None:
        return _beginning(job, decision.run)
    if child.suspended:
        return _held(job, observed, child, now)
    if child.condition("Complete") or child.condition("Failed"):
        message = f"Job {child.name} has ended; its result is being read."
        return State(Phase.RUNNING, Reason.RUNNING, message, moving=True, look_again=RESULT_RETRY_SECONDS)
    if ending := _ending(observed, child):
        return ending
    obstacle, look_again = obstacles.find(observed, job.spec.nodes, now, settings)
    if obstacle:
        return _obstructed(obstacle, look_again)
    return _started(job, observed, child, now, look_again)


def _beginning(job: AlignmentJob, run: int) -> State:
    """Its Job is made next. In no queue its pods are too: what is told of them now is worth no write a moment later."""
    if job.spec.queue_name:
        return State(Phase.PENDING, Reason.STARTING, f"Run {run} is about to start.", moving=True)
    return _starting(_pods_run(run, 0, job.spec.nodes))


def _ending(observed: Observed, child: JobView) -> State | None:
    """Nothing starts any more, and the Job has not ended yet: its last pods stop, or its controller has not looked."""
    # The first pod decides a success, and it is seen before the Job controller has counted it
    if child.condition("SuccessCriteriaMet") or any(p.index == 0 and p.succeeded for p in observed.own_pods):
        message = f"Run {child.run} has completed; its pods are being counted."
        return State(Phase.RUNNING, Reason.RUNNING, message, moving=True)
    pod = is_decided(child, observed.own_pods)
    if pod is None and not child.condition("FailureTarget"):
        return None
    message = f"Run {child.run} is ending: {failure_of(pod).message}" if pod else f"Run {child.run} is being stopped."
    return State(Phase.RUNNING, Reason.NOT_RUNNING, message, moving=True)


def _held(job: AlignmentJob, observed: Observed, child: JobView, now: datetime) -> State:
    """The Job is suspended: by the user, or by the queue."""
    stopping = sum(not pod.ended for pod in observed.own_pods)
    tail = f" {stopping} pods are still stopping." if stopping > 1 else " A pod is still stopping." if stopping else ""
    queue = admission.queue_of(job, observed)
    if job.spec.suspend and admission.may_suspend(job, observed):
        again = f"wait in queue {queue} again" if queue else "go on"
        return suspended(f"Run {child.run} is suspended; set spec.suspend to false to {again}.{tail}")
    if queue:
        return _queued(admission.standing(job, observed, child, now), tail)
    return State(Phase.STARTING, Reason.STARTING, f"Run {child.run} is being resumed.{tail}", moving=True)


def _queued(standing: admission.Standing, tail: str) -> State:
    if standing.reason == Reason.ADMITTED:
        return State(Phase.STARTING, Reason.STARTING, standing.message + tail, moving=True)
    message = standing.message + tail
    phase = Phase.QUEUED if standing.condition is ConditionType.QUEUED else Phase.SUSPENDED
    facts = {standing.condition: Fact(True, standing.reason, message)}
    return State(phase, standing.reason, message, standing.ready, look_again=standing.look_again, facts=facts)


def _obstructed(obstacle: obstacles.Obstacle, look_again: float | None) -> State:
    message = f"{obstacle.message.rstrip('.')}. {obstacle.cure}"
    failure = {"class": obstacle.reason, "message": obstacle.message, "cure": obstacle.cure, "retryable": True}
    facts = {ConditionType.RUNNING: Fact(False, obstacle.reason, message)}
    return State(
        Phase.STARTING,
        obstacle.reason,
        message,
        ready=False,
        moving=True,
        failure=failure,
        look_again=look_again,
        facts=facts,
    )


def _started(job: AlignmentJob, observed: Observed, child: JobView, now: datetime, look_again: float | None) -> State:
    nodes, live = job.spec.nodes, [pod for pod in observed.own_pods if not pod.ended]
    running = [pod for pod in live if pod.running_since and not pod.deleting_since]
    if len(running) >= nodes or (running and _finished_pods(observed) + len(running) >= nodes):
        message = f"Run {child.run} is running on {_places(running)}."
        facts = {ConditionType.RUNNING: Fact(True, Reason.RUNNING, message)}
        return State(Phase.RUNNING, Reason.RUNNING, message, facts=facts)
    stopped = _last_failed(observed.own_pods)
    if stopped and not live:
        return _backing_off(observed.own_pods, stopped, look_again)
    if any(pod.terminated for pod in live):
        message = f"The trainer of run {child.run} has ended; how is being read."
        return State(Phase.RUNNING, Reason.NOT_RUNNING, message, moving=True)
    if any(pod.deleting_since for pod in live):
        message = f"A pod of run {child.run} is being stopped; the run resumes from its last checkpoint."
    else:
        message = _pods_run(child.run, len(running), nodes)
    return _starting(message, look_again)


def _pods_run(run: int, running: int, nodes: int) -> str:
    return f"Run {run} is starting: {running} of {nodes} pods run."


def _starting(message: str, look_again: float | None = None) -> State:
    facts = {ConditionType.RUNNING: Fact(False, Reason.STARTING, message)}
    return State(Phase.STARTING, Reason.STARTING, message, moving=True, look_again=look_again, facts=facts)


def _finished_pods(observed: Observed) -> int:
    return sum(pod.succeeded for pod in observed.own_pods)


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


def _backing_off(pods: tuple[PodView, ...], stopped: PodView, look_again: float | None) -> State:
    """Kubernetes waits before the next attempt, after a free failure too: say until when."""
    failure = failure_of(stopped)
    again = "The next attempt starts soon"
    if restart := _restart_time(pods):
        again = f"The next attempt starts at about {stamp(restart)}"
    cure = f"{failure.cure} " if failure.kind.retry == "counted" else ""  # what is free needs none
    message = f"{failure.message} {cure}{again} and resumes from the last checkpoint."
    facts = {ConditionType.RUNNING: Fact(False, Reason.BACKING_OFF, message)}
    return State(
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
