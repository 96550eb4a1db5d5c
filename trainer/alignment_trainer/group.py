"""The process group of a run: joined before anything is loaded, so that a failed peer is noticed from the start.

A world of one has none: every function here is then a no-op or the identity.
"""

from __future__ import annotations

import contextlib
import os
from datetime import timedelta
from typing import Any

from .exits import Internal

DEFAULT_TIMEOUT_SECONDS = 1800  # TRL's ddp_timeout


def rank() -> int:
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def join(device: str, timeout_seconds: int | None) -> None:
    """Meet the other processes. Raises Internal if the world has another size than run.yaml says."""
    expected = int(os.environ.get("ALIGNMENT_WORLD_SIZE", "1"))
    if expected == 1 and world_size() == 1:
        return
    import torch

    if device == "gpu":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    torch.distributed.init_process_group(
        # gloo beside NCCL: flags and paths travel without stopping the GPU
        backend="cpu:gloo,cuda:nccl" if device == "gpu" else "gloo",
        timeout=timedelta(seconds=timeout_seconds or DEFAULT_TIMEOUT_SECONDS),
    )
    actual = torch.distributed.get_world_size()
    if actual != expected:
        raise Internal(f"The process group has {actual} processes instead of nodes x processesPerNode = {expected}.")


def leave() -> None:
    """Part in order, so that nobody mistakes the end for a failure. All is saved: an error here means nothing."""
    if world_size() > 1:
        import torch

        with contextlib.suppress(Exception):
            torch.distributed.destroy_process_group()


def barrier() -> None:
    any_of(False)


def any_of(flag: bool) -> bool:
    """True on every process if it is on one. Costs about 0.1 ms, on the CPU."""
    if world_size() == 1:
        return flag
    import torch

    shared = torch.tensor([int(flag)])
    torch.distributed.all_reduce(shared, op=torch.distributed.ReduceOp.MAX)
    return bool(shared.item())


def largest(number: int) -> int:
    """The largest of the numbers (64 bits) that the processes passed, on every process."""
    if world_size() == 1:
        return number
    import torch

    shared = torch.tensor([number])
    torch.distributed.all_reduce(shared, op=torch.distributed.ReduceOp.MAX)
    return int(shared.item())


def from_first(value: Any) -> Any:
    """What rank 0 passed (picklable), on every process."""
    if world_size() == 1:
        return value
    import torch

    box = [value]
    torch.distributed.broadcast_object_list(box, src=0, device=torch.device("cpu"))
    return box[0]
