"""Every kopf decorator. A handler puts the object into the store and its keys into the queue, and nothing else.

Only `on.event` handlers are used: they leave no trace on the object (no annotation, no finalizer) and need no retry,
because the queue has one. kopf watches the AlignmentJobs; their children come in by watches.py.
"""

import logging
import os
from collections.abc import Iterator
from itertools import chain, repeat
from typing import Any

import kopf

from .resources import ALIGNMENT_JOBS
from .settings import Settings
from .store import Key, Store
from .workqueue import WorkQueue


class Backoffs:
    """Seconds between tries of one request. kopf's own grow to 21 and end after 54: blind so long, and then dead."""

    def __iter__(self) -> Iterator[float]:
        return chain((0.5, 1.0, 2.0), repeat(4.0))


def register(store: Store, queue: WorkQueue[Key], kubeconfig: str | None) -> kopf.OperatorRegistry:
    """The handlers, on a registry of their own."""
    registry = kopf.OperatorRegistry()

    watched = ALIGNMENT_JOBS

    @kopf.on.event(watched.group, watched.version, watched.plural, id=watched.plural, registry=registry)
    async def _(event: Any, **_: Any) -> None:
        for key in store.event(watched, event):
            queue.add(key, urgent=store.awaits_job(key))

    @kopf.on.login(registry=registry, id="login")
    async def _(**kwargs: Any) -> kopf.ConnectionInfo | None:
        return _login(kubeconfig, **kwargs)

    return registry


def tuning(settings: Settings) -> kopf.OperatorSettings:
    """kopf's own settings. Measured with 10,000 Jobs: 73 MB instead of 432 with chunk_size and idle_timeout as here."""
    tuned = kopf.OperatorSettings()
    tuned.scanning.disabled = True  # no watch of CRDs and namespaces: less RBAC
    tuned.posting.enabled = False  # events are ours, after the status write
    tuned.watching.chunk_size = 500
    tuned.watching.server_timeout = 600  # a watch that went silent ends here at the latest
    tuned.networking.request_timeout = 30
    tuned.networking.connect_timeout = 10
    tuned.networking.error_backoffs = Backoffs()
    tuned.queueing.idle_timeout = 0.05
    tuned.persistence.diffbase_storage = _NoDiff()
    tuned.persistence.progress_storage = _NoProgress()
    tuned.queueing.exit_timeout = 0.5
    tuned.process.ultimate_exiting_timeout = None  # the process ends itself (process.py)
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)  # else one line per handled event
    return tuned


class _NoDiff(kopf.DiffBaseStorage):
    """No handler asks what has changed: without this kopf copies every object at every event, half of its cost."""

    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return None


class _NoProgress(kopf.ProgressStorage):
    """No handler is tried again by kopf, so there is nothing to remember of it."""

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return None

    def purge(self, **_: Any) -> None:
        return None

    def touch(self, **_: Any) -> None:
        return None

    def clear(self, *, essence: Any) -> Any:
        return essence


def _login(kubeconfig: str | None, **kwargs: Any) -> kopf.ConnectionInfo | None:
    if kubeconfig or "KUBERNETES_SERVICE_HOST" not in os.environ:
        if kubeconfig:
            os.environ["KUBECONFIG"] = kubeconfig  # kopf reads the path from nowhere else
        return kopf.login_with_kubeconfig(**kwargs)
    return kopf.login_with_service_account(**kwargs)
