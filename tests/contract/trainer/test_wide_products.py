"""bf16 products on CPUs without instructions for them: the numbers of torch's own kernels, whatever CPU this is."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention as attention

from alignment_trainer.fast import row_attention, wide_products
from bench.train import products

# In bf16 by the functions as torch calls them, and by torch in fp64, rounded once
SHAPES = {
    "small": ((3, 4), (4, 5)),
    "empty": ((0, 4), (4, 5)),
    "nothing to sum": ((3, 0), (0, 5)),
    "in parts of the left": ((2100, 600), (600, 70)),
    "in parts of the right": ((70, 600), (600, 2100)),
    "batches": ((3, 40, 16), (3, 16, 50)),
    "batches in parts": ((5, 300, 900), (5, 900, 70)),
}


def numbers(*shape: int, seed: int = 0, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float32).to(dtype)


def assert_rounded_once(found: torch.Tensor, exact: torch.Tensor, size: float) -> None:
    """`exact` in fp64; `size`: of the terms, whose sum in fp32 is off by so much less than bf16 shows."""
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.double(), exact, rtol=2**-8, atol=1e-5 * size)


@pytest.mark.parametrize("transposed", [False, True], ids=["", "transposed"])
@pytest.mark.parametrize("shapes", SHAPES.values(), ids=SHAPES.keys())
def test_a_product_is_summed_in_fp32_and_rounded_once(shapes: Any, transposed: bool) -> None:
    left, right = numbers(*shapes[0]), numbers(*shapes[1], seed=1)
    if transposed:
        left, right = left.mT.contiguous().mT, right.mT.contiguous().mT
    exact, kind = left.double() @ right.double(), "mm" if left.dim() == 2 else "bmm"
    base = numbers(*exact.shape, seed=2)
    added = 0.5 * base.double() + 2 * exact
    call, size = wide_products.FUNCTIONS.__getitem__, 1 + left.shape[-1] ** 0.5
    assert_rounded_once(call(kind)(left, right), exact, size)
    assert_rounded_once(call(f"{kind}.out")(left, right, out=torch.empty_like(base)), exact, size)
    add = "addmm" if kind == "mm" else "baddbmm"
    assert_rounded_once(call(add)(base, left, right, beta=0.5, alpha=2), added, size)
    row = base[..., :1, :]
    assert_rounded_once(call(add)(row, left, right), row.double() + exact, size)
    in_place = base.clone()
    assert call(f"{add}_")(in_place, left, right, beta=0.5, alpha=2) is in_place
    assert_rounded_once(in_place, added, size)


def test_what_is_not_added_may_be_anything() -> None:
    left, right = numbers(3, 4), numbers(4, 5)
    unread = torch.full((3, 5), torch.nan, dtype=torch.bfloat16)
    assert wide_products.FUNCTIONS["addmm"](unread, left, right, beta=0).isfinite().all()


def gradients(attend: Any, parts: list[torch.Tensor]) -> list[torch.Tensor]:
    parts = [part.clone().requires_grad_() for part in parts]
    result = attend(*parts)
    return list(torch.autograd.grad(result, parts, numbers(*result.shape, seed=9).to(result.dtype)))


ROW = [[30, 40, 50], [20, 60, 0]]  # a pair with a common start, and a row without a partner
SEES = torch.ones(200, 200, dtype=torch.bool).tril()
ATTENTIONS = {
    "causal": lambda *parts: attention(*parts, is_causal=True),
    "masked": lambda *parts: attention(*parts, attn_mask=SEES),
    "of a packed row": lambda *parts: row_attention.attend(*parts, ROW, None),
}


@pytest.mark.parametrize("name", ATTENTIONS)
def test_attentions_gradients_are_no_further_off(name: str) -> None:
    """As near to fp64 as the rounding of its result allows, which both ways start from.

    Of a packed row that is nearer than bf16 products come: the bound fails without the piece.
    """
    parts = [numbers(1, 4, 200, 32, seed=seed) for seed in range(3)]
    exact = gradients(ATTENTIONS[name], [part.double() for part in parts])
    narrow = gradients(ATTENTIONS[name], parts)
    wide_products.use(True)
    for found, before, right in zip(gradients(ATTENTIONS[name], parts), narrow, exact, strict=True):
        assert found.dtype == torch.bfloat16
        off, off_before = ((each.double() - right).norm() / right.norm() for each in (found, before))
        assert off <= min(4e-3, 1.05 * off_before)


def test_the_benchmarks_operations_are_what_their_names_say() -> None:
    results = {name: operation() for name, operation in products.operations(torch.bfloat16)}
    assert results["[1430, 576] x [576, 1536]"].shape == (1430, 1536)
    assert results["attention of a packed row: forward"].shape == (1, 1475, 9, 64)
    for name in ("attention of a packed row: backward", "attention, causal: backward"):
        assert [gradient.shape[2] for gradient in results[name]] == [1475] * 3


IN_PLACE_OF_TORCHS = """
import torch
from torch.nn.functional import linear, scaled_dot_product_attention
from alignment_trainer.fast import wide_products
torch.manual_seed(0)
x, weight, bias = (torch.randn(shape).bfloat16().requires_grad_() for shape in ((7, 30, 64), (96, 64), (96,)))
def results():
    for part in (x, weight, bias):
        part.grad = None
    out = linear(x, weight, bias)
    (out.float() ** 2).sum().backward()
    batches = torch.baddbmm(x[:, :, :30], x, x.mT, alpha=0.5)
    given = torch.mm(x[0].detach(), weight.detach().t(), out=x.new_empty(0))
    attended = scaled_dot_product_attention(*3 * (x.view(7, 2, 30, 32),), is_causal=True)
    return [out, x.grad, weight.grad, bias.grad, batches, given, torch.autograd.grad(attended.float().sum(), x)[0]]
calls = []
def noted(name, function):
    return lambda *args, **kwargs: calls.append(name) or function(*args, **kwargs)
wide_products.FUNCTIONS.update({name: noted(name, function) for name, function in wide_products.FUNCTIONS.items()})
before = results()
wide_products.use(True)
wide_products.use(True)
for one, other in zip(before, results(), strict=True):
    assert one.dtype == other.dtype and one.shape == other.shape
    assert (one.float() - other.float()).norm() <= 1e-2 * one.float().norm()
attention = "_scaled_dot_product_flash_attention_for_cpu_backward"
assert {"addmm", "mm", "baddbmm", "mm.out", attention} <= set(calls), calls
calls.clear()
for dtype in (torch.float32, torch.float64, torch.float16, torch.int64):
    left, right = torch.ones(3, 4, dtype=dtype), torch.ones(4, 2, dtype=dtype)
    assert torch.equal(left @ right, torch.full((3, 2), 4, dtype=dtype))
wide_products.use(False)
assert all(torch.equal(one, other) for one, other in zip(before, results(), strict=True))
assert not calls
"""


def test_every_layer_and_its_backward_pass_end_in_them_and_other_dtypes_do_not() -> None:
    """In a process of its own: the registration stays."""
    done = subprocess.run([sys.executable, "-c", IN_PLACE_OF_TORCHS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
