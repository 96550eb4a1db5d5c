"""Causal attention of short rows on the CPU, in plain matrix products.

For up to two hundred tokens torch's kernel for the CPU takes up to three times as long backwards. Here a block of
queries is multiplied with the keys that some of it see, and query heads that share a key head are one product. As in
torch's kernel bf16 is computed in fp32, and as in FlashAttention (arXiv 2205.14135, algorithm 4) the backward pass
computes the probabilities again: nothing of the size [queries, keys] is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.autograd.function import once_differentiable

SHORT = 256  # keys; above, torch's kernel is as fast
HALF = 2  # bytes of bf16 and fp16; in fp32 torch's kernel is left alone, whose every digit TRL's runs have
_QUERIES = 64


def attend_causally(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float) -> torch.Tensor:
    """Attention of the last tokens of `key`: [1, heads, tokens, size], two of [1, key heads, seen, size] -> query's."""
    result: torch.Tensor = _Causal.apply(query, key, value, scaling)
    return result


class _Causal(torch.autograd.Function):
    """Below: of_x is the gradient with respect to x; rows are [key heads, heads of each * tokens, size]."""

    @staticmethod
    def forward(ctx: Any, query: Any, key: Any, value: Any, scaling: float) -> torch.Tensor:
        ctx.save_for_backward(query, key, value)
        ctx.scaling = scaling
        queries, keys, values = _grouped(query, key), _exact(key[0]), _exact(value[0])
        result = torch.empty_like(queries)
        for block, seen in _blocks(query, key):
            probabilities = _probabilities(queries[:, :, block], keys[:, seen], scaling)
            result[:, :, block] = (probabilities @ values[:, seen]).view_as(result[:, :, block])
        return result.view(query.shape).to(query)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_result: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, None]:
        query, key, value = ctx.saved_tensors
        queries, keys, values = _grouped(query, key), _exact(key[0]), _exact(value[0])
        of_results = _grouped(of_result, key)
        of_queries, of_keys, of_values = torch.empty_like(queries), torch.zeros_like(keys), torch.zeros_like(values)
        for block, seen in _blocks(query, key):
            probabilities = _probabilities(queries[:, :, block], keys[:, seen], ctx.scaling)
            of_rows = of_results[:, :, block].flatten(1, 2)
            of_values[:, seen].baddbmm_(probabilities.mT, of_rows)
            of_scores = _through_softmax(of_rows @ values[:, seen].mT, probabilities).mul_(ctx.scaling)
            of_queries[:, :, block] = (of_scores @ keys[:, seen]).view_as(of_queries[:, :, block])
            of_keys[:, seen].baddbmm_(of_scores.mT, queries[:, :, block].flatten(1, 2))
        return of_queries.view(query.shape).to(query), of_keys[None].to(key), of_values[None].to(value), None


def _exact(tensor: torch.Tensor) -> torch.Tensor:
    """In the dtype that is computed in."""
    return tensor.float() if tensor.itemsize == HALF else tensor


def _grouped(query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """[1, heads, tokens, size] -> [key heads, heads of each, tokens, size], contiguous."""
    return _exact(query[0]).contiguous().unflatten(0, (key.shape[1], -1))


def _blocks(query: torch.Tensor, key: torch.Tensor) -> Iterator[tuple[slice, slice]]:
    """Blocks of queries, and of each the keys that some of it see."""
    tokens, before = query.shape[2], key.shape[2] - query.shape[2]
    for start in range(0, tokens, _QUERIES):
        stop = min(start + _QUERIES, tokens)
        yield slice(start, stop), slice(0, before + stop)


def _probabilities(queries: torch.Tensor, keys: torch.Tensor, scaling: float) -> torch.Tensor:
    """[key heads, rows, seen], for queries of which the last sees all of `keys`."""
    heads, tokens, seen = queries.shape[1], queries.shape[2], keys.shape[1]
    hidden = torch.full((tokens, seen), float("-inf"), dtype=keys.dtype).triu(seen - tokens + 1)
    return torch.baddbmm(hidden.repeat(heads, 1), queries.flatten(1, 2), keys.mT, alpha=scaling).softmax(-1)


def _through_softmax(of_probabilities: torch.Tensor, probabilities: torch.Tensor) -> torch.Tensor:
    """The gradient with respect to the scores, in the memory of `of_probabilities`."""
    mean = (of_probabilities * probabilities).sum(-1, keepdim=True)
    return of_probabilities.sub_(mean).mul_(probabilities)
