"""The pieces of the fast forward by themselves, against TRL's head and against attention with a dense mask."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from alignment_trainer.fast.attention import block_mask, packed_attention, packed_mask
from alignment_trainer.fast.completion_head import score_tokens, score_with_trl
from alignment_trainer.fast.packed_rows import pack_pairs, pack_rows

ALL = ("log_probs", "entropy", "log_sum_sq_probs", "mean_logits", "is_top1")
PAD = 0


def head_case(positions: int, vocabulary: int, dtype: torch.dtype, is_trained: bool) -> tuple[Any, Any, Any]:
    generator = torch.Generator().manual_seed(positions)
    hidden = torch.randn(positions, 32, generator=generator, dtype=dtype).requires_grad_()
    weight = (torch.randn(vocabulary, 32, generator=generator, dtype=dtype) / 3).requires_grad_(is_trained)
    targets = torch.randint(0, vocabulary, (positions,), generator=generator)
    return hidden, SimpleNamespace(weight=weight, bias=None), targets


@pytest.mark.parametrize("is_trained", [False, True], ids=["frozen", "trained"])
@pytest.mark.parametrize(("positions", "vocabulary"), [(0, 50), (1, 50), (700, 50), (300, 40_000)])
def test_the_head_is_trls(positions: int, vocabulary: int, is_trained: bool) -> None:
    """Several blocks of positions, several tiles of the vocabulary, and nothing at all."""
    results = []
    for score in (score_tokens, score_with_trl):
        hidden, head, targets = head_case(positions, vocabulary, torch.float32, is_trained)
        scores = score(hidden, head, targets, ALL, None)
        (scores[0] * torch.linspace(-1, 1, positions)).sum().backward()
        results.append((*scores, hidden.grad, head.weight.grad))
    for name, ours, trls in zip((*ALL, "to hidden", "to weight"), *results, strict=True):
        torch.testing.assert_close(ours, trls, rtol=1e-5, atol=2e-5, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("is_trained", [False, True], ids=["frozen", "trained"])
def test_in_bf16_the_head_is_as_near_to_fp32_as_trls(is_trained: bool) -> None:
    def gradient(score: Any, dtype: torch.dtype) -> torch.Tensor:
        hidden, head, targets = head_case(700, 500, torch.float32, is_trained)
        with torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
            log_probs = score(hidden.to(dtype), head, targets, ALL, None)[0]
        (log_probs * torch.linspace(-1, 1, 700)).sum().backward()
        return torch.cat([part.grad.flatten() for part in (hidden, head.weight) if part.grad is not None])

    exact = gradient(score_with_trl, torch.float32)
    errors = [
        (gradient(score, torch.bfloat16) - exact).norm() / exact.norm() for score in (score_tokens, score_with_trl)
    ]
    assert errors[0] < max(1.5 * errors[1], 1e-2)


def test_outputs_that_nobody_asked_for_are_none() -> None:
    hidden, head, targets = head_case(3, 50, torch.float32, False)
    assert [part is None for part in score_tokens(hidden, head, targets, ("log_probs",), None)] == [False] + [True] * 4


def test_only_what_is_trained_gets_a_gradient_and_nothing_under_no_grad() -> None:
    hidden, head, targets = head_case(3, 50, torch.float32, False)
    with torch.no_grad():
        assert not score_tokens(hidden, head, targets, ALL, None)[0].requires_grad
    score_tokens(hidden, head, targets, ALL, None)[0].sum().backward()
    assert hidden.grad is not None
    assert head.weight.grad is None


def padded(*rows: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    width = max(map(len, rows))
    ids = torch.tensor([row + [PAD] * (width - len(row)) for row in rows])
    return ids, torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])


@pytest.mark.parametrize(
    ("chosen", "rejected", "packed", "positions", "lengths"),
    [
        ([1, 2, 3, 4], [1, 2, 5], [1, 2, 3, 4, 5], [0, 1, 2, 3, 2], [2, 2, 1]),
        ([1, 2], [1, 2, 5], [1, 2, 5], [0, 1, 2], [2, 0, 1]),
        ([1, 2, 3], [1, 2], [1, 2, 3], [0, 1, 2], [2, 1, 0]),
        ([1, 2], [1, 2], [1, 2], [0, 1], [2, 0, 0]),
        ([3], [4, 4], [3, 4, 4], [0, 0, 1], [0, 1, 2]),
        ([1, PAD], [1, PAD, PAD], [1, PAD, PAD], [0, 1, 2], [2, 0, 1]),
    ],
    ids=[
        "a common start",
        "prefix of the other",
        "the other way",
        "equal",
        "nothing in common",
        "pad token as a token",
    ],
)
def test_a_pair_is_packed(chosen: list, rejected: list, packed: list, positions: list, lengths: list) -> None:
    ids, mask = padded(chosen, rejected)
    rows = pack_pairs(ids, mask)
    assert rows.input_ids.tolist() == [packed]
    assert rows.position_ids.tolist() == [positions]
    assert rows.lengths.tolist() == [lengths]
    assert torch.equal(rows.input_ids[0][rows.index][mask.bool()], ids[mask.bool()])
    assert torch.equal(
        rows.position_ids[0][rows.index][mask.bool()], torch.arange(ids.shape[1]).expand_as(ids)[mask.bool()]
    )


def test_pairs_and_rows_lie_end_to_end() -> None:
    ids, mask = padded([1, 2, 3], [4, 5], [1, 6], [4, 5, 7])
    assert pack_pairs(ids, mask).input_ids.tolist() == [[1, 2, 3, 6, 4, 5, 7]]
    assert pack_pairs(ids, mask).lengths.tolist() == [[1, 2, 1], [2, 0, 1]]
    rows = pack_rows(ids, mask)
    assert rows.input_ids.tolist() == [[1, 2, 3, 4, 5, 1, 6, 4, 5, 7]]
    assert rows.lengths.tolist() == [[3, 0, 0], [2, 0, 0], [2, 0, 0], [3, 0, 0]]
    assert torch.equal(rows.input_ids[0][rows.index][mask.bool()], ids[mask.bool()])


LENGTHS = torch.tensor([[3, 4, 2], [5, 0, 3], [2, 3, 0], [0, 2, 2], [4, 0, 0]])


def dense_mask(lengths: torch.Tensor) -> torch.Tensor:
    """The rule, token by token: [tokens, tokens], True where the query sees the key."""
    tokens = torch.tensor(
        [(row, part) for row, parts in enumerate(lengths.tolist()) for part in range(3) for _ in range(parts[part])]
    )
    segment, part = tokens.unbind(1)
    across = (part[:, None] == 2) & (part[None] == 1)
    return ((segment[:, None] == segment[None]) & ~across).tril()


def projections(tokens: int, device: str = "cpu") -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(1, heads, tokens, 16) for heads in (4, 2, 2)]
    return [torch.randn(shape, generator=generator).to(device).requires_grad_() for shape in shapes]


@pytest.mark.parametrize("dropout", [0.0, 1e-12], ids=["as on CPUs", "as on GPUs"])
@pytest.mark.parametrize("scale", [1, 60], ids=["one block of queries", "several"])
def test_packed_attention_is_attention_with_the_dense_mask(scale: int, dropout: float) -> None:
    """Dropout, even one that drops nothing, takes a CPU through torch's own attention for each segment, as on GPUs."""
    lengths = LENGTHS * scale
    module = SimpleNamespace(num_key_value_groups=2, training=True)
    results = []
    for is_packed in (True, False):
        query, key, value = projections(int(lengths.sum()))
        if is_packed:
            out, _ = packed_attention(
                module, query, key, value, packed_mask("sdpa", lengths, query.device), dropout=dropout, scaling=0.3
            )
        else:
            keys, values = key.repeat_interleave(2, 1), value.repeat_interleave(2, 1)
            scores = (query @ keys.transpose(2, 3) * 0.3).masked_fill(~dense_mask(lengths), -torch.inf)
            out = (scores.softmax(-1) @ values).transpose(1, 2)
        (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
        results.append((out, query.grad, key.grad, value.grad))
    for ours, dense in zip(*results, strict=True):
        torch.testing.assert_close(ours, dense, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [1, 4], ids=["small scores", "large scores"])
def test_in_bf16_packed_attention_is_as_exact_as_the_kernel(size: int) -> None:
    """Both against float64; scores of 60 would be off by half, were they rounded to bf16."""
    lengths = torch.tensor([[150, 180, 120], [0, 170, 0]])
    module, tokens = SimpleNamespace(num_key_value_groups=2, training=True), int(lengths.sum())
    inputs = [(part * size).bfloat16() for part in projections(tokens)]
    upstream = torch.linspace(-1, 1, tokens * 4 * 16).view(1, tokens, 4, 16).bfloat16()
    expanded = dense_mask(lengths)

    def packed(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor
        out, _ = packed_attention(module, query, key, value, packed_mask("sdpa", lengths, query.device))
        return out

    def kernel(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        key, value = (part.repeat_interleave(2, 1) for part in (key, value))
        return scaled_dot_product_attention(query, key, value, attn_mask=expanded).transpose(1, 2)

    def results(attend: Any, dtype: torch.dtype) -> list[torch.Tensor]:
        leaves = [part.detach().to(dtype).requires_grad_() for part in inputs]
        out = attend(*leaves)
        return [out.detach(), *torch.autograd.grad(out, leaves, upstream.to(dtype))]

    exact = results(kernel, torch.float64)
    ours, theirs = (
        [distance(*pair) for pair in zip(results(attend, torch.bfloat16), exact, strict=True)]
        for attend in (packed, kernel)
    )
    assert max(theirs) < 0.01
    assert all(own < 2.5 * other for own, other in zip(ours, theirs, strict=True)), (ours, theirs)


def distance(found: torch.Tensor, exact: torch.Tensor) -> float:
    """Relative, of the whole tensor."""
    return float((found.double() - exact).norm() / exact.norm())


def test_under_autocast_packed_attention_has_its_dtype() -> None:
    module, (query, key, value) = (
        SimpleNamespace(num_key_value_groups=2, training=True),
        projections(int(LENGTHS.sum())),
    )
    with torch.autocast("cpu", torch.bfloat16):
        out, _ = packed_attention(module, query, key, value, packed_mask("sdpa", LENGTHS, query.device))
    out.float().sum().backward()
    assert (out.dtype, query.grad.dtype, key.grad.dtype) == (torch.bfloat16, torch.float32, torch.float32)


def test_any_other_batch_is_left_to_sdpa() -> None:
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    module = SimpleNamespace(num_key_value_groups=2, training=True, is_causal=True)
    query, key, value = projections(9)
    for mask in (None, torch.ones(1, 1, 9, 9, dtype=torch.bool).tril()):
        ours, stock = (attend(module, query, key, value, mask) for attend in (packed_attention, sdpa_attention_forward))
        assert torch.equal(ours[0], stock[0])


def test_the_block_mask_says_the_same() -> None:
    from torch.nn.attention.flex_attention import create_mask

    mask = block_mask(LENGTHS, torch.device("cpu"))
    tokens = int(LENGTHS.sum())
    assert mask.shape[-2:] == (tokens, tokens)
    assert len(mask.shape) == 4  # or transformers would make a mask of its own
    dense = create_mask(mask.mask_mod, None, None, tokens, tokens, device="cpu")
    assert torch.equal(dense[0, 0], dense_mask(LENGTHS))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_flex_attention_with_the_block_mask_is_packed_attention() -> None:
    from transformers.integrations.flex_attention import flex_attention_forward

    module = SimpleNamespace(num_key_value_groups=2, training=True)
    lengths, results = LENGTHS * 200, []
    for name, attend in (("sdpa", packed_attention), ("flex_attention", flex_attention_forward)):
        query, key, value = projections(int(lengths.sum()), "cuda")
        out, _ = attend(module, query, key, value, packed_mask(name, lengths, query.device), scaling=0.3)
        out.square().sum().backward()
        results.append((out, query.grad, key.grad, value.grad))
    for ours, flex in zip(*results, strict=True):
        torch.testing.assert_close(ours, flex, rtol=1e-3, atol=1e-3)
