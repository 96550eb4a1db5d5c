"""The loop body: read the store, decide, write one status if it changed, make what is missing; say when to look again.

Safe to kill between any two calls. The status (run, jobName) is written before the run's children, children have
fixed names, and one that is there already counts as made if it is ours: whoever comes next does the same again and
never makes a second Job for a run.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from . import events, obstacles
from .api import validation
from .api.alignmentjob import AlignmentJob
from .api.constants import API_VERSION, KIND, ConditionType, Phase, Reason
from .children import Children, NotYet
from .cluster import ApiError, Cluster
from .ends import Ends
from .mergepatch import merge_diff
from .problems import SpecProblem
from .resources import ALIGNMENT_JOBS, CLAIMS, JOBS, WORKLOADS, Resource
from .runs import Decision, decide
from .settings import Settings
from .status import StatusResult, compute
from .store import Key, Store
from .views import Observed, UpstreamView
from .volumes import output_claim, output_problem

log = logging.getLogger(__name__)
Object = dict[str, Any]

REFUSED_RETRY_SECONDS = 60.0  # a quota may be raised, an admission plugin may come back
SETTLE_SECONDS = (
    1.0  # after a write of ours: until then the cluster's answer has mostly come, which is looked at anyway
)
PASSING_SECONDS = 5.0  # what only says that something is on its way may wait so long for that to happen
SILENT = {"jobUID", "startTime"}  # worth no write of their own
MODELS = 500  # AlignmentJobs that are kept as models, about 20 KB each
NOT_YET_SECONDS = 2.0  # the predecessor of the same name is being collected


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
    ) -> None:
        self._store, self._cluster, self._settings, self._now = store, cluster, settings, now
        self._enqueue, self._told = enqueue, told
        self._children = Children(cluster, settings, authority)
        self._refused: dict[
            Key, tuple[int, datetime, SpecProblem]
        ] = {}  # generation that the API server refused, and when
        self._models: OrderedDict[Key, tuple[str, tuple[AlignmentJob, SpecProblem | None]]] = OrderedDict()
        self._passing: dict[Key, datetime] = {}  # since when a passing change waits
        self._ends = Ends()

    async def reconcile(self, key: Key) -> float | None:
        """Bring the cluster closer to the AlignmentJob; returns the seconds to the next look (None: the next event).

        Raises ApiError: a conflict means that our view was old, anything else that the call should be tried again.
        """
        obj = self._store.job(key)
        if obj is None or "deletionTimestamp" in obj["metadata"]:
            self._refused.pop(key, None)
            self._passing.pop(key, None)
            self._ends.forget(key)
            return None
        job, problem = self._read(key, obj)
        observed = self._ends.marked(key, self._store.observe(key, job.metadata.uid, job.status.run or 1))
        if stuck := obstacles.awaiting_volumes(observed, self._now()):
            observed = replace(observed, pod_events=await events.about_pods(self._cluster, stuck))
        decision = self._decide(key, job, observed, problem)
        if decision.new_run and (hindrance := await self._hindrance(obj, job, decision, observed.upstream)):
            decision = _held_back(job, hindrance)
        await self._clear(key, job, observed)
        await self._stop(key, decision, observed)
        if decision.new_run:  # what is known is of the run before
            observed = Observed(upstream=observed.upstream, before=(*observed.gone, *observed.pods))
        result = await self._report(key, obj, job, observed, decision)
        try:
            again = await self._act(key, job, observed, decision)
        except Exception:
            await events.emit(self._cluster, obj, result.events)
            raise
        await events.emit(self._cluster, obj, result.events)  # last: nobody waits for them
        return _soonest(result.look_again, decision.look_again, again)

    async def _act(self, key: Key, job: AlignmentJob, observed: Observed, decision: Decision) -> float | None:
        """What follows the status write; returns the seconds to the next look (None: it does not ask for one)."""
        if decision.start or await self._children.lack(job, observed, self._now()):
            return await self._start(key, observed, decision)
        await self._patch(observed, decision)
        await self._delete(observed, decision)
        return None

    def _read(self, key: Key, obj: Object) -> tuple[AlignmentJob, SpecProblem | None]:
        """`read`, once for a version of the object: its children's news come in between."""
        version = obj["metadata"].get("resourceVersion", "")
        known = self._models.pop(key, None)
        model = known[1] if known and version and known[0] == version else read(obj)
        self._models[key] = version, model
        if len(self._models) > MODELS:
            self._models.popitem(last=False)
        return model

    async def _hindrance(
        self, obj: Object, job: AlignmentJob, decision: Decision, upstream: UpstreamView | None
    ) -> SpecProblem | None:
        """What speaks against a start: a rule newer than the object, a claim that several nodes cannot share.

        Of a spec that the API server has refused once, what it says now: a start that fails is two status writes.
        """
        if broken := validation.problems(obj, strict=False):
            return SpecProblem(broken[0].path, broken[0].message)
        claim = output_claim(job)
        found = await self._cluster.get(CLAIMS, job.metadata.namespace, claim) if claim else None
        if problem := output_problem(job, found):
            return problem
        return await self._children.refusal(job, decision, upstream) if _was_refused(job) else None

    def _decide(self, key: Key, job: AlignmentJob, observed: Observed, problem: SpecProblem | None) -> Decision:
        if problem:
            return Decision(job.status.run or 0, job.status.rerun, problem=problem)
        refused = self._still_refused(key, job)
        decision = decide(job, observed, self._settings, self._now(), refused)
        return (
            replace(decision, look_again=REFUSED_RETRY_SECONDS) if refused and decision.problem is refused else decision
        )

    def _still_refused(self, key: Key, job: AlignmentJob) -> SpecProblem | None:
        """What the API server said about this very spec. Asking again at every event would write status each time."""
        generation, since, problem = self._refused.get(key, (-1, self._now(), None))
        if generation == job.metadata.generation and (self._now() - since).total_seconds() < REFUSED_RETRY_SECONDS:
            return problem
        self._refused.pop(key, None)
        return None

    async def _report(
        self, key: Key, obj: Object, job: AlignmentJob, observed: Observed, decision: Decision
    ) -> StatusResult:
        """One status write, if anything changed; the result has events only after it succeeded."""
        result = compute(job, observed, decision, self._now(), self._settings)
        changes = _changes(obj.get("status") or {}, result)
        if not changes:
            self._passing.pop(key, None)
            self._store.counted(key, observed.gone)
            return replace(result, events=[])
        passing = not decision.new_run and _is_passing(changes, result)
        if wait := self._postponed(key, passing):
            return replace(result, events=[], look_again=_soonest(result.look_again, wait))
        metadata = {name: obj["metadata"][name] for name in ("resourceVersion", "uid")}
        written = await self._write_status(obj, {"metadata": metadata, "status": changes})
        self._keep(ALIGNMENT_JOBS, written, but=key)
        self._told(obj, written.get("status") or {})
        log.info("status", extra={"job": "/".join(key), "run": decision.run, "phase": result.status.get("phase")})
        self._store.counted(key, (*observed.gone, *observed.before))
        ended = result.status.get("phase") in (Phase.COMPLETE, Phase.FAILED)
        return replace(result, look_again=_soonest(result.look_again, SETTLE_SECONDS)) if ended else result

    def _postponed(self, key: Key, passing: bool) -> float:
        """For how many seconds a change that is passing may still wait; 0: write it now."""
        if not passing:
            self._passing.pop(key, None)
            return 0.0
        waited = (self._now() - self._passing.setdefault(key, self._now())).total_seconds()
        if waited < PASSING_SECONDS:
            return PASSING_SECONDS - waited
        del self._passing[key]
        return 0.0

    async def _write_status(self, obj: Object, patch: Object) -> Object:
        meta = obj["metadata"]
        try:
            return await self._cluster.patch(ALIGNMENT_JOBS, meta["namespace"], meta["name"], patch, "status")
        except ApiError as error:
            if error.not_found:  # its DELETED event was missed
                self._store.drop(ALIGNMENT_JOBS, obj)
            raise

    async def _start(self, key: Key, observed: Observed, decision: Decision) -> float | None:
        """Make the run's children; of one that started before only if the AlignmentJob, read live, still says so."""
        if not decision.new_run and not await self._current(key):
            return 0.0
        obj = self._store.job(key)
        if obj is None:
            return None
        job, _ = read(obj)
        try:
            child = await self._children.make(job, decision, observed.upstream)
        except NotYet as wait:
            log.info("waiting", extra={"job": "/".join(key), "why": str(wait)})
            return NOT_YET_SECONDS
        except SpecProblem as problem:
            return await self._refuse(
                key, obj, job, observed, replace(decision, start=False, new_run=False, problem=problem)
            )
        self._keep(JOBS, child, but=key)
        log.info("job made", extra={"job": "/".join(key), "run": decision.run, "uid": child["metadata"]["uid"]})
        return SETTLE_SECONDS

    async def _refuse(self, key: Key, obj: Object, job: AlignmentJob, observed: Observed, decision: Decision) -> float:
        """The API server refuses the Job: say so, and give up the name, so that the spec may be mended."""
        assert decision.problem is not None
        self._refused[key] = (job.metadata.generation, self._now(), decision.problem)
        result = await self._report(key, obj, job, observed, decision)
        await events.emit(self._cluster, obj, result.events)
        return REFUSED_RETRY_SECONDS

    async def _current(self, key: Key) -> bool:
        """Whether the store has the AlignmentJob as it is now; else it has after this."""
        known, live = self._store.job(key), await self._cluster.get(ALIGNMENT_JOBS, *key)
        if live is None:
            if known:
                self._store.drop(ALIGNMENT_JOBS, known)
            return False
        self._store.put(ALIGNMENT_JOBS, live)
        return known is not None and known["metadata"]["resourceVersion"] == live["metadata"]["resourceVersion"]

    async def _stop(self, key: Key, decision: Decision, observed: Observed) -> None:
        if decision.stop_run is not None and observed.job:
            log.info("stopping", extra={"job": "/".join(key), "run": decision.stop_run})
            await self._remove(observed)

    async def _clear(self, key: Key, job: AlignmentJob, observed: Observed) -> None:
        """Delete the Job of an AlignmentJob of this name that is no more, if ours is not the older one."""
        old = None if observed.job else self._store.child(key, job.status.run or 1)
        if old is None or old.deleting or not old.ours or old.owner != key.name or not await self._current(key):
            return
        await self._children.clear(JOBS, {"namespace": old.namespace, "name": old.name, "uid": old.uid})
        self._store.deleting(old)

    async def _delete(self, observed: Observed, decision: Decision) -> None:
        if decision.delete_child and observed.job:
            await self._remove(observed)

    async def _remove(self, observed: Observed) -> None:
        child = observed.job
        assert child is not None
        await self._cluster.delete(JOBS, child.namespace, child.name, child.uid)
        self._store.deleting(child)

    async def _patch(self, observed: Observed, decision: Decision) -> None:
        if decision.patch and observed.job:
            child = observed.job
            patch = decision.patch | {"metadata": {**decision.patch.get("metadata", {}), "uid": child.uid}}
            self._keep(JOBS, await self._cluster.patch(JOBS, child.namespace, child.name, patch))
        if decision.workload and (workload := observed.workload):
            patch = decision.workload | {"metadata": {"uid": workload.uid}}
            served = replace(WORKLOADS, api=workload.api)
            self._keep(WORKLOADS, await self._cluster.patch(served, workload.namespace, workload.name, patch))

    def _keep(self, resource: Resource, written: Object, but: Key | None = None) -> None:
        """Put what we wrote into the store; whom it concerns looks again, for the watch will find nothing new.

        `but`: the key that is being reconciled, where it says itself when to look again.
        """
        for key in self._store.put(resource, written):
            if key != but:
                self._enqueue(key)


