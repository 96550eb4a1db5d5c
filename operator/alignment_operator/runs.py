"""Which run is the current one, and what must happen to it. Pure: the same input gives the same Decision.

A run is one child Job, `NAME-rN`. A new one begins when there is none yet, and when `spec.rerun` differs from the token
that the current run stands for (`status.rerun`). A run that ended is final: losing its Job makes no other.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from . import admission, allowlists, jobs, networkpolicy
from .api.alignmentjob import AlignmentJob
from .api.constants import PRIORITY_CLASS_LABEL, QUEUE_LABEL, Reason
from .observed import JobView, Observed, PodView, parse_time
from .obstacles import NODE_CURE
from .problems import SpecProblem
from .recipe import Recipe, build
from .settings import Settings
from .views import UpstreamView

POD_CHECK_SECONDS = 30.0  # a pod on a lost node never reports its end: look again even without an event


@dataclass(frozen=True, slots=True)
class Decision:
    """What reconcile does next. Every verb may be done twice without harm.

    run           the number of the current run; 0 when there is none yet
    rerun         the `spec.rerun` that this run stands for
    new_run       the run begins with this decision: status is written afresh for it, progress and metrics are emptied
    start         make the run's ConfigMap, Service and Job after the status is written; also when the Job was deleted
    stop_run      a live run that must end before the next one: its Job is deleted
    delete_child  `ttlSecondsAfterFinished` is over: delete the Job (the terminal status is stored)
    patch         merge patch for the live Job: suspend, backoffLimit, activeDeadlineSeconds, queue and priority labels
    workload      merge patch for the Job's Kueue Workload: spec.active, after spec.suspend
    waiting       why no Job is made now (a reason constant of api.constants), with `message` for people
    waits_in_vain nothing changes until somebody acts
    problem       what makes this spec impossible; no Job is made
    output_path   of the run that starts now; None: unchanged
    recipe        of the run that starts for the first time; None when it started before (its ConfigMap has it)
    child         the Job of that run
    look_again    seconds until time alone changes this decision; None: never
    """

    run: int = 0
    rerun: str | None = None
    new_run: bool = False
    start: bool = False
    stop_run: int | None = None
    delete_child: bool = False
    patch: dict[str, Any] = field(default_factory=dict)
    workload: dict[str, Any] = field(default_factory=dict)
    waiting: str | None = None
    message: str = ""
    waits_in_vain: bool = False
    problem: SpecProblem | None = None
    output_path: str | None = None
    recipe: Recipe | None = None
    child: dict[str, Any] | None = None
    look_again: float | None = None


def decide(
    job: AlignmentJob, observed: Observed, settings: Settings, now: datetime, refused: SpecProblem | None = None
) -> Decision:
    """What to do about this AlignmentJob.

    `observed` is that of the run in `job.status.run`. `refused`: what the API server said about the Job of this spec.
    """
    status = job.status
    run = status.run or 0
    if run and status.job_name and job.spec.rerun != status.rerun:
        return _replace_run(job, observed, settings, refused)
    if run and status.rerun == job.spec.rerun and status.end:
        return _finished(job, observed.job, now)
    if observed.job is not None and run:
        return _live(job, observed, observed.job)
    if status.job_name:
        return _restart(job, observed)
    return _begin(job, observed, settings, max(run, 1), refused)


def finished(child: JobView) -> bool:
    """Whether the Job controller has ended this Job."""
    return child.condition("Complete") is not None or child.condition("Failed") is not None


def _begin(
    job: AlignmentJob, observed: Observed, settings: Settings, run: int, refused: SpecProblem | None
) -> Decision:
    """The first start of a run, when nothing speaks against it."""
    pending = Decision(job.status.run or 0, job.status.rerun)
    if (upstream := _awaited(job, observed.upstream)) is not None:
        hopeless = upstream.failed or not upstream.exists
        return replace(pending, waiting=Reason.WAITING_FOR_JOB, message=_waits_for(upstream), waits_in_vain=hopeless)
    try:
        built, child = _built(job, run, settings, observed.upstream)
    except SpecProblem as problem:
        return replace(pending, problem=problem)
    if refused:
        return replace(pending, problem=refused)
    if job.spec.suspend:
        message = "spec.suspend is true; no Job has been made."
        return replace(pending, waiting=Reason.SUSPENDED_BY_USER, message=message)
    if blocked := _blocked(observed.pods):
        return replace(pending, waiting=Reason.WAITING_FOR_PODS, message=blocked, look_again=POD_CHECK_SECONDS)
    path = built.output_path
    return Decision(run, job.spec.rerun, new_run=True, start=True, output_path=path, recipe=built, child=child)


def _awaited(job: AlignmentJob, upstream: UpstreamView | None) -> UpstreamView | None:
    """The job that has to be complete first; None when none has to. One that names itself is a problem instead."""
    if upstream is None or upstream.complete or job.spec.model.from_job == job.metadata.name:
        return None
    return upstream


def _waits_for(upstream: UpstreamView) -> str:
    waits = f"Waits for AlignmentJob {upstream.name}, which"
    if upstream.failed:
        return f"{waits} failed. Mend it and change its spec.rerun, or name another job in spec.model.fromJob."
    if not upstream.exists:
        return f"{waits} does not exist. Create it, or name another job in spec.model.fromJob."
    return f"{waits} is not complete yet."


def _built(
    job: AlignmentJob, run: int, settings: Settings, upstream: UpstreamView | None
) -> tuple[Recipe, dict[str, Any]]:
    """The recipe and the Job of a run that can be made, children and all. Raises SpecProblem."""
    if job.spec.model.from_job == job.metadata.name:
        text = "A job cannot start from its own output: name another AlignmentJob."
        raise SpecProblem("spec.model.fromJob", text)
    if forbidden := allowlists.problem(job.spec, settings):
        raise forbidden
    built = build(job, run, settings, upstream)
    child = jobs.job(job, built, run, settings, upstream)
    networkpolicy.network_policy(job, run, settings)
    return built, child


def _restart(job: AlignmentJob, observed: Observed) -> Decision:
    """The run was started, and its Job is not there: a crash came between, or somebody deleted it."""
    run, rerun = job.status.run or 0, job.status.rerun
    if blocked := _blocked(observed.pods):
        return Decision(run, rerun, waiting=Reason.WAITING_FOR_PODS, message=blocked, look_again=POD_CHECK_SECONDS)
    if job.spec.suspend and job.spec.queue_name:  # a new Job would have a new Workload, which the queue may admit
        message = "spec.suspend is true; the run's Job is made again when it is not."
        return Decision(run, rerun, waiting=Reason.SUSPENDED_BY_USER, message=message)
    return Decision(run, rerun, start=True)


def _replace_run(job: AlignmentJob, observed: Observed, settings: Settings, refused: SpecProblem | None) -> Decision:
    """`spec.rerun` changed: the old run ends first, with its pods, then the next begins."""
    old, rerun, child = job.status.run or 0, job.status.rerun, observed.job
    if child and not child.deleting and (not finished(child) or job.spec.ttl_seconds_after_finished is not None):
        message = f"Run {old} is stopped before run {old + 1} starts."
        return Decision(old, rerun, stop_run=old, waiting=Reason.WAITING_FOR_PODS, message=message)
    blocked = _blocked(observed.pods) or (f"Job {child.name} is being deleted." if child and child.deleting else "")
    if blocked:
        return Decision(old, rerun, waiting=Reason.WAITING_FOR_PODS, message=blocked, look_again=POD_CHECK_SECONDS)
    upstream_only = Observed(upstream=observed.upstream)
    return _begin(job, upstream_only, settings, old + 1, refused)


def _live(job: AlignmentJob, observed: Observed, child: JobView) -> Decision:
    run, rerun = job.status.run or 0, job.status.rerun
    if child.deleting:
        message = f"Job {child.name} is being deleted."
        return Decision(run, rerun, waiting=Reason.WAITING_FOR_PODS, message=message, look_again=POD_CHECK_SECONDS)
    if finished(child):
        return Decision(run, rerun)
    return Decision(run, rerun, patch=_patch(job, observed, child), workload=admission.workload_patch(job, observed))


def _finished(job: AlignmentJob, child: JobView | None, now: datetime) -> Decision:
    run, rerun, ttl = job.status.run or 0, job.status.rerun, job.spec.ttl_seconds_after_finished
    since = parse_time(job.status.completion_time)
    if ttl is None or child is None or child.deleting or since is None:
        return Decision(run, rerun)
    left = (since + timedelta(seconds=ttl) - now).total_seconds()
    return Decision(run, rerun, delete_child=left <= 0, look_again=left if left > 0 else None)


def _blocked(pods: tuple[PodView, ...]) -> str:
    """Which pods could still write to the run's folder, with the cure where a node is lost; empty when none can."""
    alive = [pod for pod in pods if not pod.ended]
    if not alive:
        return ""
    names = ", ".join(pod.name for pod in alive[:3]) + (" ..." if len(alive) > 3 else "")
    lost = next((pod.node for pod in alive if pod.node_lost), None)
    cure = f" Node {lost} does not answer. {NODE_CURE}" if lost else ""
    return f"Pods of the run still exist: {names}.{cure}"


