"""`python -m bench.train.products`: single operations in bf16 as torch computes them, with `wideProducts`, and in fp32.

Milliseconds, the best of several, on as many threads as OMP_NUM_THREADS says. The shapes are SmolLM2-135M's, with two
pairs of some 740 tokens.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention

from alignment_trainer.fast import row_attention, wide_products

from .table import markdown

PRODUCTS = (
    ((1430, 576), (576, 1536)),
    ((1430, 1536), (1536, 576)),
    ((256, 576), (576, 49152)),
    ((49152, 500), (500, 576)),
    ((3, 384, 64), (3, 64, 740)),
)
SEGMENTS = [[240, 250, 250], [235, 250, 250]]  # common start, the two rests
TOKENS, HEADS, KEY_HEADS, SIZE = 1475, 9, 3, 64
WAYS = (("bf16", torch.bfloat16, False), ("wideProducts", torch.bfloat16, True), ("fp32", torch.float32, False))
ROUNDS = 12
Operation = Callable[[], Any]


def main() -> int:
    columns = [list(timed(dtype, wide)) for _, dtype, wide in WAYS]
    rows = [[cells[0][0], *(f"{best:.2f}" for _, best in cells)] for cells in zip(*columns, strict=True)]
    heading = [f"ms, threads: {torch.get_num_threads()}", *(name for name, *_ in WAYS)]
    print(markdown(heading, rows))
    return 0


def timed(dtype: torch.dtype, wide: bool) -> Iterator[tuple[str, float]]:
    """(what, milliseconds) of each operation."""
    torch.manual_seed(0)
    wide_products.use(wide)
    for name, operation in operations(dtype):
        operation()
        yield name, min(seconds(operation) for _ in range(ROUNDS)) * 1e3


def seconds(operation: Operation) -> float:
    begun = time.perf_counter()
    operation()
    return time.perf_counter() - begun


def operations(dtype: torch.dtype) -> Iterator[tuple[str, Operation]]:
    """(what, the call that computes it once) on random numbers of `dtype`."""
    for left, right in PRODUCTS:
        yield f"{list(left)} x {list(right)}", product(left, right, dtype)
    yield from passes("attention of a packed row", packed, KEY_HEADS, dtype)
    yield from passes("attention, causal", causal, HEADS, dtype)


def product(left: tuple[int, ...], right: tuple[int, ...], dtype: torch.dtype) -> Operation:
    a, b = torch.randn(left, dtype=dtype), torch.randn(right, dtype=dtype)
    return lambda: a @ b


def passes(
    name: str, attend: Callable[..., torch.Tensor], key_heads: int, dtype: torch.dtype
) -> Iterator[tuple[str, Operation]]:
    """Forward and backward pass of one layer's attention: query, key and value [1, heads, TOKENS, SIZE]."""
    shapes = [(1, heads, TOKENS, SIZE) for heads in (HEADS, key_heads, key_heads)]
    parts = [torch.randn(shape, dtype=dtype, requires_grad=True) for shape in shapes]
    frozen = [part.detach() for part in parts]
    yield f"{name}: forward", lambda: attend(*frozen)
    result = attend(*parts)
    gradient = torch.randn(result.shape, dtype=dtype)
    yield f"{name}: backward", lambda: torch.autograd.grad(result, parts, gradient, retain_graph=True)


def packed(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    return row_attention.attend(query, key, value, SEGMENTS, None)


def causal(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    return scaled_dot_product_attention(query, key, value, is_causal=True)


if __name__ == "__main__":
    sys.exit(main())
