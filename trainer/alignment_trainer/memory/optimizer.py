"""Bytes of an optimizer's states, as transformers' `optim` names them, and of what its step needs beside them."""

from __future__ import annotations

import math
from collections.abc import Iterable

from .model import Tensor

STEP_COUNTER = 4  # torch's optimizers and Adafactor (its RMS) keep one fp32 scalar for each parameter
_BLOCK_8BIT, _SMALLEST_8BIT = 256, 4096  # bitsandbytes: one fp32 constant a block; smaller tensors stay in fp32
_QUANTILES_8BIT = 256 * 4
# Moments that an optimizer keeps for each parameter; what is not named here has Adam's two
_MOMENTS = {"sgd": 0, "adagrad": 1, "rmsprop": 1, "lion": 1, "ademamix": 3, "adamw": 2, "lomo": 0}


def state_bytes(optimizer: str, trainable: Iterable[tuple[Tensor, int]], device: str) -> int:
    """All states after the first step. Paged ones live in host memory and visit the GPU: they count on the CPU only.

    torch's states have their parameter's dtype, bitsandbytes' fp32 or 8 bits, Adafactor's fp32 rows and columns.
    """
    trained = list(trainable)
    if optimizer.startswith("paged_") and device == "gpu":
        return 0
    if optimizer == "adafactor":
        return sum(4 * _adafactor_elements(tensor.shape) + STEP_COUNTER for tensor, _ in trained)
    moments = next((count for name, count in _MOMENTS.items() if name in optimizer), 2)
    if "8bit" in optimizer:
        return sum(_eight_bit(tensor, moments) for tensor, _ in trained) + moments * _QUANTILES_8BIT
    if "32bit" in optimizer or "bnb" in optimizer:
        return sum(4 * moments * tensor.size for tensor, _ in trained)
    counter = STEP_COUNTER if moments else 0
    return sum(moments * tensor.size * width + counter for tensor, width in trained)


def step_bytes(optimizer: str, trainable: Iterable[tuple[Tensor, int]], device: str) -> int:
    """What a step needs beside parameters, gradients and states.

    Fused and bitsandbytes' kernels need nothing. torch's foreach step on GPUs holds one intermediate for each
    parameter; its loop on CPUs, and Adafactor, those of one parameter.
    """
    sizes = [(tensor.size, width) for tensor, width in trainable]
    if "fused" in optimizer or "8bit" in optimizer or "32bit" in optimizer or not sizes:
        return 0
    if optimizer == "adafactor":
        return 4 * 4 * max(size for size, _ in sizes)
    if device == "gpu":
        return sum(size * width for size, width in sizes)
    return 2 * max(size * width for size, width in sizes)


def _eight_bit(tensor: Tensor, moments: int) -> int:
    """transformers keeps embeddings' states in fp32 (register_module_override)."""
    if tensor.size < _SMALLEST_8BIT or "embed" in tensor.name or "wte" in tensor.name:
        return 4 * moments * tensor.size
    return moments * (tensor.size + 4 * math.ceil(tensor.size / _BLOCK_8BIT))


def _adafactor_elements(shape: tuple[int, ...]) -> int:
    if len(shape) < 2:
        return math.prod(shape)
    return math.prod(shape[:-1]) + math.prod(shape[:-2]) * shape[-1]
