"""What the cluster is asked before a run begins: a start that fails would be two status writes."""

from __future__ import annotations

import asyncio
from typing import Any

from .api import validation
from .api.alignmentjob import AlignmentJob
from .api.constants import ConditionType, Reason
from .children import Children
from .cluster import Cluster
from .problems import SpecProblem
from .resources import CLAIMS
from .runs import Decision
from .subject import Subject
from .volumes import output_claim, output_problem

SENT_SECONDS = 0.001  # by then the calls that were begun beside are on their way


class Preflight:
    """The checks that `runs.decide` cannot make. One for the process."""

    def __init__(self, cluster: Cluster, children: Children) -> None:
        self._cluster, self._children = cluster, children

    async def problem(self, subject: Subject, decision: Decision) -> SpecProblem | None:
        """What speaks against the run that this decision begins; None: nothing does. Raises ApiError."""
        broken = None if _is_new(subject.job) else _broken_rule(subject.obj)
        return broken or await self._claim(subject.job) or await self._refusal(subject, decision)

    async def afterthought(self, subject: Subject) -> SpecProblem | None:
        """What `problem` leaves out where nothing has been said of the object yet: a rule that is newer than it.

        The API server has mostly just held it to the same rules, so this millisecond need not pass before the first
        status is sent.
        """
        if not _is_new(subject.job):
            return None
        await asyncio.sleep(SENT_SECONDS)
        return _broken_rule(subject.obj)

    async def _claim(self, job: AlignmentJob) -> SpecProblem | None:
        """A claim that is not there, or that several nodes cannot share."""
        claim = output_claim(job)
        found = await self._cluster.get(CLAIMS, job.metadata.namespace, claim) if claim else None
        return output_problem(job, found)

    async def _refusal(self, subject: Subject, decision: Decision) -> SpecProblem | None:
        """Of a spec that the API server has refused once, what it says now."""
        if not _was_refused(subject.job):
            return None
        return await self._children.refusal(subject.job, decision, subject.observed.upstream)


def warm_up() -> None:
    """Compile every rule. That takes a second, in which a leader could not renew its Lease."""
    validation.prepare()


def _is_new(job: AlignmentJob) -> bool:
    return not job.status.conditions


def _broken_rule(obj: dict[str, Any]) -> SpecProblem | None:
    """A rule that is newer than the object."""
    broken = validation.problems(obj, strict=False)
    return SpecProblem(broken[0].path, broken[0].message) if broken else None


def _was_refused(job: AlignmentJob) -> bool:
    conditions = job.status.conditions or ()
    return any(c.type == ConditionType.ACCEPTED and c.reason == Reason.POD_INVALID for c in conditions)
