"""The cheapest change of the spec that makes a run fit: each is tried through the estimate, in order of cost.

First come changes that keep the losses (more time, or one pass over the data before training), then those that touch
numerics, then the data, then what is trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from .adapter import ALL_LINEAR, lora
from .estimate import estimate
from .weights import Format
from .workload import Sharding, Workload

MIN_LENGTH = 128


@dataclass(frozen=True)
class Change:
    """Fields to set, by their path in the spec, what that costs, and what it does to a workload (None: no use)."""

    fields: str
    cost: str
    apply: Callable[[Workload], Workload | None]


def cheapest(workload: Workload, budget: int) -> tuple[Sequence[Change], int] | None:
    """The first change whose estimate, with its reserve, is within `budget` bytes; else the first such combination.

    Returns the changes and the bytes that the run then needs; None where even all of them do not suffice.
    """
    known = list(changes(workload))
    for change in known:
        if needed := _within(workload, [change], budget):
            return [change], needed
    for count in range(2, len(known) + 1):
        if _within(workload, known[:count], budget):
            return _without_the_needless(workload, known[:count], budget)
    return None


def changes(workload: Workload) -> Iterator[Change]:
    """Everything that could be changed, the cheapest first."""
    yield Change("spec.training.gradientCheckpointing: true", "slower: activations are computed twice", _checkpointing)
    precomputed = "spec.referenceModel.strategy: Precomputed"
    yield Change(precomputed, "one pass over the data before training", _precomputed)
    if workload.adapter is not None:
        yield Change("spec.model.dtype: bfloat16", "the frozen weights are rounded", _bfloat16)
    yield from map(_smaller_batch, _smaller_batches(workload))
    yield Change("spec.optimizations.packedPairs: true", "none", _packed)
    yield Change("spec.training.fsdp: full_shard", "traffic between the processes", _fsdp)
    optimizer = "spec.training.optim: paged_adamw_8bit"
    yield Change(optimizer, "the optimizer's states have 8 bits and live in host memory", _paged_optimizer)
    yield from (_shorter(workload.method, length) for length in _shorter_lengths(workload))
    if workload.adapter is None:
        yield Change("spec.model.usePeft: true, loraTargetModules: [all-linear], dtype: bfloat16", "trains LoRA", _lora)
    yield Change("spec.model.loadIn4bit: true", "the frozen weights have 4 bits", _four_bit)


def _within(workload: Workload, chosen: Sequence[Change], budget: int) -> int | None:
    """The bytes needed after all of `chosen`, if they are within the budget and every change does something."""
    changed = workload
    for change in chosen:
        changed = change.apply(changed) or changed
    if changed == workload:
        return None
    needed = estimate(changed).with_reserve
    return needed if needed <= budget else None


def _without_the_needless(workload: Workload, chosen: list[Change], budget: int) -> tuple[list[Change], int]:
    """Take away, the dearest first, what is not needed to stay within the budget."""
    for change in reversed(chosen[:-1]):
        fewer = [kept for kept in chosen if kept is not change]
        if _within(workload, fewer, budget):
            chosen = fewer
    needed = _within(workload, chosen, budget)
    assert needed is not None
    return chosen, needed


def _checkpointing(workload: Workload) -> Workload | None:
    return None if workload.checkpointing else replace(workload, checkpointing=True)


def _precomputed(workload: Workload) -> Workload | None:
    return replace(workload, reference_pass=False) if workload.reference_pass else None


def _bfloat16(workload: Workload) -> Workload | None:
    weights = workload.weights
    return replace(workload, weights=replace(weights, dtype_bytes=2)) if weights.dtype_bytes > 2 else None


def _smaller_batches(workload: Workload) -> list[int]:
    """Divisors of the batch, the largest first. KTO estimates its KL term over a batch: two rows at least."""
    smallest = 2 if workload.method == "kto" else 1
    return [size for size in range(workload.batch - 1, smallest - 1, -1) if workload.batch % size == 0]


def _smaller_batch(size: int) -> Change:
    def apply(workload: Workload) -> Workload | None:
        if workload.batch <= size:
            return None
        accumulation = workload.accumulation * (workload.batch // size)
        return replace(workload, batch=size, accumulation=accumulation)

    fields = f"spec.training.perDeviceTrainBatchSize: {size}, and gradientAccumulationSteps as many times larger"
    return Change(fields, "more, smaller passes for the same step", apply)


def _packed(workload: Workload) -> Workload | None:
    """Saves what pairs are known to share."""
    return replace(workload, packed=True) if workload.shared_tokens and not workload.packed else None


def _fsdp(workload: Workload) -> Workload | None:
    """Quantized weights are not sharded; one process has nobody to share with."""
    count = workload.processes
    if count == 1 or workload.sharding != Sharding() or workload.weights.is_quantized or workload.device == "cpu":
        return None
    return replace(workload, sharding=Sharding(count, count, count, count))


def _paged_optimizer(workload: Workload) -> Workload | None:
    if "8bit" in workload.optimizer or workload.device == "cpu" or workload.sharding != Sharding():
        return None
    return replace(workload, optimizer="paged_adamw_8bit")


def _shorter_lengths(workload: Workload) -> list[int]:
    return [length for length in (workload.length // 2, workload.length // 4) if length >= MIN_LENGTH]


def _shorter(method: str, length: int) -> Change:
    def apply(workload: Workload) -> Workload | None:
        return replace(workload, length=length) if length < workload.length else None

    return Change(f"spec.{method}.maxLength: {length}", "longer rows are cut or dropped", apply)


def _lora(workload: Workload) -> Workload | None:
    """Rank 16 on every linear layer, TRL's default; the frozen base is the reference."""
    if workload.adapter is not None:
        return None
    adapter = lora(workload.model, 16, ALL_LINEAR, dropout=0.05)
    return replace(workload, adapter=adapter, weights=Format(2), reference=None)


def _four_bit(workload: Workload) -> Workload | None:
    if workload.adapter is None or workload.weights.is_quantized or workload.sharding.weights > 1:
        return None
    return replace(workload, weights=Format(2, bits=4))
