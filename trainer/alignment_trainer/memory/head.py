"""What the LM head and the loss need, beside the head's own weight and gradient.

TRL's fused head (trl/kernels/chunked_logprob.py) multiplies tiles of 4,096 tokens and 32,768 words of the vocabulary
and never holds all logits: DPO, KTO, SFT. On CPUs our own takes its place (fast/completion_head.py), with smaller
blocks. ORPO and CPO without it hold all logits several times over. A reward model has one output.
"""

from __future__ import annotations

from .workload import Workload

TOKEN_TILE, VOCABULARY_TILE = 4096, 32768
_FP32 = 4
_VECTORS = 12 * _FP32  # running statistics and results of one token
# Without Triton (CPU) a tile passes through fp32 intermediates: measured in tests/contract/trainer/test_memory.py
_CPU_FORWARD_TILES, _CPU_BACKWARD_TILES = 3, 7
_OWN_ROWS, _OWN_ELEMENTWISE = 256, 3 * 2**21  # completion_head.py: positions a product, fp32 numbers in the cache


def kept(workload: Workload) -> int:
    """Bytes kept until the backward pass: the hidden states to be scored, or the logits."""
    if workload.model.labels is not None:
        return 0
    states = workload.tokens * (workload.model.hidden * workload.weights.dtype_bytes + _VECTORS)
    return states if workload.fused_head else states + _logits(workload)


def backward(workload: Workload) -> int:
    """Bytes that the head's backward pass has in hand, before the layers' begins."""
    model = workload.model
    if model.labels is not None:
        return 0
    if not workload.fused_head:
        return 2 * workload.matmul_bytes * workload.tokens * model.vocabulary
    gradients = _FP32 * workload.tokens * model.hidden
    if model.head is not None and workload.trains(model.head):
        gradients += _weights_gradient(workload, model.head.size)
    return gradients + _tiles(workload, _CPU_BACKWARD_TILES)


def _weights_gradient(workload: Workload, size: int) -> int:
    """TRL sums it in fp32. Ours is made of some words at a time, which are multiplied in the run's dtype."""
    stored, width = workload.weights.dtype_bytes, workload.matmul_bytes
    if not _is_own(workload):
        return (_FP32 + stored % _FP32) * size
    in_hand = 0 if stored == width else 2 * width
    return stored * size + in_hand * size * min(_OWN_ROWS, workload.tokens) // workload.tokens


def gradient(workload: Workload) -> int:
    """Bytes of the head's own gradient, there before those of the layers."""
    weight = workload.model.head
    return weight.size * workload.weights.dtype_bytes if weight is not None and workload.trains(weight) else 0


def forward(workload: Workload) -> int:
    """Bytes that scoring without gradients has in hand: the reference's pass."""
    if workload.model.labels is not None:
        return 0
    return _tiles(workload, _CPU_FORWARD_TILES) + workload.tokens * (
        workload.model.hidden * workload.weights.dtype_bytes + _VECTORS
    )


def _is_own(workload: Workload) -> bool:
    return workload.device == "cpu" and workload.completion_head


def _tiles(workload: Workload, cpu_tiles: int) -> int:
    vocabulary, width = workload.model.vocabulary, workload.matmul_bytes
    if _is_own(workload):
        return min(_OWN_ROWS, workload.tokens) * vocabulary * width + _OWN_ELEMENTWISE
    rows = min(workload.tokens, TOKEN_TILE)
    buffer = rows * VOCABULARY_TILE * width
    if workload.device == "gpu":
        return buffer
    return buffer + cpu_tiles * _FP32 * rows * min(vocabulary, VOCABULARY_TILE)


def _logits(workload: Workload) -> int:
    """ORPO and CPO: the logits, the chosen half's again and as fp32 log-softmax (NLL), and the log-softmax of all."""
    width = workload.matmul_bytes
    casts = _FP32 if width < _FP32 else 0
    return workload.tokens * workload.model.vocabulary * (2 * width + (width + casts + _FP32) // 2)
