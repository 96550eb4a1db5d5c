"""CPU and memory of a process, as the kernel accounts for them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """`cpu_seconds` since its start, user and system; `rss` and `peak_rss` in bytes."""

    cpu_seconds: float
    rss: int
    peak_rss: int


def of(pid: int) -> Usage:
    """Raises OSError when there is no such process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return Usage(
        cpu_seconds=(int(fields[11]) + int(fields[12])) / _TICKS,
        rss=_kilobytes(status["VmRSS"]),
        peak_rss=_kilobytes(status["VmHWM"]),
    )


def cpu_seconds(pids: Mapping[str, int]) -> dict[str, float]:
    """CPU seconds so far of each process."""
    return {name: of(pid).cpu_seconds for name, pid in pids.items()}


def spent(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """What each has used between the two."""
    return {name: after[name] - before[name] for name in before}


def _kilobytes(text: str) -> int:
    return int(text.split()[0]) * 1024
