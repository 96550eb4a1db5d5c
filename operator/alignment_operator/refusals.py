"""What the API server has refused. To ask again at every event would write status each time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from .problems import SpecProblem
from .store import Key

RETRY_SECONDS = 60.0  # a quota may be raised, an admission plugin may come back


class Refusals:
    """The API server's last word on each AlignmentJob's Job, for as long as it is taken for granted."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._known: dict[Key, tuple[int, datetime, SpecProblem]] = {}  # generation that was refused, and when

    def note(self, key: Key, generation: int, problem: SpecProblem) -> None:
        """The API server refuses the Job of this spec."""
        self._known[key] = (generation, self._now(), problem)

    def of(self, key: Key, generation: int) -> SpecProblem | None:
        """What it said about this very spec; None when it may be asked (again)."""
        refused, since, problem = self._known.get(key, (-1, self._now(), None))
        if refused == generation and (self._now() - since).total_seconds() < RETRY_SECONDS:
            return problem
        self.forget(key)
        return None

    def forget(self, key: Key) -> None:
        self._known.pop(key, None)
