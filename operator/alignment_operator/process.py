"""One operator process, from start to stop.

Every replica runs the watches, the store, the probes and the progress endpoint; the one that holds the Lease also
runs the workers. The process ends when any of these ends, whatever the reason: Kubernetes starts it again, and a
half-dead operator is worse than none.
"""

import asyncio
import logging
import os
import secrets
import signal
import socket
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import kopf
from aiohttp import web

from . import handlers, memory, probes
from .certificates import Certificates
from .cluster import Cluster, connect
from .kueue import Workloads
from .leader import Lease, only_lost
from .listener import BoundedSite
from .metrics import Metrics
from .preflight import warm_up
from .probes import Health
from .progress import Reports
from .reconcile import Reconciler
from .recorder import Recorder
from .resync import Resync
from .settings import Settings
from .startup import answered
from .store import Key, Store
from .tokens import Keys, Tokens
from .watches import Watches
from .workers import work
from .workqueue import WorkQueue

log = logging.getLogger(__name__)
IDLE_SECONDS = 5.0  # a connection without a request is closed then; aiohttp's own default is an hour
CONNECTIONS = 512  # of the progress endpoint at a time; more wait
LINGERING_SECONDS = 2.0  # for the rest of a body that is answered before its end
STOP_SECONDS = 2.0  # for reconciles in flight; whatever they leave undone, the next leader does


