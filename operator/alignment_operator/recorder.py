"""Kubernetes Events in the background, as client-go posts them: a burst of jobs does not wait for what tells of it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from . import events
from .cluster import Cluster
from .status import Event

LIMIT = 5000  # manifests of 1 KB that may wait; then a reconcile waits too


class Recorder:
    """Posts what is noted one at a time, in that order. One event loop only."""

    def __init__(self, cluster: Cluster, limit: int = LIMIT) -> None:
        self._cluster, self._limit = cluster, limit
        self._waiting: deque[dict[str, Any]] = deque()
        self._changed = asyncio.Condition()

    async def note(self, about: dict[str, Any], happened: Iterable[Event]) -> None:
        """Have these events of an object posted, with the present time; waits while too many wait."""
        for event in happened:
            async with self._changed:
                await self._changed.wait_for(lambda: len(self._waiting) < self._limit)
                self._waiting.append(events.manifest(about, event, datetime.now(UTC)))
                self._changed.notify_all()

    async def post(self) -> None:
        """Post for ever. Raises what the cluster's guard raises."""
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: bool(self._waiting))
            await events.post(self._cluster, self._waiting[0])
            async with self._changed:
                self._waiting.popleft()
                self._changed.notify_all()

    async def drained(self) -> None:
        """Return when all that was noted is posted."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._waiting)
