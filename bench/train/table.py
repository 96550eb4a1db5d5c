"""Medians, ratios to stock, and the tables that are printed. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

from .record import PHASES, Run

MEBIBYTE = 1 << 20
Results = dict[str, list[Run]]  # variant -> its runs; run N of each variant was made in round N, one after the other

STOCK = "stock"


def over(variant: Sequence[Run], stock: Sequence[Run], figure: Callable[[Run], float | None]) -> float | None:
    """Median of the rounds' ratios variant / stock: a machine that slows down slows both of a round."""
    pairs = [(figure(ours), figure(theirs)) for ours, theirs in zip(variant, stock, strict=False)]
    ratios = [ours / theirs for ours, theirs in pairs if ours is not None and theirs]
    return median(ratios) if ratios else None


def middle(runs: Sequence[Run], figure: Callable[[Run], float | None]) -> float | None:
    values = [value for value in map(figure, runs) if value is not None]
    return median(values) if values else None


def peak_memory(run: Run) -> float:
    """MiB: on the GPU where there is one."""
    return (run.peak_rss if run.peak_cuda is None else run.peak_cuda) / MEBIBYTE


def fed(run: Run) -> float | None:
    return run.fed_tokens / run.real_tokens if run.real_tokens else None


SPEED: list[tuple[str, Callable[[Run], float | None], str, bool]] = [  # heading, figure, format, with a ratio
    ("samples/s", lambda run: run.samples_per_second, ".3f", True),
    ("CPU s/sample", lambda run: run.cpu_seconds_per_sample, ".2f", True),
    ("tokens fed / real", fed, ".2f", False),
    ("peak memory, MiB", peak_memory, ".0f", True),
    ("to the first step, s", lambda run: run.first_step_seconds, ".1f", True),
    ("of that CPU s", lambda run: run.first_step_cpu_seconds, ".1f", True),
]


def speed(results: Results) -> str:
    """One row per variant, each figure's median beside its ratio to stock."""
    rows = []
    for variant, runs in results.items():
        cells = []
        for _, figure, form, with_ratio in SPEED:
            ratio = over(runs, results[STOCK], figure) if with_ratio and variant != STOCK else None
            cells.append(cell(middle(runs, figure), form, ratio))
        rows.append([variant, *cells])
    return markdown(["", *(heading for heading, *_ in SPEED)], rows)


def phases(results: Results) -> str:
    """Seconds of each phase up to the end of the first optimizer step, one column per variant."""
    rows = []
    for phase in PHASES:
        in_phase = _phase(phase)
        ratios = {name: over(runs, results[STOCK], in_phase) for name, runs in results.items()}
        cells = [
            cell(middle(runs, in_phase), ".2f", ratios[name] if name != STOCK else None)
            for name, runs in results.items()
        ]
        rows.append([phase, *cells])
    return markdown(["phase, s", *results], rows)


def _phase(name: str) -> Callable[[Run], float | None]:
    return lambda run: run.phases[name]


def cell(value: float | None, form: str, ratio: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:{form}}" if ratio is None else f"{value:{form}} ({ratio:.2f}x)"


def markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
