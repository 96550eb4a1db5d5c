"""The HTTPS endpoint for progress: POST /v1/namespaces/NS/alignmentjobs/NAME/runs/N/progress, from pods of run N only.

Every replica serves it. Reports are accepted at once and written later: at most one status write per job in
`write_seconds`, newest wins; a change of phase waits a quarter of that. They are written one after the other; where
more are due than the API server takes so, each waits longer, and what comes meanwhile is written in its place.
Nothing that the operator decides depends on a report having arrived.
"""

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
from aiohttp import web
from pydantic import ValidationError

from . import logs
from .api.constants import ENDS
from .cluster import ApiError, Cluster
from .metrics import Metrics
from .observed import parse_time
from .reports import Report
from .resources import ALIGNMENT_JOBS
from .settings import ProgressSettings
from .store import Key, Store
from .tokens import BadToken, Tokens

log = logging.getLogger(__name__)

PATH = "/v1/namespaces/{namespace}/alignmentjobs/{name}/runs/{run:[0-9]{1,9}}/progress"
RETRY = timedelta(seconds=2)
FLUSH_SECONDS = 1.0
# From one write to the next, at least, so 60 a second. One at a time, for what comes in beside several waits for all of
# them: the Lease's renewal behind hundreds, a report's answer behind six (p99 of 242 ms, not 59 to 82).
BETWEEN_SECONDS = 1 / 60
FLUSHED_AT_ONCE = 6  # at the end there is one second for all
BODY_SECONDS = 5.0  # a report is a few kilobytes: who takes longer to send it holds a connection for nothing


@dataclass(frozen=True, slots=True)
class Pending:
    """The newest report of a job that is not written yet. `after`: the time of the one that was written before it."""

    run: int
    report: Report
    received: datetime
    due: datetime
    after: str | None


