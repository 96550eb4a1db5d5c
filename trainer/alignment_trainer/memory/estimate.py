"""Workload -> Estimate: the parts of a process's memory, and the most it holds at once.

A step has moments: the end of the forward pass (all activations, gradients only of earlier micro-batches), the end of
the backward pass (all gradients, one layer's activations), and the optimizer's step. Between the first two, gradients
grow as activations go, so the peak lies at one of the moments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from . import activations, head
from .optimizer import state_bytes, step_bytes
from .weights import model_bytes
from .workload import Workload

BUCKET = 500_000_000  # elements that DeepSpeed reduces at once (reduce_bucket_size)
FRAGMENTATION = 0.05  # of what comes and goes: blocks that torch's caching allocator cannot use again


@dataclass(frozen=True)
class Estimate:
    """Bytes of one process. `parts` are each at their own most; `moments` are totals, the largest is the peak."""

    parts: Mapping[str, int]
    moments: Mapping[str, int]

    @property
    def peak(self) -> int:
        return max(self.moments.values())

    @property
    def moment(self) -> str:
        return max(self.moments, key=lambda name: self.moments[name])

    @property
    def resident(self) -> int:
        """What stays through the whole step."""
        return sum(self.parts[name] for name in ("weights", "adapter", "reference", "optimizer"))

    @property
    def with_reserve(self) -> int:
        """The peak and what the allocator loses beside it."""
        return self.peak + round(FRAGMENTATION * (self.peak - self.resident))


def estimate(workload: Workload) -> Estimate:
    """The memory of one process of the run; pure."""
    shards = workload.sharding
    kept = 0 if workload.host_weights else 1
    parts = {
        "weights": kept * model_bytes(workload.model, workload.weights) // shards.weights,
        "adapter": kept * _adapter(workload) // shards.weights,
        "reference": kept * _reference(workload) // shards.reference,
        "gradients": _gradients(workload),
        "optimizer": _optimizer(workload),
        "activations": activations.kept(workload) + _casts(workload),
        "head": head.kept(workload) + head.backward(workload),
        "working set": _layer_in_hand(workload) + _gathered(workload),
    }
    return Estimate(parts, _moments(workload, parts))


def _moments(workload: Workload, parts: Mapping[str, int]) -> dict[str, int]:
    trained = parts["weights"] + parts["adapter"] + parts["optimizer"]
    resident = trained + (parts["reference"] if workload.reference_pass else 0)
    held = resident + (parts["gradients"] if workload.accumulation > 1 else 0)  # of earlier micro-batches
    held += parts["activations"]
    moments = {
        "LM head's backward pass": held + head.kept(workload) + head.backward(workload),
        "first layer of the backward pass": held + head.gradient(workload) + parts["working set"],
        "end of the backward pass": resident + parts["gradients"] + parts["working set"],
        "optimizer's step": resident + parts["gradients"] + _step(workload),
    }
    if workload.reference_pass:
        moments["reference's pass"] = held + head.kept(workload) + _scoring(workload)
    elif workload.reference:
        moments["precomputing"] = parts["weights"] + parts["adapter"] + parts["reference"] + _scoring(workload)
    return moments


def _adapter(workload: Workload) -> int:
    adapter = workload.adapter
    if adapter is None:
        return 0
    frozen = 4 * sum(tensor.size for tensor in adapter.tensors) * adapter.frozen_copies
    return workload.trainable_bytes() + frozen


def _reference(workload: Workload) -> int:
    return model_bytes(workload.reference.model, workload.reference.weights) if workload.reference else 0


def _gradients(workload: Workload) -> int:
    """In the parameters' dtype. DDP keeps them once more, in the buckets that it reduces; offloading, one bucket."""
    shards = workload.sharding
    if workload.host_optimizer:
        return min(workload.trainable_bytes(), BUCKET * workload.compute_bytes)
    once = workload.trainable_bytes() // shards.gradients
    is_ddp = workload.processes > 1 and shards.gradients == 1
    return 2 * once if is_ddp else once


def _optimizer(workload: Workload) -> int:
    if workload.host_optimizer:
        return 0
    shards = workload.sharding
    trainable = list(workload.trainable())
    if not shards.masters:
        return state_bytes(workload.optimizer, trainable, workload.device) // shards.optimizer
    masters = sum(4 * tensor.size for tensor, width in trainable if width < 4)
    states = state_bytes(workload.optimizer, [(tensor, 4) for tensor, _ in trainable], workload.device)
    return (masters + states) // shards.optimizer


def _step(workload: Workload) -> int:
    if workload.host_optimizer:
        return 0
    return step_bytes(workload.optimizer, workload.trainable(), workload.device) // workload.sharding.optimizer


def _casts(workload: Workload) -> int:
    """With checkpointing too, autocast remembers its copies of trained weights until the forward pass is over."""
    if not workload.checkpointing or workload.adapter is not None:
        return 0
    return activations.weight_casts(workload, workload.model.linears)


def _layer_in_hand(workload: Workload) -> int:
    recomputed = activations.layer(workload) if workload.checkpointing else 0
    return recomputed + activations.working_set(workload)


def _gathered(workload: Workload) -> int:
    """FSDP and ZeRO-3 gather a layer while they compute it and the next one meanwhile, or the embedding."""
    if workload.sharding.weights == 1 and not workload.host_weights:
        return 0
    layer = sum(tensor.size for tensor in workload.model.of_layer(0))
    outside = sum(tensor.size for tensor in workload.model.tensors if tensor.layer is None)
    return workload.compute_bytes * (2 * layer + outside)


def _scoring(workload: Workload) -> int:
    """The reference's forward pass over the same batch: a second model, or the policy without its adapter."""
    scorer = workload
    if workload.reference:
        scorer = replace(workload, model=workload.reference.model, weights=workload.reference.weights, adapter=None)
    return max(activations.forward_only(scorer), head.forward(scorer))
