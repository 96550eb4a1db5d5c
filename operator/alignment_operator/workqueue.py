"""The queue between watch events and reconciles. It knows nothing of Kubernetes; a key is any hashable.

Semantics are client-go's: a key that waits is not queued twice; a key that is added while a worker holds it is
queued again when the worker is done, so that one key is never reconciled twice at the same time and no change is lost;
a key that fails comes back after a delay that doubles from `base_delay` to `max_delay`, both in seconds. As in
controller-runtime's queue some keys go first, but not all of the time.
"""

import asyncio
import contextlib
import heapq
import itertools
import time
from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
URGENT_IN_A_ROW = 4  # then one of the others


class ShutDown(Exception):
    """The queue was shut down and is empty: the worker may go."""


class WorkQueue(Generic[K]):
    """Coalescing, delayed, backing-off queue for one event loop. Not thread-safe."""

    def __init__(
        self, *, base_delay: float = 0.2, max_delay: float = 300.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._base_delay = base_delay
        self._max_delay = max_delay
        self._clock = clock
        self._ready: deque[K] = deque()
        self._urgent: deque[K] = deque()
        self._row = 0  # urgent keys taken since one of the others was
        self._since: dict[K, float] = {}  # every key that waits in one of the two -> when it was added
        self._held: set[K] = set()
        self._again: dict[K, bool] = {}  # added while held; whether urgently
        self._later: list[tuple[float, int, K]] = []
        self._due: dict[K, float] = {}  # the earliest delayed add of a key; entries of _later that differ are dead
        self._order = itertools.count()
        self._failures: dict[K, int] = {}
        self._sleepers: deque[asyncio.Future[None]] = deque()  # workers without a key, one of which is woken by an add
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_due = float("inf")
        self.added = 0  # keys queued since the start, delayed ones when they came due
        self.waited: Callable[[float], None] = lambda seconds: None  # told how long each key waited for a worker
        self._closed = False

    def add(self, key: K, *, urgent: bool = False) -> None:
        """Queue the key now, unless it already waits; `urgent`: before those that are not."""
        if self._closed or key in self._since:
            return
        if key in self._held:
            self._again[key] = urgent or self._again.get(key, False)
            return
        self.added += 1
        self._since[key] = self._clock()
        (self._urgent if urgent else self._ready).append(key)
        self._wake()

    def add_after(self, key: K, seconds: float) -> None:
        """Queue the key in so many seconds. Of several delayed adds of one key only the earliest counts."""
        if seconds <= 0:
            self.add(key)
            return
        due = self._clock() + seconds
        if self._closed or self._due.get(key, float("inf")) <= due:
            return
        self._due[key] = due
        heapq.heappush(self._later, (due, next(self._order), key))
        if self._sleepers:
            self._set_alarm(due)

    def add_failed(self, key: K) -> float:
        """Queue the key after its back-off; returns the delay in seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = min(self._base_delay * 2.0 ** min(failures, 32), self._max_delay)
        self.add_after(key, delay)
        return delay

    def forget(self, key: K) -> None:
        """The key succeeded: its next failure starts from the shortest delay."""
        self._failures.pop(key, None)

    async def get(self) -> K:
        """The next key, which the caller then holds until `done`. Raises ShutDown."""
        while True:
            next_due = self._move_due()
            if self._since:
                key = self._next()
                self.waited(self._clock() - self._since.pop(key))
                self._held.add(key)
                return key
            if self._closed:
                raise ShutDown
            self._set_alarm(next_due)
            await self._sleep()

    def done(self, key: K) -> None:
        """Let the key go; it is queued at once if it was added meanwhile."""
        self._held.discard(key)
        if key in self._again:
            self.add(key, urgent=self._again.pop(key))

    def shut_down(self) -> None:
        """Take nothing more; workers get ShutDown once the ready keys are gone, which this drops too."""
        self._closed = True
        self._ready.clear()
        self._urgent.clear()
        self._since.clear()
        self._again.clear()
        while self._sleepers:
            self._wake()

    def __len__(self) -> int:
        """How many keys are ready and wait for a worker (`workqueue_depth`)."""
        return len(self._since)

    @property
    def held(self) -> int:
        """How many keys are with workers."""
        return len(self._held)

    @property
    def oldest_wait(self) -> float:
        """For how many seconds the key that has been ready for longest waits; 0 when none is."""
        heads = (self._since[keys[0]] for keys in (self._ready, self._urgent) if keys)
        return max((self._clock() - since for since in heads), default=0.0)

    def _next(self) -> K:
        """An urgent key if there is one, and its kind has not had its share."""
        if self._urgent and (self._row < URGENT_IN_A_ROW or not self._ready):
            self._row += 1
            return self._urgent.popleft()
        self._row = 0
        return self._ready.popleft()

    def _move_due(self) -> float | None:
        """Queue what is due; returns when the next delayed key is, if any."""
        while self._later:
            due, _, key = self._later[0]
            if self._due.get(key) == due and due > self._clock():
                return due
            heapq.heappop(self._later)
            if self._due.get(key) == due:
                del self._due[key]
                self.add(key)
        return None

    async def _sleep(self) -> None:
        """Until woken. One worker is woken for one key: if all were, all but one would look at the queue in vain."""
        sleeper = asyncio.get_running_loop().create_future()
        self._sleepers.append(sleeper)
        try:
            await sleeper
        except asyncio.CancelledError:
            if sleeper.done() and not sleeper.cancelled():
                self._wake()  # the key that it was woken for is another's now
            raise
        finally:
            with contextlib.suppress(ValueError):
                self._sleepers.remove(sleeper)

    def _wake(self) -> None:
        while self._sleepers:
            sleeper = self._sleepers.popleft()
            if not sleeper.done():
                sleeper.set_result(None)
                return

    def _set_alarm(self, due: float | None) -> None:
        """Look for due keys then, unless an earlier alarm is set."""
        if due is None or due >= self._alarm_due:
            return
        if self._alarm:
            self._alarm.cancel()
        self._alarm_due = due
        self._alarm = asyncio.get_running_loop().call_later(max(0.0, due - self._clock()), self._ring)

    def _ring(self) -> None:
        self._alarm, self._alarm_due = None, float("inf")
        self._set_alarm(self._move_due())
