"""Plain HTTP for the kubelet and Prometheus: /healthz, /readyz, /metrics.

Ready means: the store has been filled, the watches were started, and the API server has answered a LIST lately. It
does not mean leading: a new replica must get ready beside the leader that it is to replace.
"""

import time
from dataclasses import dataclass, field

from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from .metrics import Metrics
from .store import Key
from .workqueue import WorkQueue

STUCK_SECONDS = 600.0  # a key that waits longer for a worker means that none gets free


@dataclass(slots=True)
class Health:
    """What the process knows about itself. Times are monotonic seconds."""

    resync_seconds: float
    watching: bool = False
    synced_at: float | None = None
    leading: bool = False
    stopping: bool = False
    servers: dict[str, bool] = field(default_factory=dict)

    def synced(self) -> None:
        """A complete LIST of everything has just been taken in."""
        self.synced_at = time.monotonic()

    def unready(self) -> str:
        """Why this replica is not ready; empty when it is."""
        if self.stopping:
            return "stopping"
        if not self.watching:
            return "the watches have not been started"
        if self.synced_at is None:
            return "the store has not been filled"
        age = time.monotonic() - self.synced_at
        return f"the last LIST is {age:.0f} s old" if age > 3 * self.resync_seconds else ""


def routes(health: Health, queue: WorkQueue[Key], metrics: Metrics) -> web.Application:
    """The application; serve it on `settings.health_port`."""

    async def healthz(_: web.Request) -> web.Response:
        stuck = health.leading and queue.oldest_wait > STUCK_SECONDS
        return web.Response(status=503, text="no worker gets free") if stuck else web.Response(text="ok")

    async def readyz(_: web.Request) -> web.Response:
        why = health.unready()
        return web.Response(status=503, text=why) if why else web.Response(text="ok")

    async def scrape(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", scrape)])
    return app
