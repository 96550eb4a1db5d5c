"""Causal attention in plain products: torch's numbers and gradients, whatever sees what."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from alignment_trainer.fast import attention
from alignment_trainer.fast.causal_on_cpu import attend_causally

HEADS, SIZE = 6, 16


def _tensors(key_heads: int, before: int, tokens: int, dtype: torch.dtype) -> list[torch.Tensor]:
    torch.manual_seed(before + tokens)
    shapes = [(HEADS, tokens), (key_heads, before + tokens), (key_heads, before + tokens)]
    return [torch.randn(1, *shape, SIZE, dtype=dtype, requires_grad=True) for shape in shapes]


def _as_torch(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float) -> torch.Tensor:
    mask = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool).tril(key.shape[2] - query.shape[2])
    return scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scaling, enable_gqa=True)


@pytest.mark.parametrize(("before", "tokens"), [(0, 1), (0, 64), (0, 65), (40, 1), (30, 200), (300, 150)])
@pytest.mark.parametrize("key_heads", [1, 2, 6])
def test_result_and_gradients_are_torch_s(key_heads: int, before: int, tokens: int) -> None:
    tensors = _tensors(key_heads, before, tokens, torch.float64)
    ours, theirs = attend_causally(*tensors, 0.3), _as_torch(*tensors, 0.3)
    torch.testing.assert_close(ours, theirs)
    incoming = torch.randn_like(theirs)
    torch.testing.assert_close(
        torch.autograd.grad(ours, tensors, incoming), torch.autograd.grad(theirs, tensors, incoming)
    )


def test_half_precision_is_computed_in_single() -> None:
    """No further from the exact result than torch's kernel is, and of the dtype that came in."""
    tensors = _tensors(2, 20, 100, torch.bfloat16)
    ours, theirs = attend_causally(*tensors, 0.25), _as_torch(*tensors, 0.25)
    exact = _as_torch(*(tensor.double() for tensor in tensors), 0.25)
    assert ours.dtype == torch.bfloat16
    assert (ours - exact).abs().max() <= (theirs - exact).abs().max() * 1.05


def test_nothing_of_queries_times_keys_is_kept_for_the_backward_pass() -> None:
    kept: list[torch.Tensor] = []
    tensors = _tensors(2, 0, 128, torch.float32)
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        attend_causally(*tensors, 0.25)
    assert sum(tensor.numel() for tensor in kept) == sum(tensor.numel() for tensor in tensors)


def test_a_packed_row_in_half_precision_goes_this_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """And gives what torch's kernel gives for it in fp32, but for the rounding of the ends."""
    lengths = torch.tensor([[[[30, 20, 25], [0, 40, 0], [5, 1, 9]]]])
    tensors = _tensors(2, 0, int(lengths.sum()), torch.bfloat16)
    calls: list[int] = []

    def counted(query: torch.Tensor, *others: object) -> torch.Tensor:
        calls.append(query.shape[2])
        return attend_causally(query, *others)

    monkeypatch.setattr(attention, "attend_causally", counted)
    ours, _ = attention.packed_attention(torch.nn.Module(), *tensors, lengths, scaling=0.25)
    assert calls == [50, 25, 40, 6, 9]
    exact, _ = attention.packed_attention(torch.nn.Module(), *(t.float() for t in tensors), lengths, scaling=0.25)
    assert len(calls) == 5
    torch.testing.assert_close(ours.float(), exact, rtol=8e-3, atol=1e-3)
