"""The wait for the workers of a pod: SIGTERM is passed on, what hangs is ended, nobody waits for who is gone."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

from . import exits, verdict
from .lifeline import Lifeline
from .processes import Workers

if TYPE_CHECKING:
    from .launch import Launcher


class Watch:
    """The wait for the workers: forwards SIGTERM, ends survivors of a failure, hung ones, and those out of grace."""

    SURVIVORS_SECONDS = 5.0  # for the peers to notice by themselves, so that a culprit among them can speak
    STOPPING_SECONDS = 60.0  # between the first and the last process that leaves after a checkpoint, or at the end

    def __init__(self, launcher: Launcher, workers: Workers, lifeline: Lifeline | None = None) -> None:
        self.launcher, self.workers, self.lifeline = launcher, workers, lifeline
        self.run = launcher.run
        self.lost_at: float | None = None
        self.forwarded = False
        self.hang_seconds = launcher.run.hangTimeoutSeconds
        if self.hang_seconds and launcher.index > 0:
            self.hang_seconds += 15  # one pod is the culprit; the others see it go

    def until_all_ended(self) -> None:
        step = None
        while self.workers.running():
            self.workers.tick()
            facts = self.workers.members[0].facts
            if facts.get("step") != step:
                step = facts.get("step")
                self.launcher.beat(facts)
            self._forward_stop()
            self._heed_other_pods()
            self._end_survivors()
            self._end_hung()
        self.launcher.beat(self.workers.members[0].facts)
        if self.lifeline:
            self.lifeline.close(good=all(worker.exit_code == 0 for worker in self.workers.members))

    def _heed_other_pods(self) -> None:
        """A pod that fails says so at once; ours then have a moment to end by themselves, and no blame after it."""
        if self.lifeline is None or not self.workers.members[0].facts.get("joined"):
            return
        if any(worker.exit_code for worker in self.workers.members):
            self.lifeline.close(good=False)
            self.lifeline = None
        elif self.lost_at is None and self.lifeline.poll():
            self.lost_at = time.monotonic()
            for worker in self.workers.running():
                worker.peer_lost = True
        elif self.lost_at is not None and time.monotonic() - self.lost_at > self.SURVIVORS_SECONDS:
            for worker in self.workers.running():
                worker.put_to_death()

    def _forward_stop(self) -> None:
        stopped_at = self.launcher.stop.at
        if stopped_at is None:
            return
        if not self.forwarded:
            self.forwarded = True
            for worker in self.workers.running():
                worker.signal(signal.SIGTERM)
        grace = self.run.terminationGracePeriodSeconds
        if time.monotonic() - stopped_at > grace - min(10.0, 0.1 * grace):
            for worker in self.workers.running():
                worker.facts["failure"] = verdict.out_of_grace(grace)
                worker.put_to_death()
                worker.put_down = False  # it is the reason, not a victim

    def _end_survivors(self) -> None:
        ended = [worker for worker in self.workers.members if worker.exit_code is not None]
        if not ended:
            return
        failed = [worker for worker in ended if worker.exit_code != 0]
        if not failed and not any(worker.local_rank == 0 for worker in ended):
            return  # rank 0 may merge and push when the others have gone
        patient = not failed or (self.forwarded and all(worker.exit_code in (0, exits.EX_TEMPFAIL) for worker in ended))
        limit = self.STOPPING_SECONDS if patient else self.SURVIVORS_SECONDS
        if time.monotonic() - min(worker.ended_at for worker in failed or ended) > limit:
            for worker in self.workers.running():
                worker.put_to_death()

    def _end_hung(self) -> None:
        if not self.hang_seconds:
            return
        for worker in self.workers.running():
            if worker.facts.get("stepping") and time.monotonic() - worker.life > self.hang_seconds:
                verdict.announce_hang(worker, self.run.hangTimeoutSeconds)
                worker.signal(signal.SIGUSR1)  # faulthandler writes every thread's stack, even while the GIL is held
                deadline = time.monotonic() + 2
                while time.monotonic() < deadline and self.workers.running():
                    self.workers.tick()
                worker.put_to_death()
                worker.put_down = False
                return
