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
    job = {"job": "/".join(key)}
    try:
        again = await reconciler.reconcile(key)
    except ApiError as error:
        result = "requeue" if error.conflict else "error"
        delay = queue.add_failed(key)
        metrics.retries.inc()
        log.log(
            logging.INFO if error.conflict else logging.WARNING,
            "reconcile: the API server refused",
            extra={**job, "error": str(error), "again": delay},
        )
        return result
    except (TimeoutError, aiohttp.ClientError) as error:
        delay = queue.add_failed(key)
        metrics.retries.inc()
        log.warning("reconcile: no answer", extra={**job, "error": repr(error), "again": delay})
        return "error"
    except LeaseLost:  # the process ends
        raise
    except Exception:
        delay = queue.add_failed(key)
        metrics.retries.inc()
        log.exception("reconcile failed", extra={**job, "again": delay})
        return "error"
    queue.forget(key)
    log.debug("reconciled", extra={**job, "seconds": round(time.monotonic() - started, 4), "again": again})
    if again is None:
        return "success"
    queue.add_after(key, again)
    return "requeue_after"
