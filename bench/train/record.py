"""What a measured run left behind, made into figures. Pure: everything comes from probe/bench_probe.py's records."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

PHASES = ("launcher", "imports", "dataset", "tokenizer", "tokenization", "model", "trainer", "first step", "other")

Span = tuple[str, bool, float, float]  # phase, on the main thread, begin, end


class NoTraining(ValueError):
    """No process of the run came to a training step."""


@dataclass(frozen=True)
class Run:
    """Figures of one run. Seconds and bytes; `phases` add up to `first_step_seconds`."""

    samples_per_second: float | None  # None: there was one step only
    cpu_seconds_per_sample: float | None
    first_step_seconds: float
    first_step_cpu_seconds: float
    phases: dict[str, float]
    peak_rss: int
    peak_cuda: int | None
    fed_tokens: int
    real_tokens: int
    threads: int
    losses: list[float]


def parse(records: Iterable[dict[str, Any]], begun: float, samples_per_step: int, peak_rss: int) -> Run:
    """The records of all processes of a run -> its figures.

    Args:
        records: one per process, as the probe wrote it.
        begun: the monotonic clock when the first process was started.
        samples_per_step: pairs of an optimizer step.
        peak_rss: bytes of the largest process, by the operating system's account.

    Raises:
        NoTraining: no process has taken a step.
    """
    records = list(records)
    trained = [record for record in records if record["steps"]]
    if not trained:
        raise NoTraining("no process of the run reached the end of an optimizer step")
    (worker,) = trained
    helpers_cpu = sum(record["cpuSeconds"] for record in records if record is not worker)
    first_end, first_cpu = worker["steps"][0]
    rate, cpu_each = steady_state(worker["steps"], samples_per_step)
    spans = [*map(tuple, worker["spans"]), ("first step", True, worker["beganTraining"], first_end)]
    spans.append(("launcher", True, begun, worker["started"]))
    return Run(
        samples_per_second=rate,
        cpu_seconds_per_sample=cpu_each,
        first_step_seconds=first_end - begun,
        first_step_cpu_seconds=first_cpu + helpers_cpu,
        phases=split(spans, begun, first_end),
        peak_rss=peak_rss,
        peak_cuda=worker["peakCuda"],
        fed_tokens=worker["fedTokens"],
        real_tokens=int(max((log["num_tokens"] for log in worker["logs"] if "num_tokens" in log), default=0)),
        threads=worker["threads"],
        losses=[log["loss"] for log in worker["logs"] if "loss" in log],
    )


def steady_state(steps: list[tuple[float, float]], samples_per_step: int) -> tuple[float | None, float | None]:
    """(samples a second, CPU seconds a sample) from the ends of the steps (clock, CPU); the first step is left out."""
    if len(steps) < 2:
        return None, None
    samples = (len(steps) - 1) * samples_per_step
    (first, first_cpu), (last, last_cpu) = steps[0], steps[-1]
    return samples / (last - first), (last_cpu - first_cpu) / samples


def split(spans: list[Span], begin: float, end: float) -> dict[str, float]:
    """The seconds of [begin, end], each given to one phase.

    At any moment it is the main thread's innermost span that counts: what began last. Where the main thread is in none
    it may be waiting for another thread, whose innermost span then counts; else the moment belongs to "other".
    """
    seconds = dict.fromkeys(PHASES, 0.0)
    cuts = sorted({begin, end, *(moment for span in spans for moment in span[2:] if begin < moment < end)})
    for left, right in pairwise(cuts):
        active = [span for span in spans if span[2] <= left and span[3] >= right]
        innermost = max(active, key=lambda span: (span[1], span[2]), default=("other",))
        seconds[innermost[0]] += right - left
    return seconds