class Process:
    """Everything that runs, and how it is wired."""

    def __init__(self, settings: Settings, cluster: Cluster, kubeconfig: str | None, bind: str) -> None:
        self._settings, self._cluster, self._kubeconfig, self._bind = settings, cluster, kubeconfig, bind
        self._stop = asyncio.Event()
        self._store = Store()
        self._queue: WorkQueue[Key] = WorkQueue()
        self._metrics = Metrics(self._store, self._queue, settings.workers, settings.lease_name)
        self._health = Health(settings.resync_seconds)
        self._lease = Lease(cluster, settings.namespace, settings.lease_name, _identity(), settings.lease_seconds)
        self._writer = cluster.guarded(self._lease.check)
        self._recorder = Recorder(self._writer)
        self._resync = Resync(self._store, cluster, settings, self._metrics, self._queue.add)
        self._watches = Watches(self._store, cluster, settings, self._resync, self._queue.add_after)
        self._workloads = Workloads(self._store, cluster, settings, self._queue.add)
        url = settings.progress.url
        secret = f"{settings.lease_name}-tls"
        self._certificates = Certificates(cluster, settings.namespace, secret, url) if url else None
        self._runners: list[web.AppRunner] = []

    async def run(self) -> None:
        """Until SIGTERM or SIGINT (returns), or until something fails (raises it)."""
        tasks: list[asyncio.Task[Any]] = [asyncio.create_task(self._stop.wait(), name="stop")]
        try:
            self._catch_signals()
            preparing = asyncio.create_task(self._prepare(), name="preparation")
            tasks.append(preparing)
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if not preparing.done():  # stopped before it was ready
                return
            tasks.remove(preparing)
            tasks += preparing.result()
            tasks += [asyncio.create_task(coro, name=name) for name, coro in self._parts()]
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                log.info("stopping", extra={"because": f"{task.get_name()} ended"})
                task.result()
        finally:
            await self._shut_down(tasks)

    async def _prepare(self) -> list[asyncio.Task[None]]:
        """Probes, a full store, the progress endpoint; returns the tasks of the latter."""
        runner = await self._runner(probes.routes(self._health, self._queue, self._metrics))
        await web.TCPSite(runner, self._bind, self._settings.health_port).start()
        await answered(self._resync_once)
        await answered(self._lease.read)
        if not self._certificates:
            return []
        await answered(self._certificates.refresh)
        return [asyncio.create_task(self._certificates.keep(), name="certificates"), await self._serve_progress()]

    def _parts(self) -> tuple[tuple[str, Coroutine[Any, Any, None]], ...]:
        # kopf last: it takes every task that was made after its own for one of its own, and ends it when it stops.
        return (
            ("resync", self._resync_forever()),
            ("children", self._watches.follow()),
            ("workloads", self._workloads.follow()),
            ("memory", memory.give_back_forever()),
            ("leader", self._lead()),
            ("watches", self._watch()),
        )

    async def _watch(self) -> None:
        others = asyncio.all_tasks()
        namespaces = self._settings.watch_namespaces
        tasks = await kopf.spawn_tasks(
            registry=handlers.register(self._store, self._queue, self._kubeconfig),
            settings=handlers.tuning(self._settings),
            standalone=True,
            clusterwide=not namespaces,
            namespaces=namespaces,
        )
        self._catch_signals()  # kopf has just put its own in their place
        self._health.watching = True
        await kopf.run_tasks(tasks, ignored=others)

    async def _lead(self) -> None:
        """Wait for the Lease, then work as long as it is held. Raises LeaseLost when that is over."""
        await asyncio.to_thread(warm_up)
        await self._lease.acquire()
        try:
            async with asyncio.TaskGroup() as group:  # a crash of one ends the other, and the process
                group.create_task(self._lease.hold(), name="lease")
                group.create_task(self._work(), name="workers")
                group.create_task(self._recorder.post(), name="events")
        except ExceptionGroup as failures:
            if lost := only_lost(failures):
                raise lost from None
            raise

    async def _work(self) -> None:
        await answered(self._resync_once)  # the last leader's writes may not have reached our watches yet
        self._metrics.lead()
        self._health.leading = True
        for key in self._store.job_keys():
            self._queue.add(key)
        authority = self._certificates.authority if self._certificates else str
        told = self._metrics.transitions.written
        reconciler = Reconciler(
            self._store, self._writer, self._settings, authority, self._queue.add, told=told, note=self._recorder.note
        )
        await work(self._queue, reconciler, self._metrics, self._settings.workers)

    async def _resync_once(self) -> None:
        await self._resync.run()
        await self._workloads.refresh()
        self._health.synced()

    async def _resync_forever(self) -> None:
        while True:
            await asyncio.sleep(self._settings.resync_seconds)
            try:
                await self._resync_once()
            except Exception:
                log.exception("resync failed")
                continue
            if self._health.leading:
                for key in self._store.job_keys():
                    self._queue.add(key)

    async def _serve_progress(self) -> asyncio.Task[None]:
        assert self._certificates is not None
        tokens = Tokens(Keys(self._cluster), self._settings.progress.audience)
        reports = Reports(self._store, self._cluster, self._settings.progress, tokens, self._metrics)
        runner, port = await self._runner(reports.application()), self._settings.progress.port
        context = self._certificates.context
        await BoundedSite(runner, self._bind, port, ssl_context=context, connections=CONNECTIONS).start()
        return asyncio.create_task(reports.write_forever(), name="progress")

    async def _runner(self, app: web.Application) -> web.AppRunner:
        patience: dict[str, Any] = {"keepalive_timeout": IDLE_SECONDS, "lingering_time": LINGERING_SECONDS}
        # what a body says of its own coding is not believed: nothing small grows large here
        patience["auto_decompress"] = False
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1, **patience)
        await runner.setup()
        self._runners.append(runner)
        return runner

    def _catch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)

    async def _shut_down(self, tasks: list[asyncio.Task[Any]]) -> None:
        """Workers first, then the Lease (nobody may take it while we write), then the rest."""
        self._health.stopping = True
        self._queue.shut_down()
        by_name = {task.get_name(): task for task in tasks}
        if leader := by_name.get("leader"):
            await self._end_leader(leader)
        for task in tasks:
            task.cancel()
        for runner in self._runners:
            await runner.cleanup()
        await asyncio.wait(tasks, timeout=STOP_SECONDS)
        await self._cluster.close()

    async def _end_leader(self, task: asyncio.Task[Any]) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                while self._queue.held and not task.done():
                    await asyncio.sleep(0.02)
                if not task.done():
                    await self._recorder.drained()
        task.cancel()
        await asyncio.wait([task], timeout=1)
        with suppress(Exception):
            await asyncio.wait_for(self._lease.release(), 1)


async def run(settings: Settings, kubeconfig: str | None, bind: str) -> None:
    """Log in and run one process."""
    cluster = await connect(kubeconfig)
    await Process(settings, cluster, kubeconfig, bind).run()


def _identity() -> str:
    return f"{os.environ.get('POD_NAME') or socket.gethostname()}_{secrets.token_hex(4)}"