class Reports:
    """Accepts reports and writes them, throttled, to status.progress and status.metrics."""

    def __init__(
        self, store: Store, cluster: Cluster, settings: ProgressSettings, tokens: Tokens, metrics: Metrics
    ) -> None:
        self._store, self._cluster, self._settings = store, cluster, settings
        self._tokens, self._metrics = tokens, metrics
        self._pending: dict[Key, Pending] = {}
        self._writing: dict[Key, Pending] = {}
        self._written: dict[Key, tuple[int, datetime]] = {}  # run and when, of the last `write_seconds`, in that order
        self._arrived = asyncio.Event()

    def application(self) -> web.Application:
        """The endpoint; serve it over TLS only."""
        app = web.Application(client_max_size=self._settings.max_body_bytes, middlewares=[self._counted])
        app.router.add_post(PATH, self._post)
        return app

    async def write_forever(self) -> None:
        """Write what is due, until cancelled; then what is left, so that the last report is not lost."""
        try:
            while True:
                await asyncio.gather(self._write_due(_now()), asyncio.sleep(BETWEEN_SECONDS))
                self._arrived.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._arrived.wait(), self._wait())
        finally:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._flush(), FLUSH_SECONDS)

    async def _flush(self) -> None:
        """Try each: one that fails is due again later than those that were not tried."""
        for _ in range(0, len(self._pending), FLUSHED_AT_ONCE):
            await asyncio.gather(*(self._write_due(datetime.max.replace(tzinfo=UTC)) for _ in range(FLUSHED_AT_ONCE)))

    @web.middleware
    async def _counted(self, request: web.Request, handler: Any) -> web.StreamResponse:
        code = 500
        try:
            response = await handler(request)
            code = response.status
            return response
        except web.HTTPException as refusal:
            code = refusal.status
            raise
        finally:
            self._metrics.reports.labels(str(code)).inc()

    async def _post(self, request: web.Request) -> web.Response:
        """Accept one report. Who sends is checked before the body is read."""
        key, run = Key(request.match_info["namespace"], request.match_info["name"]), int(request.match_info["run"])
        with logs.about(key):
            await self._admit(request, key, run)
        try:
            report = Report.model_validate_json(await _body(request))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            text = f"{'.'.join(map(str, first['loc'])) or 'body'}: {first['msg']}"
            raise web.HTTPUnprocessableEntity(text=text) from error
        self._accept(key, run, report, _now())
        return web.json_response({})

    async def _admit(self, request: web.Request, key: Key, run: int) -> None:
        """Raise the right refusal unless this is a pod of the job's current run."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise web.HTTPUnauthorized(text="a bearer token is needed")
        try:
            pod = await self._tokens.verify(token.strip())
        except BadToken as error:
            raise web.HTTPUnauthorized(text=str(error)) from error
        except (ApiError, TimeoutError, aiohttp.ClientError) as error:
            log.warning("progress: keys cannot be fetched", extra={"error": repr(error)})
            raise web.HTTPServiceUnavailable(text="the API server's keys cannot be fetched now") from error
        if pod.namespace != key.namespace or not self._is_of_run(key, pod.pod_uid, run):
            raise web.HTTPForbidden(text="not a pod of this run")
        if not self._open(key, run):
            raise web.HTTPGone(text="this run is over")

    def _is_of_run(self, key: Key, pod_uid: str, run: int) -> bool:
        """Whether the pod is of the Job that this very AlignmentJob has now: names and labels outlive the deleted."""
        obj, pod, child = self._store.job(key), self._store.pod(key, pod_uid), self._store.child(key, run)
        if obj is None or pod is None or child is None:
            return False
        return pod.run == run and pod.job_uid == child.uid and child.owner_uid == obj["metadata"]["uid"]

    def _open(self, key: Key, run: int) -> bool:
        """Whether reports of this run are still wanted."""
        obj = self._store.job(key)
        return obj is not None and _current_run(obj) == run

    def _accept(self, key: Key, run: int, report: Report, now: datetime) -> None:
        due = self._due(key, run, report, now)
        earlier = self._pending.get(key)
        if earlier and earlier.run == run:
            due = min(due, earlier.due)  # a stream of reports must not push the write away
        self._pending[key] = Pending(run, report, now, due, self._last(key, run).get("lastReportTime"))
        self._arrived.set()

    def _due(self, key: Key, run: int, report: Report, now: datetime) -> datetime:
        """When to write that report, if no other were waiting."""
        wait = timedelta(seconds=self._settings.write_seconds)
        if report.alignment.phase != self._last(key, run).get("phase"):
            wait /= 4
        reported = parse_time(self._last(key, run).get("lastReportTime"))
        of_run, written = self._written.get(key, (0, now))
        if of_run == run:  # what was written had waited for it: the report in it is older than that
            reported = max(reported or written, written)
        # the replica that wrote last may have a clock that is ahead of ours
        return min(max(now, reported + wait), now + wait) if reported else now

    def _last(self, key: Key, run: int) -> dict[str, Any]:
        """status.progress of this run as it was last written, by whichever replica, or is just being written."""
        if (writing := self._writing.get(key)) and writing.run == run:
            return writing.report.progress(run, writing.received)
        progress: dict[str, Any] = ((self._store.job(key) or {}).get("status") or {}).get("progress") or {}
        return progress if progress.get("run") == run else {}

    def _wait(self) -> float | None:
        """Seconds until the next write is due."""
        first = self._first()
        return max(0.0, (self._pending[first].due - _now()).total_seconds()) if first else None

    def _first(self) -> Key | None:
        """Which is due before all others."""
        return min(self._pending, key=lambda key: self._pending[key].due, default=None)

    async def _write_due(self, now: datetime) -> None:
        """Write what has been due for longest, if anything is."""
        while (key := self._first()) and (pending := self._pending[key]).due <= now:
            still = self._after_others(key, pending, min(now, _now()))
            if still is pending:
                await self._write(key, self._pending.pop(key), now)
                break
            self._pending[key] = still
        self._forget_writes(now - timedelta(seconds=self._settings.write_seconds))

    def _after_others(self, key: Key, pending: Pending, now: datetime) -> Pending:
        """The same, or due later, if another replica has written a report since this one was accepted."""
        after = self._last(key, pending.run).get("lastReportTime")
        if after == pending.after:
            return pending
        return replace(pending, due=self._due(key, pending.run, pending.report, now), after=after)

    def _forget_writes(self, before: datetime) -> None:
        while self._written and next(iter(self._written.values()))[1] < before:
            del self._written[next(iter(self._written))]

    async def _write(self, key: Key, pending: Pending, now: datetime) -> None:
        """One server-side apply. The resourceVersion in it makes a write after the leader's last word a conflict."""
        obj = self._store.job(key)
        if obj is None or _current_run(obj) != pending.run or _is_stored(obj, pending):
            return
        try:
            self._store.put(ALIGNMENT_JOBS, await self._apply(key, obj, pending))
            self._written.pop(key, None)
            self._written[key] = pending.run, now
        except ApiError as error:
            if error.not_found:
                return
            await self._again(key, pending, error)
        except (TimeoutError, aiohttp.ClientError) as error:
            await self._again(key, pending, error)

    async def _apply(self, key: Key, obj: dict[str, Any], pending: Pending) -> dict[str, Any]:
        self._writing[key] = pending
        try:
            return await self._cluster.apply_progress(ALIGNMENT_JOBS, _manifest(obj, pending))
        finally:
            self._writing.pop(key, None)

    async def _again(self, key: Key, pending: Pending, error: Exception) -> None:
        """Try later, unless a newer report has come; after a conflict from the live object."""
        log.info("progress: written later", extra={"job": "/".join(key), "error": repr(error)})
        due = _now() + RETRY
        if isinstance(error, ApiError) and error.conflict:
            with suppress(ApiError, TimeoutError, aiohttp.ClientError):
                if live := await self._cluster.get(ALIGNMENT_JOBS, *key):
                    self._store.put(ALIGNMENT_JOBS, live)
            due = self._due(key, pending.run, pending.report, _now())  # another replica may just have written a report
        after = self._last(key, pending.run).get("lastReportTime")
        self._pending.setdefault(key, replace(pending, due=due, after=after))
        self._arrived.set()


