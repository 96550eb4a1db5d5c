"""(AlignmentJob, children, decision, now) -> the whole status, and the events that its changes are worth.

Pure: equal input gives equal output, so a status is written only when something happened. Everything is derived from
what exists now; of the stored status only what cannot be seen again is kept: a run's end, its start time, the history.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from . import conditions, outcome, takeover, unwise, usage
from .announcements import Event as Event
from .announcements import announce
from .api.alignmentjob import AlignmentJob
from .api.constants import Phase
from .api.status import Condition, Status
from .conditions import stamp
from .observed import parse_time
from .problems import SpecProblem
from .recipe import child_name, method_of
from .settings import Settings
from .stages import Stage, stage_of
from .views import JobView, Observed

if TYPE_CHECKING:
    from .runs import Decision


@dataclass(frozen=True, slots=True)
class StatusResult:
    """`status` is complete but for `progress` and `metrics`, which it holds only with `take_over_progress`.

    `look_again`: seconds until time alone changes the status; None: never.
    """

    status: dict[str, Any]
    events: list[Event] = field(default_factory=list)
    look_again: float | None = None
    take_over_progress: bool = False


def compute(
    job: AlignmentJob, observed: Observed, decision: Decision, now: datetime, settings: Settings
) -> StatusResult:
    """The status that follows from what is observed and decided. Never raises for a spec that reading let through."""
    over = _stored_end(job, decision)
    end = None if over or decision.new_run else outcome.of(observed, now)
    stage = stage_of(job, observed, decision, over or end, now, settings)
    status: dict[str, Any] = {
        "observedGeneration": job.metadata.generation,
        "method": _method(job),
        "phase": stage.phase.value,
        "conditions": conditions.write(stage.facts, job.status.conditions, job.metadata.generation, now),
        "warnings": _warnings(job, observed, decision, over, end, settings),
        "failure": stage.failure,
        **_run(job, observed, decision, end, stage, settings, now),
    }
    taken = takeover.at_start(decision.run) if decision.new_run else {}
    if end:
        taken = takeover.at_end(job, decision.run, end)
        status["result"] = takeover.result(end, status.get("outputPath"))
    events = announce(stage.facts, job.status.conditions, decision, status)
    look_again = stage.look_again
    return StatusResult(_clean(status | taken), events, look_again, bool(taken))


def _clean(status: Mapping[str, Any]) -> dict[str, Any]:
    """In the schema's words only: what the API server would prune must not look like a change for ever."""
    known = Status.model_validate({name: value for name, value in status.items() if value not in (None, [], {})})
    return known.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)


def _stored_end(job: AlignmentJob, decision: Decision) -> Condition | None:
    """The stored condition that says that the current run is over: final, whatever becomes of its Job."""
    if decision.new_run or decision.run != (job.status.run or 0):
        return None
    return job.status.end


def _method(job: AlignmentJob) -> str | None:
    try:
        return method_of(job.spec).word
    except SpecProblem:
        return None


def _run(
    job: AlignmentJob,
    observed: Observed,
    decision: Decision,
    end: outcome.Outcome | None,
    stage: Stage,
    settings: Settings,
    now: datetime,
) -> dict[str, Any]:
    """The fields about the current run, and the history of those before it."""
    if not decision.run:
        return {}
    spent = _usage(job, observed, decision, end, settings, now)
    if decision.new_run:
        return _new_run(job, decision, spent, settings)
    over = {"completionTime": stamp(end.time) if end.time else None} if end else {}
    return {
        **_kept(job, observed.job, decision),
        "usage": spent,
        **_children(job, observed.job, decision, stage),
        **over,
    }


def _kept(job: AlignmentJob, child: JobView | None, decision: Decision) -> dict[str, Any]:
    """What is stored of the current run, and is not seen again."""
    old = job.status
    return {
        "run": decision.run,
        "rerun": decision.rerun,
        "runs": _dump(old.runs),
        "startTime": old.start_time or (stamp(child.start_time) if child and child.start_time else None),
        "completionTime": old.completion_time,
        "result": old.result.model_dump(by_alias=True, exclude_none=True) if old.result else None,
    }


def _children(job: AlignmentJob, child: JobView | None, decision: Decision, stage: Stage) -> dict[str, Any]:
    """A refused run that never was gives its name up: the spec may be mended then."""
    if stage.phase is Phase.REFUSED and not child and not _stored_end(job, decision):
        return {}
    return {
        "jobName": child_name(job.metadata.name, decision.run),
        "jobUID": child.uid if child else job.status.job_uid,
        "outputPath": job.status.output_path,
    }


def _usage(
    job: AlignmentJob,
    observed: Observed,
    decision: Decision,
    end: outcome.Outcome | None,
    settings: Settings,
    now: datetime,
) -> dict[str, Any] | None:
    """GPU time of the current run; where a new one begins, of the one that is over with that."""
    over = _stored_end(job, decision)
    since = end.time if end else parse_time(over.last_transition_time) if over else None
    made = parse_time(job.metadata.creation_timestamp)
    pods, gone = (observed.before, ()) if decision.new_run else (observed.pods, observed.gone)
    # pods of an earlier AlignmentJob of this name are its affair
    pods, gone = (tuple(p for p in ps if not made or not p.created or p.created >= made) for ps in (pods, gone))
    resource = job.spec.gpu_resource or settings.pods.gpu_resource
    closed = bool(over or end or decision.new_run)
    return usage.account(job.status.usage, usage.Seen(pods, gone, since), resource, settings.usage, now, closed)


def _new_run(job: AlignmentJob, decision: Decision, spent: dict[str, Any] | None, settings: Settings) -> dict[str, Any]:
    return {
        "run": decision.run,
        "rerun": decision.rerun,
        "runs": _history(job, decision, spent or {}, settings.run_history),
        "usage": usage.of_next_run(spent),
        "jobName": child_name(job.metadata.name, decision.run),
        "outputPath": decision.output_path,
    }


def _history(job: AlignmentJob, decision: Decision, spent: dict[str, Any], limit: int) -> list[dict[str, Any]]:
    """The runs before this one, oldest first; a run that was stopped for its successor is Replaced."""
    old, past = job.status, _dump(job.status.runs)
    if old.run and old.run != decision.run:
        end = old.end
        entry = {
            "run": old.run,
            "rerun": old.rerun,
            "outcome": end.type if end else "Replaced",
            "reason": end.reason if end else "Rerun",
            "startTime": old.start_time,
            "completionTime": old.completion_time,
            "outputPath": old.output_path,
            "gpuSeconds": spent.get("gpuSeconds"),
            "cost": spent.get("cost"),
        }
        past.append({name: value for name, value in entry.items() if value is not None})
    return past[-limit:]


def _dump(runs: list[Any] | None) -> list[dict[str, Any]]:
    return [run.model_dump(by_alias=True, exclude_none=True) for run in runs or ()]


def _warnings(
    job: AlignmentJob,
    observed: Observed,
    decision: Decision,
    over: Condition | None,
    end: outcome.Outcome | None,
    settings: Settings,
) -> list[str]:
    if decision.problem:
        return []
    if over:  # its pods, and with them what the trainer found, may be gone
        return list(job.status.warnings or ())
    findings = (end.said or {}).get("findings") or () if end else ()
    return [*unwise.warnings(job, observed, settings), *(str(finding) for finding in findings)][:32]
