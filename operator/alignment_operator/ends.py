"""For how long this process has known that a Job has ended, by its own monotonic clock.

A final status waits a while for the pods' last words. The Job's own time of its end cannot tell how long: it is of the
Job controller's clock, and ours may be minutes away from it.
"""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta

from .runs import finished
from .store import Key
from .views import Observed


class Ends:
    """What was seen when. One for the process."""

    def __init__(self) -> None:
        self._seen: dict[Key, tuple[str, float]] = {}  # UID of the Job that has ended, and monotonic

    def marked(self, key: Key, observed: Observed) -> Observed:
        """The same with `ended_for`, when its Job has ended."""
        job = observed.job
        if job is None or not finished(job):
            return observed
        if self._seen.get(key, ("", 0.0))[0] != job.uid:
            self._seen[key] = (job.uid, time.monotonic())
        return replace(observed, ended_for=timedelta(seconds=time.monotonic() - self._seen[key][1]))

    def forget(self, key: Key) -> None:
        self._seen.pop(key, None)
