"""The loop body: read the store, decide, write one status if it changed, make what is missing; say when to look again.

Safe to kill between any two calls. The status (run, jobName) is written before the run's children, children have
fixed names, and one that is there already counts as made if it is ours: whoever comes next does the same again and
never makes a second Job for a run.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

from . import events, obstacles, refusals
from .children import Children, NotYet
from .cluster import Cluster
from .companions import Companions
from .ends import Ends
from .podevents import PodEvents
from .preflight import Preflight
from .problems import SpecProblem
from .resources import ALIGNMENT_JOBS, JOBS, WORKLOADS, Resource
from .runs import Decision, decide
from .settings import Settings
from .status import Event, StatusResult
from .statuswriter import SETTLE_SECONDS, StatusWriter, soonest
from .store import Key, Store
from .subject import Models, Subject
from .views import JobView, WorkloadView

log = logging.getLogger(__name__)
Object = dict[str, Any]

NOT_YET_SECONDS = 2.0  # the predecessor of the same name is being collected


class Begun(NamedTuple):
    """Learned beside a status write: whether all that comes before the Job is `placed`, and what speaks against it."""

    placed: bool = False
    problem: SpecProblem | None = None


class Reconciler:
    """One for the process; `reconcile` may run for many keys at a time, but once at a time for each."""

    def __init__(
        self,
        store: Store,
        cluster: Cluster,
        settings: Settings,
        authority: Callable[[], str],
        enqueue: Callable[[Key], None],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        told: Callable[[Object, Object], None] = lambda job, status: None,
        note: Callable[[Object, Iterable[Event]], Awaitable[None]] | None = None,
    ) -> None:
        self._store, self._cluster, self._settings, self._now, self._enqueue = store, cluster, settings, now, enqueue
        self._note = note or partial(events.emit, cluster)
        self._children, self._companions = Children(cluster, settings, authority), Companions(cluster)
        self._pod_events = PodEvents(cluster, now)
        self._preflight = Preflight(cluster, self._children)
        self._status = StatusWriter(store, cluster, settings, now, self._keep, told)
        self._models, self._refusals, self._ends = Models(), refusals.Refusals(now), Ends()

    async def reconcile(self, key: Key) -> float | None:
        """Bring the cluster closer to the AlignmentJob; returns the seconds to the next look (None: the next event).

        Raises ApiError: a conflict means that our view was old, anything else that the call should be tried again.
        """
        obj = self._store.job(key)
        if obj is None or "deletionTimestamp" in obj["metadata"]:
            self._forget(key)
            return None
        subject = await self._observe(key, obj)
        decision = await self._decide(subject)
        await self._clear_predecessor(subject)
        if decision.stop_run is not None:
            await self._delete_job(subject)
        if decision.new_run:
            subject = subject.of_next_run()
        result, begun = await self._write(subject, decision)
        try:
            again = await self._act(subject, decision, begun)
        except Exception:
            await self._note(obj, result.events)
            raise
        await self._note(obj, result.events)  # last: nobody waits for them
        return soonest(result.look_again, decision.look_again, again)

    def _forget(self, key: Key) -> None:
        self._models.forget(key)
        self._refusals.forget(key)
        self._status.forget(key)
        self._ends.forget(key)
        self._companions.forget(key)

    async def _observe(self, key: Key, obj: Object) -> Subject:
        job, problem = self._models.of(key, obj)
        observed = self._ends.marked(key, self._store.observe(key, job.metadata.uid, job.status.run or 1))
        if stuck := obstacles.awaiting_volumes(observed, self._now()):
            observed = replace(observed, pod_events=await self._pod_events.about(stuck))
        return Subject(key, obj, job, observed, problem)

    async def _decide(self, subject: Subject) -> Decision:
        """`runs.decide`, and what only the API server can say against a run that would begin."""
        job, none = subject.job, Decision(subject.job.status.run or 0, subject.job.status.rerun)
        if subject.problem:
            return replace(none, problem=subject.problem)
        refused = self._refusals.of(subject.key, job.metadata.generation)
        decision = decide(job, subject.observed, self._settings, self._now(), refused)
        if refused and decision.problem is refused:
            return replace(decision, look_again=refusals.RETRY_SECONDS)
        if decision.new_run and (problem := await self._preflight.problem(subject, decision)):
            return replace(none, problem=problem, look_again=refusals.RETRY_SECONDS)
        return decision

    async def _write(self, subject: Subject, decision: Decision) -> tuple[StatusResult, Begun]:
        """The status; where a run begins, what comes before its Job is made beside it.

        The Job itself waits for the status: only that says, on the version that was decided on, that the run begins.
        """
        if not decision.new_run:
            return await self._status.write(subject, decision), Begun()
        status, place = self._status.write(subject, decision), self._children.place(subject.job, decision)
        rules = self._preflight.afterthought(subject)
        written, placed, problem = await asyncio.gather(status, place, rules, return_exceptions=True)
        if isinstance(written, BaseException):
            raise written
        if isinstance(placed, BaseException):
            raise placed
        if isinstance(problem, BaseException) and not isinstance(problem, SpecProblem):
            raise problem
        return written, Begun(placed, problem)

    async def _act(self, subject: Subject, decision: Decision, begun: Begun) -> float | None:
        """What follows the status write; returns the seconds to the next look (None: it does not ask for one)."""
        if decision.start or await self._companions.lacking(subject.key, subject.job, subject.observed):
            return await self._start(subject, decision, begun)
        if decision.patch and subject.observed.job:
            await self._patch_job(subject.observed.job, decision.patch)
        if decision.workload and subject.observed.workload:
            await self._patch_workload(subject.observed.workload, decision.workload)
        if decision.delete_child:
            await self._delete_job(subject)
        return None

    async def _start(self, subject: Subject, decision: Decision, begun: Begun) -> float | None:
        """Make the run's children; of one that started before only if the AlignmentJob, read live, still says so."""
        key = subject.key
        if not decision.new_run and not await self._is_current(key):
            return 0.0
        obj = self._store.job(key)
        if obj is None:
            return None
        subject = replace(subject, obj=obj, job=self._models.of(key, obj)[0])
        if begun.problem:
            return await self._refuse(subject, decision, begun.problem)
        try:
            child = await self._children.make(subject.job, decision, subject.observed.upstream, placed=begun.placed)
        except NotYet as wait:
            log.info("waiting", extra={"job": "/".join(key), "why": str(wait)})
            return NOT_YET_SECONDS
        except SpecProblem as problem:
            return await self._refuse(subject, decision, problem)
        self._keep(JOBS, child, key)
        log.info("job made", extra={"job": "/".join(key), "run": decision.run, "uid": child["metadata"]["uid"]})
        return SETTLE_SECONDS

    async def _refuse(self, subject: Subject, decision: Decision, problem: SpecProblem) -> float:
        """There can be no Job: say so, and give up the name, so that the spec may be mended."""
        self._refusals.note(subject.key, subject.job.metadata.generation, problem)
        decision = replace(decision, start=False, new_run=False, problem=problem)
        result = await self._status.write(subject, decision)
        await self._note(subject.obj, result.events)
        return refusals.RETRY_SECONDS

    async def _clear_predecessor(self, subject: Subject) -> None:
        """Delete the Job of an AlignmentJob of this name that is no more, if ours is not the older one."""
        key = subject.key
        old = None if subject.observed.job else self._store.child(key, subject.job.status.run or 1)
        if old is None or old.deleting or not old.ours or old.owner != key.name or not await self._is_current(key):
            return
        await self._children.clear(JOBS, {"namespace": old.namespace, "name": old.name, "uid": old.uid})
        self._store.deleting(old)

    async def _delete_job(self, subject: Subject) -> None:
        """Of a run that is over, or has to be before the next one begins."""
        if child := subject.observed.job:
            log.info("deleting job", extra={"job": "/".join(subject.key), "run": child.run, "uid": child.uid})
            await self._cluster.delete(JOBS, child.namespace, child.name, child.uid)
            self._store.deleting(child)

    async def _patch_job(self, child: JobView, patch: Object) -> None:
        patch = patch | {"metadata": {**patch.get("metadata", {}), "uid": child.uid}}
        self._keep(JOBS, await self._cluster.patch(JOBS, child.namespace, child.name, patch))

    async def _patch_workload(self, workload: WorkloadView, patch: Object) -> None:
        patch = patch | {"metadata": {"uid": workload.uid}}
        served = replace(WORKLOADS, api=workload.api)
        self._keep(WORKLOADS, await self._cluster.patch(served, workload.namespace, workload.name, patch))

    async def _is_current(self, key: Key) -> bool:
        """Whether the store has the AlignmentJob as it is now; else it has after this."""
        known, live = self._store.job(key), await self._cluster.get(ALIGNMENT_JOBS, *key)
        if live is None:
            if known:
                self._store.drop(ALIGNMENT_JOBS, known)
            return False
        self._store.put(ALIGNMENT_JOBS, live)
        return known is not None and known["metadata"]["resourceVersion"] == live["metadata"]["resourceVersion"]

    def _keep(self, resource: Resource, written: Object, but: Key | None = None) -> None:
        """Put what we wrote into the store; whom it concerns looks again, for the watch will find nothing new.

        `but`: the key that is being reconciled, where it says itself when to look again.
        """
        for key in self._store.put(resource, written):
            if key != but:
                self._enqueue(key)
