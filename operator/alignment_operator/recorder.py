"""Kubernetes Events in the background, as client-go posts them: a burst of jobs does not wait for what tells of it."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable
from typing import Any

from . import events
from .cluster import Cluster
from .status import Event

log = logging.getLogger(__name__)
LIMIT = 20_000  # may wait, half a kilobyte each; then the oldest are lost, as client-go's are: status says the same
ONE_MORE = 1000  # for so many that wait one more is posted at a time: one alone would never be done with them


class Recorder:
    """Posts what is noted, the oldest first, few at a time. One event loop only."""

    def __init__(self, cluster: Cluster, limit: int = LIMIT, one_more: int = ONE_MORE) -> None:
        self._cluster, self._limit, self._one_more = cluster, limit, one_more
        self._waiting: deque[events.Noted] = deque()
        self._posting = self._lost = 0
        self._changed = asyncio.Condition()

    async def note(self, about: dict[str, Any], happened: Iterable[Event]) -> None:
        """Have these events of an object posted, with the present time. Waits for nothing that takes time."""
        noted = [events.noted(about, event) for event in happened]
        if not noted:
            return
        async with self._changed:
            self._waiting.extend(noted)
            while len(self._waiting) > self._limit:
                self._waiting.popleft()
                self._lost += 1
            self._changed.notify_all()

    async def post(self) -> None:
        """Post for ever. Raises what the cluster's guard raises."""
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: bool(self._waiting))
                some = [self._waiting.popleft() for _ in range(self._at_a_time())]
                self._posting = len(some)
            self._tell_lost()
            await asyncio.gather(*(events.post(self._cluster, event) for event in some))
            async with self._changed:
                self._posting = 0
                self._changed.notify_all()

    async def drained(self) -> None:
        """Return when all that was noted is posted, or lost."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._waiting and not self._posting)

    def _at_a_time(self) -> int:
        return min(len(self._waiting), 1 + len(self._waiting) // self._one_more)

    def _tell_lost(self) -> None:
        if self._lost:
            log.warning("events lost", extra={"because": f"{self._limit} wait", "lost": self._lost})
            self._lost = 0
