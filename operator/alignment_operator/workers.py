"""The workers: take a key, reconcile it, say when it is to be looked at again. They run in the leader only."""

import asyncio
import logging
import time

import aiohttp

from . import logs
from .cluster import ApiError
from .leader import LeaseLost
from .metrics import Metrics
from .reconcile import Reconciler
from .store import Key
from .workqueue import ShutDown, WorkQueue

log = logging.getLogger(__name__)


async def work(queue: WorkQueue[Key], reconciler: Reconciler, metrics: Metrics, count: int) -> None:
    """Run so many workers until the queue is shut down. An error of one key is that key's affair. Raises LeaseLost."""
    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(_worker(queue, reconciler, metrics))


async def _worker(queue: WorkQueue[Key], reconciler: Reconciler, metrics: Metrics) -> None:
    while True:
        try:
            key = await queue.get()
        except ShutDown:
            return
        try:
            with logs.about(key), metrics.active.track_inprogress(), metrics.seconds.time():
                metrics.reconciled(await _once(queue, reconciler, metrics, key))
        finally:
            queue.done(key)


async def _once(queue: WorkQueue[Key], reconciler: Reconciler, metrics: Metrics, key: Key) -> str:
    """One reconcile; returns its result for the metrics."""
    started = time.monotonic()
    try:
        again = await reconciler.reconcile(key)
    except LeaseLost:  # the process ends
        raise
    except Exception as error:
        metrics.retries.inc()
        return _failed(key, error, queue.add_failed(key))
    queue.forget(key)
    seconds = round(time.monotonic() - started, 4)
    log.debug("reconciled", extra={"job": "/".join(key), "seconds": seconds, "again": again})
    if again is None:
        return "success"
    queue.add_after(key, again)
    return "requeue_after"


def _failed(key: Key, error: Exception, again: float) -> str:
    """Tell of a reconcile that raised and is tried again in so many seconds; returns its result for the metrics."""
    about = {"job": "/".join(key), "again": again}
    if isinstance(error, ApiError):
        level = logging.INFO if error.conflict else logging.WARNING
        log.log(level, "reconcile: the API server refused", extra={**about, "error": str(error)})
        return "requeue" if error.conflict else "error"
    if isinstance(error, TimeoutError | aiohttp.ClientError):
        log.warning("reconcile: no answer", extra={**about, "error": repr(error)})
    else:
        log.error("reconcile failed", extra=about, exc_info=error)
    return "error"
