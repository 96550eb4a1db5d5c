"""The leader's writes to `status`: one at most for a reconcile, and none without a change."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from .api.constants import ConditionType, Phase
from .cluster import ApiError, Cluster
from .mergepatch import merge_diff
from .resources import ALIGNMENT_JOBS, Resource
from .runs import Decision
from .settings import Settings
from .status import StatusResult, compute
from .store import Key, Store
from .subject import Subject

log = logging.getLogger(__name__)
Object = dict[str, Any]

# After a write of ours. By then the cluster's answer has mostly come; it is looked at anyway.
SETTLE_SECONDS = 1.0
PASSING_SECONDS = 5.0  # what only says that something is on its way may wait so long for that to happen
ENDING_SECONDS = 20.0  # and what says that a run ends: a Job controller with much to do counts its pods later
# What is first known of a run's Job, while nothing else has happened to it: a write of its own comes that late.
SILENT, SILENT_SECONDS = {"jobUID", "startTime"}, 45.0


class StatusWriter:
    """`keep` puts into the store what the API server answered, and `told` hears of it: the object before, the status.

    One for the process.
    """

    def __init__(
        self,
        store: Store,
        cluster: Cluster,
        settings: Settings,
        now: Callable[[], datetime],
        keep: Callable[[Resource, Object, Key], None],
        told: Callable[[Object, Object], None],
    ) -> None:
        self._store, self._cluster, self._settings, self._now = store, cluster, settings, now
        self._keep, self._told = keep, told
        self._waiting: dict[Key, tuple[float, datetime]] = {}  # a change that may wait so many seconds, and since when

    async def write(self, subject: Subject, decision: Decision) -> StatusResult:
        """One status write, if anything changed; the result has events only after it succeeded. Raises ApiError."""
        key, obj, observed = subject.key, subject.obj, subject.observed
        result = compute(subject.job, observed, decision, self._now(), self._settings)
        changes = _changes(obj.get("status") or {}, result)
        if not changes:
            self.forget(key)
            self._store.counted(key, observed.gone)
            return replace(result, events=[])
        patience = 0.0 if decision.new_run else _patience(obj.get("status") or {}, changes, result)
        if wait := self._postponed(key, patience):
            return replace(result, events=[], look_again=soonest(result.look_again, wait))
        await self._patch(key, obj, changes)
        log.info("status", extra={"job": "/".join(key), "run": decision.run, "phase": result.status.get("phase")})
        self._store.counted(key, (*observed.gone, *observed.before))
        return _settling(result)

    def forget(self, key: Key) -> None:
        """No change of it waits."""
        self._waiting.pop(key, None)

    def _postponed(self, key: Key, patience: float) -> float:
        """For how many seconds a change that may wait so long in all may still wait; 0: write it now."""
        kind, since = self._waiting.get(key, (patience, self._now()))
        if kind != patience:  # another change: it waits from now on
            since = self._now()
        self._waiting[key] = patience, since
        if (left := patience - (self._now() - since).total_seconds()) > 0:
            return left
        self.forget(key)
        return 0.0

    async def _patch(self, key: Key, obj: Object, changes: Object) -> None:
        """On the version that was looked at: a conflict means that our view was old."""
        metadata = {name: obj["metadata"][name] for name in ("resourceVersion", "uid")}
        patch = {"metadata": metadata, "status": changes}
        try:
            written = await self._cluster.patch(ALIGNMENT_JOBS, key.namespace, key.name, patch, "status")
        except ApiError as error:
            if error.not_found:  # its DELETED event was missed
                self._store.drop(ALIGNMENT_JOBS, obj)
            raise
        self._keep(ALIGNMENT_JOBS, written, key)
        self._told(obj, written.get("status") or {})


def soonest(*seconds: float | None) -> float | None:
    """The least that is not None; None when all are."""
    return min((s for s in seconds if s is not None), default=None)


def _settling(result: StatusResult) -> StatusResult:
    """What follows a run's end (a TTL, a rerun) is looked at soon."""
    if result.status.get("phase") not in (Phase.COMPLETE, Phase.FAILED):
        return result
    return replace(result, look_again=soonest(result.look_again, SETTLE_SECONDS))


def _changes(stored: Object, result: StatusResult) -> Object:
    """Merge patch from stored to wanted status; progress and metrics are another writer's unless taken over."""
    if not result.take_over_progress:
        stored = {name: value for name, value in stored.items() if name not in ("progress", "metrics")}
    return merge_diff(stored, result.status)


def _patience(stored: Object, changes: Object, result: StatusResult) -> float:
    """Seconds that a change may wait where status is soon another by itself: a run starts, its pods are counted."""
    if changes.keys() <= SILENT:
        return PASSING_SECONDS if changes.keys() & stored.keys() else SILENT_SECONDS
    if result.events or "observedGeneration" in changes:
        return 0.0
    if not any(c["type"] == ConditionType.RECONCILING for c in result.status.get("conditions") or ()):
        return 0.0
    ends = "phase" not in changes and result.status.get("phase") == Phase.RUNNING
    return ENDING_SECONDS if ends else PASSING_SECONDS