async def _body(request: web.Request) -> bytes:
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise web.HTTPUnsupportedMediaType(text="a report is sent as it is, without a Content-Encoding")
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await request.read()
    except TimeoutError as error:
        raise web.HTTPRequestTimeout(text=f"the report was not sent in {BODY_SECONDS:g} s") from error


def _now() -> datetime:
    return datetime.now(UTC)


def _current_run(obj: dict[str, Any]) -> int | None:
    """The run that is under way; None when it is over."""
    status = obj.get("status") or {}
    over = any(c["type"] in ENDS and c["status"] == "True" for c in status.get("conditions") or ())
    return None if over else status.get("run")


def _is_stored(obj: dict[str, Any], pending: Pending) -> bool:
    """Whether status says all this already: the report was written, and the API server's answer was lost."""
    stored: dict[str, Any] = obj.get("status") or {}
    return all((stored.get(name) or []) == value for name, value in _manifest(obj, pending)["status"].items())


def _manifest(obj: dict[str, Any], pending: Pending) -> dict[str, Any]:
    """Apply configuration of the two fields that are ours. A report without metrics leaves them as they were."""
    meta, status = obj["metadata"], obj.get("status") or {}
    same_run = (status.get("progress") or {}).get("run") == pending.run
    metrics = pending.report.metrics()
    if metrics is None:
        metrics = status.get("metrics") or [] if same_run else []
    return {
        "apiVersion": ALIGNMENT_JOBS.api,
        "kind": ALIGNMENT_JOBS.kind,
        "metadata": {name: meta[name] for name in ("namespace", "name", "uid", "resourceVersion")},
        "status": {"progress": pending.report.progress(pending.run, pending.received), "metrics": metrics},
    }
