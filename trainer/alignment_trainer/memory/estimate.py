"""Workload -> Estimate: the parts of a process's memory, and the most it holds at once.

A step has moments: the end of the forward pass (all activations, gradients only of earlier micro-batches), the end of
the backward pass (all gradients, one layer's activations), and the optimizer's step. Between the first two, gradients
grow as activations go, so the peak lies at one of the moments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from . import activations, head, zero_states
from .optimizer import state_bytes, step_bytes
from .weights import model_bytes
from .workload import Workload

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
    parts = {
        "weights": _weights(workload),
        "adapter": _adapter(workload),
        "reference": _reference(workload),
        "gradients": _gradients(workload),
        "buckets": _buckets(workload),
        "optimizer": _optimizer(workload),
        "activations": activations.kept(workload) + _casts(workload),
        "head": head.kept(workload) + head.backward(workload),
        "working set": _layer_in_hand(workload) + _gathered(workload),
    }
    return Estimate(parts, _moments(workload, parts))


def _moments(workload: Workload, parts: Mapping[str, int]) -> dict[str, int]:
    resident = parts["weights"] + parts["adapter"] + parts["optimizer"]
    resident += parts["reference"] + _gathered_reference(workload) if workload.reference_pass else 0
    gradients, buckets = parts["gradients"], parts["buckets"]
    if workload.keeps_gradients:
        resident, gradients, buckets = resident + gradients + buckets, 0, 0
    held = resident + (gradients if workload.accumulation > 1 else 0)  # of earlier micro-batches
    held += parts["activations"]
    moments = {
        "LM head's backward pass": held + buckets + head.kept(workload) + head.backward(workload),
        "first layer of the backward pass": held + buckets + head.gradient(workload) + parts["working set"],
        "end of the backward pass": resident + gradients + buckets + parts["working set"],
        "optimizer's step": resident + gradients + _step(workload),
    }
    if workload.reference_pass:
        moments["reference's pass"] = held + head.kept(workload) + _scoring(workload)
    elif workload.reference:
        moments["precomputing"] = parts["weights"] + parts["adapter"] + parts["reference"] + _scoring(workload)
    return moments


def _weights(workload: Workload) -> int:
    weights, zero = workload.weights, workload.sharding.zero
    small = zero_states.small_weights(workload.model.tensors, weights, zero) if zero else 0
    return _split(workload, model_bytes(workload.model, weights), workload.sharding.weights) + small


def _adapter(workload: Workload) -> int:
    adapter, zero = workload.adapter, workload.sharding.zero
    if adapter is None:
        return 0
    frozen = 4 * sum(tensor.size for tensor in adapter.tensors) * adapter.frozen_copies
    whole = zero_states.kept_whole(workload.trainable(), zero) if zero else 0
    return _split(workload, workload.trainable_bytes() + frozen, workload.sharding.weights) + whole


def _reference(workload: Workload) -> int:
    reference = workload.reference
    if reference is None:
        return 0
    return _split(workload, model_bytes(reference.model, reference.weights), workload.sharding.reference)


def _split(workload: Workload, size: int, shards: int) -> int:
    return 0 if workload.host_weights else size // shards


def _gradients(workload: Workload) -> int:
    """In the parameters' dtype. DDP keeps them once more, in the buckets that it reduces; offloading, one of them."""
    shards = workload.sharding
    if workload.host_optimizer:
        return max(tensor.size * width for tensor, width in workload.trainable())
    if shards.zero:
        return zero_states.gradient_bytes(workload, shards.zero)
    once = workload.trainable_bytes() // shards.gradients
    is_ddp = workload.processes > 1 and shards.gradients == 1
    return 2 * once if is_ddp else once


def _buckets(workload: Workload) -> int:
    zero = workload.sharding.zero
    return zero_states.bucket_bytes(workload, zero) if zero else 0


def _optimizer(workload: Workload) -> int:
    if workload.host_optimizer:
        return 0
    if workload.sharding.zero:
        return zero_states.optimizer_bytes(workload)
    return state_bytes(workload.optimizer, workload.trainable(), workload.device) // workload.sharding.optimizer


def _step(workload: Workload) -> int:
    if workload.host_optimizer:
        return 0
    if workload.sharding.zero:
        return zero_states.optimizer_step_bytes(workload)
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


def _gathered_reference(workload: Workload) -> int:
    zero = workload.sharding.zero
    return zero_states.gathered_reference(workload, zero) if zero else 0


def _scoring(workload: Workload) -> int:
    """The reference's forward pass over the same batch: a second model, or the policy without its adapter."""
    scorer = workload
    if workload.reference:
        scorer = replace(workload, model=workload.reference.model, weights=workload.reference.weights, adapter=None)
    return max(activations.forward_only(scorer), head.forward(scorer))
