"""Which run is the current one, and what must happen to it. Pure: the same input gives the same Decision.

A run is one child Job, `NAME-rN`. A new one begins when there is none yet, and when `spec.rerun` differs from the token that the
current run stands for (`status.rerun`). A run that ended is final: losing its Job makes no other.
"""

from dataclasses import dataclass, field
from typing import Any

from .problems import SpecProblem


@dataclass(frozen=True, slots=True)
class Decision:
    """What reconcile does next. Every verb may be done twice without harm.

    run           the number of the current run; 0 when there is none yet
    rerun         the `spec.rerun` that this run stands for
    new_run       the run begins with this decision: status is written afresh for it, progress and metrics are emptied
    start         make the run's ConfigMap, Service and Job (after the status has been written); also when its Job was deleted by hand
    stop_run      a live run that must end before the next one: its Job is deleted
    delete_child  `ttlSecondsAfterFinished` is over: delete the Job (the terminal status is stored)
    patch         merge patch for the live Job: suspend, backoffLimit, activeDeadlineSeconds, queue and priority labels
    waiting       why no Job is made now (a reason constant of api.alignmentjob), with `message` for people
    problem       what makes this spec impossible; no Job is made
    output_path   of the run that starts now; None: unchanged
    look_again    seconds until time alone changes this decision; None: never
    """

    run: int = 0
    rerun: str | None = None
    new_run: bool = False
    start: bool = False
    stop_run: int | None = None
    delete_child: bool = False
    patch: dict[str, Any] = field(default_factory=dict)
    waiting: str | None = None
    message: str = ""
    problem: SpecProblem | None = None
    output_path: str | None = None
    look_again: float | None = None
