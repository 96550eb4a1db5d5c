"""Counts the tensors of every process of a ZeRO run; imported where its processes are forked (zygote.py).

Each writes `counted-RANK.json` beside its run's files: bytes held before the second step, of gradients when DeepSpeed
is about to step, and of all storages at their most between the two ends of that step, with what `estimate` predicted.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from alignment_trainer import group, train
from alignment_trainer.config import Config
from alignment_trainer.memory.estimate import Estimate, estimate
from alignment_trainer.memory.settings import workload_of
from tests.contract.trainer.memory_cells import LiveStorages, size_of, states

_build = train.build_trainer


def build_and_count(config: Config, *rest: Any) -> Any:
    """In place of train.build_trainer."""
    predicted = estimate(workload_of(config))
    trainer = _build(config, *rest)
    trainer.add_callback(ZeroCount(trainer, predicted, Path(config.run.outputPath).parent))
    return trainer


class ZeroCount(TrainerCallback):
    """Of one process: parts by their names in DeepSpeed's optimizers, and everything that is alive."""

    def __init__(self, trainer: Any, predicted: Estimate, folder: Path) -> None:
        self.trainer, self.folder = trainer, folder
        self.counted: dict[str, int] = {}
        self.report = {"predicted": dict(predicted.parts), "moments": dict(predicted.moments), "counted": self.counted}
        self.storages: LiveStorages | None = None

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step != 1:
            return
        zero, counted = self.zero, self.counted
        counted["weights"] = size_of(parameters(self.trainer.model))
        counted["reference"] = size_of(parameters(self.trainer.ref_model))
        counted["optimizer"] = size_of([*masters(zero), *states(zero.optimizer)])
        counted["held gradients"] = size_of(gradients(zero))
        counted["held bucket"] = size_of(buckets(zero))
        everything = [thing for thing in gc.get_objects() if isinstance(thing, torch.Tensor) and not thing.is_meta]
        counted["at rest"] = size_of(everything)
        zero.step = self._before(zero.step)
        self.storages = LiveStorages(everything)
        self.storages.__enter__()

    def _before(self, step: Any) -> Any:
        def counting_step(*args: Any, **kwargs: Any) -> Any:
            self.counted["gradients"] = size_of(gradients(self.zero))
            self.counted["bucket"] = size_of(buckets(self.zero))
            return step(*args, **kwargs)

        return counting_step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.storages is None:
            return
        self.storages.__exit__(None, None, None)
        self.counted["peak"] = self.storages.peak
        self.storages = None
        (self.folder / f"counted-{group.rank()}.json").write_text(json.dumps(self.report))

    @property
    def zero(self) -> Any:
        """DeepSpeed's optimizer: ZeRO's around torch's."""
        return self.trainer.model_wrapped.optimizer


def parameters(model: Any) -> Iterator[torch.Tensor]:
    """What a process has of them: all (`data`), or its part (`ds_tensor`) and whatever ZeRO-3 keeps whole."""
    for parameter in [] if model is None else model.parameters():
        yield parameter.data
        if getattr(parameter, "ds_tensor", None) is not None:
            yield parameter.ds_tensor


def masters(zero: Any) -> Iterable[torch.Tensor]:
    return vars(zero).get("single_partition_of_fp32_groups") or zero.fp32_partitioned_groups_flat


def gradients(zero: Any) -> Iterator[torch.Tensor]:
    for names in ("averaged_gradients", "all_grad_tensors"):
        for part in (getattr(zero, names, None) or {}).values():
            yield from part or []
    if (flat := getattr(zero, "grad_partitions_flat_buffer", None)) is not None:
        yield flat
    for parameter in zero.param_dict.values():
        if parameter.grad is not None:
            yield parameter.grad


def buckets(zero: Any) -> Iterator[torch.Tensor]:
    """Where gradients are gathered to be reduced."""
    for bucket in zero.ipg_buckets.values():
        yield from [bucket.buffer] if isinstance(bucket.buffer, torch.Tensor) else bucket.buffer or []


train.build_trainer = build_and_count
