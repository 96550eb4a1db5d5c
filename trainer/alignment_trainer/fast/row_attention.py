"""Causal attention over a packed row on the CPU: torch's kernel forward, matrix products in the backward pass.

torch's kernel for CPUs computes what a query must not see and throws it away, so queries go through it in blocks with
the keys that the block may see. It also gives each query's log-sum-exp. With that, the backward pass of a block is five
matrix products (Dao et al. 2022, FlashAttention, arXiv:2205.14135, algorithm 4), for which a CPU needs some 0.6
of the time of the kernel's own backward pass in bf16. Nothing of [queries, keys] outlives its block.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch

from . import wide_products
from .selective import kept_attention

_QUERIES, _QUERIES_BACKWARD = 256, 128  # a block; in the backward pass it shall stay in the core's cache
_kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
Lengths = list[list[int]]


def attend(query: Any, key: Any, value: Any, lengths: Lengths, scaling: float | None) -> torch.Tensor:
    """query [1, heads, tokens, head size], key and value [1, key heads, ...] -> [1, tokens, heads, head size].

    lengths: of each segment, the tokens of the common start and of the two rests (packed_rows.py). scaling: of the
    scores; None: head size ** -0.5. Under autocast in its dtype, as torch's own attention.
    """
    if torch.is_autocast_enabled("cpu"):
        query, key, value = (part.to(torch.get_autocast_dtype("cpu")) for part in (query, key, value))
    return _Attention.apply(query, key, value, lengths, scaling or query.shape[-1] ** -0.5)


class _Part(NamedTuple):
    """Rows whose queries see the same keys, but for those after them: `keys` end with the queries' own rows."""

    queries: slice
    keys: tuple[slice, ...]

    def of(self, rows: torch.Tensor) -> torch.Tensor:
        """The keys' rows of [heads, tokens, ...]."""
        found = [rows[:, part] for part in self.keys]
        return found[0] if len(found) == 1 else torch.cat(found, 1)

    def add_to(self, rows: torch.Tensor, sums: torch.Tensor) -> None:
        """The reverse of `of`."""
        start = 0
        for part in self.keys:
            rows[:, part] += sums[:, start : (start := start + part.stop - part.start)]

    def blocks(self, size: int) -> Iterator[tuple[slice, int]]:
        """(rows of the queries, how many of the keys the last of them sees)."""
        before = sum(part.stop - part.start for part in self.keys) - (self.queries.stop - self.queries.start)
        for start in range(self.queries.start, self.queries.stop, size):
            stop = min(start + size, self.queries.stop)
            yield slice(start, stop), before + stop - self.queries.start


def _parts(lengths: Lengths) -> Iterator[_Part]:
    """[common | first] is causal; the second rest sees the common start and itself."""
    start = 0
    for common, first, second in lengths:
        middle = start + common + first
        end = middle + second
        yield _Part(slice(start, middle), (slice(start, middle),))
        if second:
            yield _Part(slice(middle, end), (slice(start, start + common), slice(middle, end)))
        start = end


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Any, key: Any, value: Any, lengths: Lengths, scaling: float) -> torch.Tensor:
        def compute() -> tuple[torch.Tensor, torch.Tensor]:
            return _forward(query[0], key[0], value[0], lengths, scaling)

        result, log_sums = kept_attention(compute) if any(ctx.needs_input_grad) else compute()
        ctx.save_for_backward(query, key, value, result, log_sums)
        ctx.lengths, ctx.scaling = lengths, scaling
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        query, key, value, result, log_sums = ctx.saved_tensors
        backward = _Backward(query[0], key[0], value[0], ctx.scaling)
        backward.see(result[0].transpose(0, 1), log_sums, gradients[0][0].transpose(0, 1))
        for part in _parts(ctx.lengths):
            backward.add(part)
        return *(gradient.to(query.dtype) for gradient in backward.result()), None, None