def _was_refused(job: AlignmentJob) -> bool:
    conditions = job.status.conditions or ()
    return any(c.type == ConditionType.ACCEPTED and c.reason == Reason.POD_INVALID for c in conditions)


def _held_back(job: AlignmentJob, problem: SpecProblem) -> Decision:
    return Decision(job.status.run or 0, job.status.rerun, problem=problem, look_again=REFUSED_RETRY_SECONDS)


def warm_up() -> None:
    """Compile every rule. That takes a second, in which a leader could not renew its Lease."""
    spec: Object = {"model": {"modelNameOrPath": "m"}, "dataset": {"datasetName": "d"}, "dpo": {}}
    spec["output"] = {"volume": {"persistentVolumeClaim": {"claimName": "c"}}}
    validation.problems(
        {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": "n"}, "spec": spec}, strict=False
    )


def read(obj: Object) -> tuple[AlignmentJob, SpecProblem | None]:
    """The object as models; one that predates a bound with a stand-in spec, and what is wrong with its own."""
    try:
        return AlignmentJob.model_validate(obj), None
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(part) for part in first["loc"])
        if not path.startswith("spec"):
            raise
        stand_in = {"model": {}, "dataset": {}, "output": {"volume": {"name": "none"}}, "dpo": {}}
        return AlignmentJob.model_validate({**obj, "spec": stand_in}), SpecProblem(path, first["msg"])


def _changes(stored: Object, result: StatusResult) -> Object:
    """Merge patch from stored to wanted status; progress and metrics are another writer's unless taken over."""
    if not result.take_over_progress:
        stored = {name: value for name, value in stored.items() if name not in ("progress", "metrics")}
    return merge_diff(stored, result.status)


def _is_passing(changes: Object, result: StatusResult) -> bool:
    """Whether the status is soon to be another by itself: the run starts, or its pods are being counted."""
    if changes.keys() <= SILENT:
        return True
    if result.events or "observedGeneration" in changes:
        return False
    return any(c["type"] == ConditionType.RECONCILING for c in result.status.get("conditions") or ())


def _soonest(*seconds: float | None) -> float | None:
    return min((s for s in seconds if s is not None), default=None)
