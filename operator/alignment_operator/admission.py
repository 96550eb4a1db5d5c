"""A run in a queue: why Kueue does not start it, with the cure, and what the user's `suspend` means for its Workload.

Waiting is Kueue's, suspending the user's: `Queued` tells of the first, `Suspended` of the second. A Workload that is
not active although nobody asked for that here was deactivated by Kueue or its administrator, and only they know when
it may go on.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from .api.alignmentjob import AlignmentJob
from .api.constants import ConditionType, Reason
from .views import Condition, JobView, Kueue, Observed, WorkloadView

NO_WORKLOAD_AFTER = timedelta(seconds=20)  # Kueue makes it within a second
DEACTIVATED = "Deactivated"  # Kueue's word, and the beginning of its longer ones (DeactivatedDueTo...)
# (part of Kueue's message, cure) of what no waiting changes
HOPELESS = (
    ("doesn't exist", "Create it, or set spec.suspend to true and correct spec.queueName."),
    ("unavailable in ClusterQueue", "The queue has no quota for that resource: have one given, or do not request it."),
    (
        "maximum capacity",
        "That is more than the queue can ever give: lower spec.gpusPerNode, spec.resources or spec.nodes, "
        "or have its quota raised.",
    ),
)
CURES = (
    ("is inactive", "It was stopped, or lacks a flavor or a check: its administrator knows when it goes on."),
    ("untolerated taint", "Set a toleration in spec.podTemplate.spec.tolerations."),
    ("doesn't match node affinity", "Correct nodeSelector or affinity in spec.podTemplate.spec."),
)
REACTIVATE = "To go on, set spec.active of Workload {name} to true, or change spec.rerun for a new run."
NO_WORKLOAD_CURE = (
    "See that Kueue's controller runs, that batch/job is among its integrations and AlignmentJob is not, "
    "and that it manages this namespace"
)


@dataclass(frozen=True, slots=True)
class Standing:
    """Why the run does not start: of which condition it is the reason, and whether waiting helps (`ready`).

    `look_again`: seconds until time alone changes it.
    """

    reason: str
    message: str
    condition: ConditionType = ConditionType.QUEUED
    ready: bool = True
    look_again: float | None = None


def queue_of(job: AlignmentJob, observed: Observed) -> str | None:
    """The queue that the run is in; None: in none, so `suspend` of its Job is the operator's.

    Without `spec.queueName` too: Kueue gives Jobs the LocalQueue `default` of their namespace, and may be set to take
    Jobs without a queue. Whoever wrote `suspend` against it then would never be done.
    """
    child, workload = observed.job, observed.workload
    named = job.spec.queue_name or (child.queue_name if child else None)
    return named or (workload.queue_name or "none" if workload else None)


def workload_patch(job: AlignmentJob, observed: Observed) -> dict[str, Any]:
    """The only changes ever made to a Workload: `spec.active`, and with it the queue, if that was changed meanwhile.

    Kueue itself follows the Job's label, but (seen with 0.15) never while the Workload is evicted, as it is when it
    was deactivated: it would be admitted by its old queue.
    """
    workload, suspend = observed.workload, job.spec.suspend
    if workload is None:
        return {}
    if suspend:
        return {"spec": {"active": False}} if workload.active else {}
    if workload.active or not workload.set_by_us:
        return {}
    moved = job.spec.queue_name not in (None, workload.queue_name)
    return {"spec": {"active": True} | ({"queueName": job.spec.queue_name} if moved else {})}


def may_suspend(job: AlignmentJob, observed: Observed) -> bool:
    """Whether `spec.suspend` holds the run: without rights on its Workload the queue may start it nevertheless."""
    return not queue_of(job, observed) or observed.kueue is not Kueue.FORBIDDEN


def standing(job: AlignmentJob, observed: Observed, child: JobView, now: datetime) -> Standing:
    """Where the suspended Job of a job in a queue stands, while its user does not suspend it."""
    queue = queue_of(job, observed)
    waits = f"Run {child.run} waits in queue {queue}"
    if observed.kueue is Kueue.ABSENT:
        cure = "Install Kueue, or remove spec.queueName and change spec.rerun."
        text = f"spec.queueName needs Kueue, which is not installed here. {cure}"
        return Standing(Reason.KUEUE_NOT_INSTALLED, text, ready=False)
    if observed.kueue is Kueue.FORBIDDEN:
        text = f"{waits}; the operator may not read Kueue's Workloads, which say why (chart value rbac.kueue)."
        return Standing(Reason.WAITING_IN_QUEUE, text)
    workload = observed.workload
    if workload is None:
        return _unclaimed(job, observed.kueue, child, waits, now)
    if not workload.active:
        return _inactive(workload, waits, child)
    if workload.true("Admitted"):
        return Standing(Reason.ADMITTED, f"Queue {queue} has admitted the run; it is being started.")
    return _pending(workload, waits, child)


def _unclaimed(job: AlignmentJob, kueue: Kueue, child: JobView, waits: str, now: datetime) -> Standing:
    left = (child.creation + NO_WORKLOAD_AFTER - now).total_seconds() if child.creation else 0.0
    if left > 0 or kueue is Kueue.UNKNOWN:
        return Standing(Reason.WAITING_IN_QUEUE, f"{waits}.", look_again=left if left > 0 else None)
    priority = job.spec.workload_priority_class
    exists = f", and that WorkloadPriorityClass {priority} exists" if priority else ""
    text = f"Kueue has made no Workload for Job {child.name}. {NO_WORKLOAD_CURE}{exists}."
    return Standing(Reason.NO_WORKLOAD, text, ready=False)


def _inactive(workload: WorkloadView, waits: str, child: JobView) -> Standing:
    if workload.set_by_us:
        return Standing(Reason.WAITING_IN_QUEUE, f"{waits} again.")
    evicted = workload.condition("Evicted")
    said = f": {_clause(evicted)}" if evicted and evicted.reason.startswith(DEACTIVATED) else ""
    text = f"Kueue has deactivated run {child.run}{said}. {REACTIVATE.format(name=workload.name)}"
    return Standing(Reason.DEACTIVATED, text, ConditionType.SUSPENDED, ready=False)


def _pending(workload: WorkloadView, waits: str, child: JobView) -> Standing:
    """Quota is not reserved yet, or admission checks are not through; perhaps after an eviction."""
    reason, waits = _after_eviction(workload, waits, child)
    quota = workload.condition("QuotaReserved")
    if quota is None or (quota.status != "True" and quota.message.startswith("The workload is deactivated")):
        return Standing(reason, f"{waits}.")  # what it says is of before it was activated again
    if quota.status == "True":
        checks = f"; its quota is reserved, these checks are pending: {', '.join(workload.checks)}"
        return Standing(reason, f"{waits}{checks if workload.checks else ''}.")
    why = _clause(quota)
    helps = "more needed" in why  # of one flavor at least, when more is free
    hopeless, cure = "" if helps else _found(why, HOPELESS), _found(why, CURES)
    if hopeless:
        return Standing(Reason.INADMISSIBLE, f"{waits}: {why}. {hopeless}", ready=False)
    return Standing(reason, f"{waits}: {why}.{' ' + cure if cure else ''}")


def _after_eviction(workload: WorkloadView, waits: str, child: JobView) -> tuple[Reason, str]:
    """Reason, and the beginning of the sentence."""
    evicted = workload.condition("Evicted")
    if evicted is None or evicted.status != "True" or evicted.reason.startswith(DEACTIVATED):
        return Reason.WAITING_IN_QUEUE, waits
    again = f"{waits.removeprefix(f'Run {child.run} ')} to go on from its last checkpoint"
    if evicted.reason == "Preempted":
        return Reason.PREEMPTED, f"Run {child.run} was preempted and {again}"
    return Reason.EVICTED, f"Run {child.run} was evicted ({evicted.reason}) and {again}"


def _clause(condition: Condition) -> str:
    """Kueue's sentence, to stand within ours."""
    return condition.message.strip().rstrip(".")


def _found(message: str, cures: tuple[tuple[str, str], ...]) -> str:
    return next((cure for part, cure in cures if part in message), "")
