"""The record as Markdown tables: the medians of the rounds of each row and size, the sides side by side. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from statistics import median
from typing import Any

from .record import Entry

Figures = dict[str, Any]


def _sum(name: str) -> Callable[[Figures], float | None]:
    """Of all controllers of a side."""
    return lambda figures: sum(figures[name].values()) if figures.get(name) else None


def _plain(name: str) -> Callable[[Figures], float | None]:
    return lambda figures: figures.get(name)


def _writes(figures: Figures) -> float | None:
    return sum(figures["restart_writes"].values()) if "restart_writes" in figures else None


LINES: list[tuple[str, str, Callable[[Figures], float | None]]] = [  # what is told, format, figure
    ("jobs/s", ".1f", _plain("jobs_per_second")),
    ("create to Job, p50, ms", ",.0f", _plain("p50_ms")),
    ("create to Job, p99, ms", ",.0f", _plain("p99_ms")),
    ("controllers' CPU a job, ms", ".1f", _sum("cpu_ms_per_job")),
    ("control plane's CPU a job, ms", ".0f", _sum("control_plane_cpu_ms_per_job")),
    ("API calls a job", ".2f", _plain("calls_per_job")),
    ("controllers started again", ".0f", _plain("restarts")),
    ("peak RSS, MiB", ".0f", _sum("peak_rss_mib")),
    ("resident RSS, MiB", ".0f", _sum("rss_mib")),
    ("writes in an idle minute", ".0f", _plain("idle_writes")),
    ("restart: quiet after, s", ".1f", _plain("restart_quiet_seconds")),
    ("restart: writes", ".0f", _writes),
    ("restart: Jobs made", ".0f", _plain("restart_jobs_made")),
]
PROGRESS: list[tuple[str, str, Callable[[Figures], float | None]]] = [
    ("reports answered/s", ".0f", _plain("reports_per_second")),
    ("answer, p50, ms", ".1f", _plain("p50_ms")),
    ("answer, p99, ms", ".1f", _plain("p99_ms")),
    ("status writes/s", ".1f", _plain("writes_per_second")),
    ("newest report lost, jobs", ".0f", _plain("newest_lost")),
    ("operator's cores", ".2f", _plain("operator_cores")),
    ("RSS, MiB", ".0f", _plain("rss_mib")),
    ("operator started again", ".0f", _plain("restarts")),
]


def tables(entries: Iterable[Entry]) -> str:
    """A table for each row and size, in the order of their first measurement."""
    groups: dict[tuple[str, int], list[Entry]] = {}
    for entry in entries:
        groups.setdefault((entry.row, entry.size), []).extend(bursts(entry))
    return "\n\n".join(table(row, size, group) for (row, size), group in groups.items())


def bursts(entry: Entry) -> list[Entry]:
    """One entry for each burst of a row of several, each a column of its own: those jobs and all before them."""
    figures = entry.figures.get("bursts", [entry.figures])
    if len(figures) == 1:
        return [entry]
    there = [sum(burst["jobs"] for burst in figures[: number + 1]) for number in range(len(figures))]
    columns = [f"{entry.side}, to {jobs:,}" for jobs in there]
    figures = [*figures[:-1], entry.figures]  # what came after the bursts was seen with all of them there
    return [replace(entry, side=side, figures=burst) for side, burst in zip(columns, figures, strict=True)]


def table(row: str, size: int, entries: list[Entry]) -> str:
    """One row at one size: a line for each figure, a column for each side."""
    sides = list(dict.fromkeys(entry.side for entry in entries))
    rounds = {side: sum(entry.side == side for entry in entries) for side in sides}
    lines = [
        [f"{row}, {size} jobs", *(f"{side} ({rounds[side]} rounds)" for side in sides)],
        ["---"] * (len(sides) + 1),
    ]
    for title, form, figure in PROGRESS if row == "progress" else LINES:
        values = [middle([figure(entry.figures) for entry in entries if entry.side == side]) for side in sides]
        if any(value is not None for value in values):
            lines.append([title, *("-" if value is None else f"{value:{form}}" for value in values)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def middle(values: Iterable[float | None]) -> float | None:
    """The median of what was measured; None: nothing was."""
    known = [value for value in values if value is not None]
    return median(known) if known else None
