"""Does the run fit this machine? Asked before weights are read; a refusal names the cheapest cure."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from .. import group
from ..exits import GpuOutOfMemory, TrainerError, UserError
from . import device
from .changes import Change, cheapest
from .estimate import Estimate, estimate
from .rows import longest_sequence
from .settings import workload_of
from .workload import Workload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..config import Config

GIB = 2**30
# On CPUs the estimate is an upper bound: frozen weights are pages of a file, which the kernel can drop
CLEARLY_OVER = 1.25
PYTHON_BYTES = 560 * 2**20  # resident set of a process that has imported torch, transformers and TRL


def check_memory(config: Config, train_dataset: Any) -> None:
    """Refuse a run that cannot fit. Silent where `memoryCheck` is off or the estimate cannot be made.

    What the run would fit without is put into `config.withheld`, for the trainer to leave out.

    train_dataset: its longest row counts where that is shorter than `maxLength`.

    Raises GpuOutOfMemory (exit 80), or on the CPU, where the same recipe fails again on the same machine, UserError.
    """
    if not config.run.memoryCheck:
        return
    try:
        workload = _no_longer_than(longest_sequence(config, train_dataset), workload_of(config))
    except TrainerError:
        raise
    except Exception as error:  # no safetensors, an architecture without these sizes, the hub: loading will tell
        _say(f"Memory is not checked: {type(error).__name__}: {error}")
        return
    if workload.device == "cpu":
        each = device.host_bytes() // config.run.processesPerNode - PYTHON_BYTES  # all share the pod's memory
        _check_host(_affordable(config, workload, each), each)
    elif free := device.gpu_free_bytes():
        _check_gpu(_affordable(config, workload, free), free)


def _affordable(config: Config, workload: Workload, available: int) -> Workload:
    """Without what may be left out for memory's sake, if that is needed: `config.withheld` tells the trainer."""
    if not workload.selective or estimate(workload).with_reserve <= available:
        return workload
    config.withheld["selectiveCheckpointing"] = f"training might not fit in {_gib(available)}"
    return dataclasses.replace(workload, selective=False)


def _no_longer_than(longest: int | None, workload: Workload) -> Workload:
    length = min(workload.length, longest) if longest else workload.length
    return dataclasses.replace(workload, length=length)


def _check_gpu(workload: Workload, free: int) -> None:
    expected = estimate(workload)
    if expected.peak > free:
        raise GpuOutOfMemory(describe(workload, expected, free, "the GPU has free"), cure(workload, free))
    _say(describe(workload, expected, free, "the GPU has free"))
    if expected.with_reserve > free:
        _say("That is close: fragmentation may take the rest.")


def _check_host(workload: Workload, each: int) -> None:
    expected = estimate(workload)
    said = describe(workload, expected, each, "the container has for each process")
    if expected.peak > CLEARLY_OVER * each:
        raise UserError(said, f"Raise spec.resources.limits.memory. {cure(workload, each)}")
    _say(said)


def describe(workload: Workload, expected: Estimate, available: int, whose: str) -> str:
    """One sentence: what is needed when, of what, and for which sequences."""
    largest = sorted(expected.parts.items(), key=lambda part: -part[1])[:4]
    parts = ", ".join(f"{name} {_gib(size)}" for name, size in largest if size)
    return (
        f"Training needs about {_gib(expected.peak)} of memory ({expected.moment}) with sequences of "
        f"{workload.length} tokens; {whose} {_gib(available)}. The largest parts: {parts}."
    )


def cure(workload: Workload, available: int) -> str:
    """The cheapest change that fits, or what is left to do where none does."""
    found = cheapest(workload, available)
    if found is None:
        return (
            "No change of the recipe suffices: more memory, several GPUs with sharding, or a smaller model is needed."
        )
    return f"The cheapest change that fits: {said(found[0])}. Then it needs about {_gib(found[1])}."


def said(chosen: Sequence[Change]) -> str:
    return "; ".join(f"{change.fields} ({change.cost})" for change in chosen)


def _gib(size: int) -> str:
    """In MiB what would be none or a few tenths of a GiB."""
    return f"{size / GIB:.1f} GiB" if size >= GIB // 2 else f"{size / 2**20:.1f} MiB"


def _say(text: str) -> None:
    if group.rank() == 0:
        print(f"[alignment] {text}", flush=True)