def _patch(job: AlignmentJob, observed: Observed, child: JobView) -> dict[str, Any]:
    """The only changes ever made to a live Job. With a queue, `suspend` is Kueue's.

    Kueue refuses a change of the queue, and a first priority, until it has suspended the Job. A queue is not left.
    """
    wanted: dict[str, tuple[Any, Any]] = {"backoffLimit": (job.spec.backoff_limit, child.backoff_limit)}
    wanted["activeDeadlineSeconds"] = (job.spec.active_deadline_seconds, child.active_deadline_seconds)
    if not admission.queue_of(job, observed):
        wanted["suspend"] = (job.spec.suspend, child.suspended)
    labels: dict[str, tuple[Any, Any]] = {}
    if child.suspended and job.spec.queue_name:
        labels[QUEUE_LABEL] = (job.spec.queue_name, child.queue_name)
    if child.suspended or child.priority_class:
        labels[PRIORITY_CLASS_LABEL] = (job.spec.workload_priority_class, child.priority_class)
    patch: dict[str, Any] = {}
    if changed := {name: want for name, (want, have) in wanted.items() if want != have}:
        patch["spec"] = changed
    if changed_labels := {name: want for name, (want, have) in labels.items() if want != have}:
        patch["metadata"] = {"labels": changed_labels}
    return patch
