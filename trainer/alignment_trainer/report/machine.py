"""What a run was computed with: the versions of everything installed, and the hardware of this process."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
from typing import Any

from ..processes import cpu_count


def software() -> dict[str, Any]:
    """Python, the operating system, and every installed package with its version."""
    packages = {
        name.lower(): distribution.version
        for distribution in importlib.metadata.distributions()
        if (name := distribution.metadata["Name"])
    }
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": dict(sorted(packages.items())),
    }


def hardware(processes: int) -> dict[str, Any]:
    """`memoryBytes`: of the node. `processes`: of the whole run. Accelerators are those of this process."""
    import torch

    found: dict[str, Any] = {
        "cpu": cpu_model(),
        "cpus": cpu_count(),
        "memoryBytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "processes": processes,
        "accelerators": [_accelerator(index) for index in range(torch.cuda.device_count())],
    }
    if torch.version.cuda:
        found["cuda"] = torch.version.cuda
    return found


def cpu_model() -> str:
    """The processor's name as Linux has it; the architecture where it has none."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def _accelerator(index: int) -> dict[str, Any]:
    import torch

    properties = torch.cuda.get_device_properties(index)
    return {
        "name": properties.name,
        "memoryBytes": properties.total_memory,
        "capability": f"{properties.major}.{properties.minor}",
    }
