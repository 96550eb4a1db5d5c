"""What DeepSpeed's ZeRO holds in one process (Rajbhandari et al. 2020), read off its optimizers (DeepSpeed 0.19).

The trained parameters are flattened, an equal part for each process, and the optimizer sees nothing but its part: a
copy in fp32, also of weights that are fp32 already. Gradients meet in a bucket, whole, before they are reduced; the
optimizer's step has its part of them in fp32 once more.
"""

from __future__ import annotations

from collections.abc import Iterable

from .model import Tensor
from .optimizer import state_bytes, step_bytes
from .weights import Format, model_bytes
from .workload import Workload, Zero

_FP32 = 4
_LIVE = 1_000_000_000  # elements that stage 3 leaves gathered (stage3_max_live_parameters)


def part_of(workload: Workload) -> Tensor:
    """What the optimizer of one process updates, as it sees it."""
    elements = sum(tensor.size for tensor, _ in workload.trainable())
    return Tensor("part", (-(-elements // workload.sharding.optimizer),))


def optimizer_bytes(workload: Workload) -> int:
    """The fp32 copy of the weights and the optimizer's states, which have its dtype."""
    part = part_of(workload)
    return _FP32 * part.size + state_bytes(workload.optimizer, [(part, _FP32)], workload.device)


def gradient_bytes(workload: Workload, zero: Zero) -> int:
    """In the parameters' dtype. Stage 1 splits them, too, unless they wait for those of the next micro-batch."""
    is_whole = zero.stage == 0 or (zero.stage == 1 and workload.accumulation > 1)
    return workload.trainable_bytes() // (1 if is_whole else workload.sharding.optimizer)


def optimizer_step_bytes(workload: Workload) -> int:
    """The part's gradients in fp32, and what the optimizer needs beside them."""
    part = part_of(workload)
    return _FP32 * part.size + step_bytes(workload.optimizer, [(part, _FP32)], workload.device)


def bucket_bytes(workload: Workload, zero: Zero) -> int:
    """The buffers in which gradients are gathered: as large as they are configured, however small the model is.

    On a CPU only what is written takes memory.
    """
    written = sum(tensor.size for tensor, _ in workload.trainable())
    return workload.matmul_bytes * (zero.bucket if workload.device == "gpu" else min(zero.bucket, written))


def kept_whole(tensors: Iterable[tuple[Tensor, int]], zero: Zero) -> int:
    """Bytes of the small ones of `tensors` (with the bytes of an element), which stage 3 gathers once and keeps."""
    if zero.stage != 3:
        return 0
    return sum(tensor.size * width for tensor, width in tensors if tensor.size <= zero.persists)


def small_weights(tensors: Iterable[Tensor], weights: Format, zero: Zero) -> int:
    """As kept_whole, of a model's weights; quantized ones, which are held otherwise, apart."""
    plain = (tensor for tensor in tensors if not weights.is_quantized or len(tensor.shape) == 1)
    return kept_whole(((tensor, weights.dtype_bytes) for tensor in plain), zero)


def gathered_reference(workload: Workload, zero: Zero) -> int:
    """Of a second model that stage 3 splits: its pass gathers it, and the policy's backward pass finds it there."""
    if zero.stage != 3 or workload.reference is None:
        return 0
    reference = workload.reference
    return min(model_bytes(reference.model, reference.weights), _LIVE * reference.weights.dtype_bytes)
