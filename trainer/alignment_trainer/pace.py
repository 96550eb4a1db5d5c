"""How fast the training goes: time of a step, remaining time and tokens per second, of this attempt only."""

from __future__ import annotations

import resource
import sys
import time


class Pace:
    """Counts the steps of this attempt. The first one (compilation, caches) is left out of the rate if it can be."""

    def __init__(self) -> None:
        self.steps = 0
        self.tokens_per_second: float | None = None
        self._marks: list[tuple[float, int]] = []  # (monotonic seconds, step): begin or end of the first step, and last
        self._tokens: tuple[float, float] | None = None

    def begin(self, step: int) -> None:
        self._marks = [(time.monotonic(), step)]

    def step(self, step: int) -> None:
        self.steps += 1
        start = self._marks[-1] if self.steps == 2 else self._marks[0]
        self._marks = [start, (time.monotonic(), step)]

    @property
    def step_seconds(self) -> float | None:
        """Mean time of a step of this attempt, evaluation and checkpoints included; None before the first."""
        if len(self._marks) < 2:
            return None
        (began, first), (now, last) = self._marks
        return float(f"{(now - began) / max(1, last - first):.4g}")

    def remaining_seconds(self, total_steps: int) -> int | None:
        """Time left at that pace; None before the first step."""
        pace = self.step_seconds
        return None if pace is None else round(pace * max(0, total_steps - self._marks[-1][1]))

    def tokens(self, count: float | None) -> None:
        """`count`: TRL's num_tokens, the total since step 0."""
        if count is None:
            return
        now = time.monotonic()
        if self._tokens is None:
            self._tokens = (now, count)
        elif now > self._tokens[0] and count >= self._tokens[1]:
            self.tokens_per_second = round((count - self._tokens[1]) / (now - self._tokens[0]), 1)


def peak_memory_bytes() -> int:
    """Most memory this process held at once: of the GPU where it trains on one, else its resident set."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
