"""The memory of this machine that a run may use: the GPU's, or the container's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

CGROUPS = Path("/sys/fs/cgroup")
PROC_CGROUP = Path("/proc/self/cgroup")


def gpu_free_bytes() -> int | None:
    """Free memory of this process's GPU, after the CUDA context that the question itself creates; None without one."""
    import torch

    return int(torch.cuda.mem_get_info()[0]) if torch.cuda.is_available() else None


def host_bytes(cgroups: Path = CGROUPS, proc_cgroup: Path = PROC_CGROUP) -> int:
    """Host memory: the smallest limit of the container's cgroup and those around it, else what the machine has."""
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([physical, *_limits(cgroups, proc_cgroup)])


def _limits(cgroups: Path, proc_cgroup: Path) -> Iterator[int]:
    try:
        lines = proc_cgroup.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        hierarchy, controllers, path = line.split(":", 2)
        if hierarchy == "0":  # version 2
            yield from _up_from(cgroups, path, "memory.max")
        elif "memory" in controllers.split(","):  # version 1
            yield from _up_from(cgroups / "memory", path, "memory.limit_in_bytes")


def _up_from(root: Path, path: str, file: str) -> Iterator[int]:
    """A container may see its own cgroup as the root, whatever /proc says: what does not exist is passed over."""
    inner = PurePosixPath(path.lstrip("/"))
    for folder in (inner, *inner.parents):
        try:
            yield int((root / folder / file).read_text())
        except (OSError, ValueError):  # not there, or "max"
            continue
