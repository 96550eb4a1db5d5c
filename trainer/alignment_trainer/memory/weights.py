"""Bytes of a model's weights: in a dtype, or in bitsandbytes' 4 and 8 bits.

bitsandbytes replaces every nn.Linear but the output layer; the rest stays in the model's dtype. 4 bits (QLoRA, Dettmers
et al. 2023): half a byte a weight, one fp32 constant for 64 weights, which double quantization stores in 8 bits with
one fp32 constant for 256 of them. 8 bits (LLM.int8(), 2022): a byte a weight and one fp32 constant for each row.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from .model import Model, Tensor

DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "float64": 8}
BLOCK, NESTED_BLOCK = 64, 256
_CODEBOOK_4BIT, _CODEBOOK_NESTED, _OFFSET_NESTED = 16 * 4, 256 * 4, 4


@dataclass(frozen=True)
class Format:
    """How weights are held. `bits` 4 or 8 quantizes the linear layers; `dtype_bytes` is everything else's."""

    dtype_bytes: int = 4
    bits: Literal[4, 8] | None = None
    nested: bool = False

    @property
    def is_quantized(self) -> bool:
        return self.bits is not None


def model_bytes(model: Model, weights: Format) -> int:
    """Bytes of all weights with their quantization constants, on one device without sharding."""
    return tensors_bytes(model.tensors, weights, linears=set(model.linears))


def tensors_bytes(tensors: Iterable[Tensor], weights: Format, linears: set[Tensor]) -> int:
    total = 0
    for tensor in tensors:
        if weights.bits == 4 and tensor in linears:
            total += four_bit_bytes(tensor, weights.nested)
        elif weights.bits == 8 and tensor in linears:
            total += tensor.size + 4 * tensor.shape[0]
        else:
            total += tensor.size * weights.dtype_bytes
    return total


def four_bit_bytes(tensor: Tensor, nested: bool) -> int:
    """Packed weights, constants and code book of one Linear4bit weight."""
    blocks = math.ceil(tensor.size / BLOCK)
    packed = math.ceil(tensor.size / 2) + _CODEBOOK_4BIT
    if not nested:
        return packed + 4 * blocks
    return packed + blocks + 4 * math.ceil(blocks / NESTED_BLOCK) + _CODEBOOK_NESTED + _OFFSET_NESTED
