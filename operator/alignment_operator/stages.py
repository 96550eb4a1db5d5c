"""Where a run stands: the one phase, every condition, and what is in its way."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from . import admission
from .api.alignmentjob import AlignmentJob
from .api.constants import ConditionType, Phase, Reason
from .api.status import Condition
from .conditions import Fact
from .live import Facts, State, live_state, suspended
from .outcome import Outcome
from .settings import Settings
from .views import Observed

if TYPE_CHECKING:
    from .runs import Decision


@dataclass(frozen=True, slots=True)
class Stage:
    """`failure`: what `status.failure` says; `look_again`: seconds until time alone changes this."""

    phase: Phase
    facts: Facts
    failure: dict[str, Any] | None = None
    look_again: float | None = None


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
    ended = _ended(job, decision, end)
    if refusal:
        state = State(Phase.REFUSED, refusal.reason, refusal.message, ready=False)
    else:
        state = _waiting(decision) or ended or live_state(job, observed, decision, now, settings)
    # how a run ended stays told while its successor is refused or waits
    failure = ended.failure if ended else state.failure
    return Stage(
        state.phase, _facts(admission.queue_of(job, observed), state, accepted, ended), failure, state.look_again
    )


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


def _facts(queue: str | None, state: State, accepted: Fact, ended: State | None) -> Facts:
    """Every condition: the defaults, what the end of the run fixes, and what the state says."""
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


def _ended(job: AlignmentJob, decision: Decision, end: Outcome | Condition | None) -> State | None:
    if end is None:
        return None
    if isinstance(end, Condition):
        failed, old = end.type == ConditionType.FAILED, job.status.failure
        failure = old.model_dump(by_alias=True) if failed and old else None
    else:
        failed, failure = end.failure is not None, end.failure.as_status() if end.failure else None
    phase, kind = (Phase.FAILED, ConditionType.FAILED) if failed else (Phase.COMPLETE, ConditionType.COMPLETE)
    fact = Fact(True, end.reason, end.message, _superseded(job, decision, kind))
    return State(phase, end.reason, end.message, not failed, failure=failure, facts={kind: fact})


def _superseded(job: AlignmentJob, decision: Decision, kind: ConditionType) -> int | None:
    """The generation that an end is about once spec.rerun asks for another run: who waits for that must not take it."""
    if decision.rerun == job.spec.rerun:
        return None
    stored = next((c.observed_generation for c in job.status.conditions or () if c.type == kind), None)
    return min(stored or 0, max(job.metadata.generation - 1, 0))


def _waiting(decision: Decision) -> State | None:
    """The operator itself waits before it makes the Job."""
    if decision.waiting is None:
        return None
    message = decision.message
    if decision.waiting == Reason.SUSPENDED_BY_USER:
        return suspended(message)
    if decision.waiting == Reason.WAITING_FOR_JOB:
        return State(Phase.PENDING, decision.waiting, message, ready=not decision.waits_in_vain)
    return State(Phase.PENDING, decision.waiting, message, moving=True)
