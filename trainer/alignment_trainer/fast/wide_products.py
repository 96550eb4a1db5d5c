"""Matrix products of bf16 numbers on CPUs that have no instructions for them: as fp32 numbers.

torch multiplies bf16 there at a fifth to a quarter of the speed of fp32. Either way a product is summed in fp32 and
rounded once, so that only the order of the sums differs. The functions take the place of torch's own kernels for CPUs,
in which every layer ends and every layer's backward pass; all other dtypes are passed on to those. The same holds for
the backward pass of torch's attention, whose kernel for bf16 is slow there for the same reason.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import torch

_NUMBERS = 1 << 20  # of an operand that are fp32 at a time: what stays in a core's cache
Index = tuple[slice, ...]


def has_instructions() -> bool:
    """Whether this CPU multiplies bf16 numbers itself; of other CPUs than x86 it is believed."""
    is_x86 = platform.machine() in ("x86_64", "AMD64")
    return not is_x86 or torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


class _State:
    is_on = False


def use(on: bool) -> None:
    """From here on, in the whole process: bf16 products as fp32, or as torch makes them."""
    if on:
        _register()
    _State.is_on = on


def operand(tensor: torch.Tensor) -> torch.Tensor:
    """As the products take it: for an operand of several, which is to be converted once."""
    return tensor.float() if _State.is_on and tensor.dtype == torch.bfloat16 else tensor


@cache
def _register() -> torch.library.Library:
    """It lasts as long as what is returned."""
    library = torch.library.Library("aten", "IMPL")
    for name, function in FUNCTIONS.items():
        kernel = torch.library.get_kernel(f"aten::{name}", "CPU")
        library.impl(name, partial(_dispatched, kernel, function), "CPU", with_keyset=True)
    return library


def _dispatched(kernel: Any, function: Callable[..., Any], keys: Any, *args: Any, **kwargs: Any) -> Any:
    if _State.is_on and args[0].dtype == torch.bfloat16:
        return function(*args, **kwargs)
    return kernel.call_boxed(keys, *args, **kwargs)


def _mm(left: torch.Tensor, right: torch.Tensor, *, out: Any = None) -> torch.Tensor:
    """left @ right: [m, k] and [k, n], or [batch, m, k] and [batch, k, n]."""
    shape = _shape(left, right)
    result = left.new_empty(shape) if out is None else out.resize_(shape)
    for index, product in _products(left, right):
        result[index] = product
    return result


def _addmm(base: Any, left: Any, right: Any, *, beta: float = 1, alpha: float = 1, out: Any = None) -> torch.Tensor:
    """beta * base + alpha * left @ right; base is anything that becomes the result's shape by expanding."""
    shape = _shape(left, right)
    result, base = left.new_empty(shape) if out is None else out.resize_(shape), base.expand(shape)
    for index, product in _products(left, right):
        result[index] = product.mul_(alpha).add_(base[index], alpha=beta) if beta else product.mul_(alpha)
    return result


def _addmm_(base: torch.Tensor, left: torch.Tensor, right: torch.Tensor, **factors: float) -> torch.Tensor:
    return _addmm(base, left, right, out=base, **factors)


def _attention_backward(*args: Any, attn_mask: Any = None, scale: float | None = None) -> tuple[torch.Tensor, ...]:
    """Of scaled_dot_product_attention: the gradients of query, key and value."""
    widened = (each.float() if isinstance(each, torch.Tensor) else each for each in args)
    mask = None if attn_mask is None else attn_mask.float()
    gradients = _ATTENTION_BACKWARD(*widened, attn_mask=mask, scale=scale)
    return tuple(gradient.to(args[0].dtype) for gradient in gradients)


_ATTENTION_BACKWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
FUNCTIONS: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(("mm", "mm.out", "bmm", "bmm.out"), _mm),
    **dict.fromkeys(("addmm", "addmm.out", "baddbmm", "baddbmm.out"), _addmm),
    **dict.fromkeys(("addmm_", "baddbmm_"), _addmm_),
    _ATTENTION_BACKWARD.__name__: _attention_backward,
}


def _shape(left: torch.Tensor, right: torch.Tensor) -> tuple[int, ...]:
    return (*left.shape[:-1], right.shape[-1])


def _products(left: torch.Tensor, right: torch.Tensor) -> Iterator[tuple[Index, torch.Tensor]]:
    """(where in the result, the product there in fp32). The smaller operand is fp32 as a whole, the other in parts."""
    everything = (slice(None),) * left.dim()
    if max(left.numel(), right.numel()) <= _NUMBERS:
        yield everything, left.float() @ right.float()
    elif left.dim() == 3:
        for one in _parts(left, 0):
            yield (one,), left[one].float() @ right[one].float()
    elif left.numel() >= right.numel():
        right = right.float()
        for rows in _parts(left, 0):
            yield (rows,), left[rows].float() @ right
    else:
        left = left.float()
        for columns in _parts(right, 1):
            yield (slice(None), columns), left @ right[:, columns].float()


def _parts(operand: torch.Tensor, dimension: int) -> Iterator[slice]:
    length = operand.shape[dimension]
    size = max(1, _NUMBERS * length // operand.numel())
    for start in range(0, length, size):
        yield slice(start, start + size)