def _forward(query: Any, key: Any, value: Any, lengths: Lengths, scaling: float) -> tuple[torch.Tensor, torch.Tensor]:
    """[1, tokens, heads, head size] and the log-sum-exps of the scores, [heads, tokens]."""
    heads, tokens, size = query.shape
    key, value = (part.repeat_interleave(heads // len(part), 0) for part in (key, value))
    result = query.new_empty(1, tokens, heads, size)
    log_sums = query.new_empty(heads, tokens, dtype=_wide(query.dtype))
    for part in _parts(lengths):
        keys, values = part.of(key), part.of(value)
        for rows, seen in part.blocks(_QUERIES):
            count = rows.stop - rows.start
            how = {"is_causal": True} if seen == count else {"attn_mask": _mask(count, seen, query.dtype)}
            inputs = (each[None] for each in (query[:, rows], keys[:, :seen], values[:, :seen]))
            block, sums = _kernel(*inputs, **how, scale=scaling)
            result[0, rows], log_sums[:, rows] = block[0].transpose(0, 1), sums[0]
    return result, log_sums


def _mask(queries: int, keys: int, dtype: torch.dtype) -> torch.Tensor:
    """To be added to the scores [queries, keys] of the last queries."""
    return torch.full((queries, keys), -torch.inf, dtype=dtype).triu_(keys - queries + 1)


class _Backward:
    """The gradients of one row. Heads that share a key are one more dimension: [key heads, heads, tokens, head size].

    The probabilities are exp(scores - log-sum-exps). Products of a narrow dtype take the latter in that dtype, which is
    too coarse: what it is off by is a factor of each query's row, and is given to the gradient of the result instead.
    """

    def __init__(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float) -> None:
        query, key, value = (wide_products.operand(part) for part in (query, key, value))
        self._query = query.unflatten(0, (len(key), -1))
        self._key, self._value, self._scaling = key, value, scaling
        self._of_query = torch.empty_like(self._query)
        self._of_key, self._of_value = (torch.zeros_like(part, dtype=_wide(part.dtype)) for part in (key, value))

    def see(self, result: torch.Tensor, log_sums: torch.Tensor, gradient: torch.Tensor) -> None:
        """result, gradient: [heads, tokens, head size]; log_sums: [heads, tokens]."""
        dtype, groups = self._query.dtype, self._query.shape[:2]
        near = log_sums.to(dtype)
        gradient = gradient * (near.to(log_sums.dtype) - log_sums).exp()[..., None]
        self._log_sums = near.neg().unflatten(0, groups)
        self._shift = (gradient * result).sum(-1).neg().to(dtype).unflatten(0, groups)
        self._gradient = gradient.to(dtype).unflatten(0, groups)

    def add(self, part: _Part) -> None:
        """What the queries of this part contribute."""
        key, value = part.of(self._key), part.of(self._value)
        of_key, of_value = (torch.zeros_like(each, dtype=self._of_key.dtype) for each in (key, value))
        for rows, seen in part.blocks(_QUERIES_BACKWARD):
            query, gradient = self._block(self._query, rows), self._block(self._gradient, rows)
            keys, values = key[:, :seen], value[:, :seen]
            probabilities = _scores(self._block(self._log_sums, rows), query, keys, self._scaling).exp_()
            own = probabilities.unflatten(1, (-1, rows.stop - rows.start))
            own[..., seen - own.shape[2] :].tril_()
            of_scores = _scores(self._block(self._shift, rows), gradient, values, 1.0).mul_(probabilities)
            self._of_query[:, :, rows] = torch.bmm(of_scores, keys).view(*own.shape[:3], -1).mul_(self._scaling)
            of_key[:, :seen] += torch.bmm(of_scores.mT, query)
            of_value[:, :seen] += torch.bmm(probabilities.mT, gradient)
        part.add_to(self._of_key, of_key.mul_(self._scaling))
        part.add_to(self._of_value, of_value)

    def result(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The gradients of query, key and value; the last two are sums, in fp32 at least."""
        return self._of_query.flatten(0, 1)[None], self._of_key[None], self._of_value[None]

    @staticmethod
    def _block(tensor: torch.Tensor, rows: slice) -> torch.Tensor:
        """[key heads, heads, tokens, ...] -> [key heads, heads * rows, ...]."""
        return tensor[:, :, rows].flatten(1, 2)


def _scores(shift: torch.Tensor, left: torch.Tensor, right: torch.Tensor, scaling: float) -> torch.Tensor:
    """scaling * left @ right.T + shift: [groups, queries, size], [groups, keys, size], [groups, queries]."""
    return torch.baddbmm(shift[..., None].expand(-1, -1, right.shape[1]), left, right.mT, alpha=scaling)


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)
