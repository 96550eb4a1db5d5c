"""Log-probabilities of tokens from the hidden states that predict them, without the logits of a whole batch.

TRL's own head (`trl.kernels.ChunkedLogProbFunction`) is used where it is good: on GPUs, and for heads with a bias or a
cap on the logits. On CPUs its backward multiplies in fp32, which no matrix unit speeds up; here every product is in the
dtype that the run computes in, and a head that is not trained needs no second pass over the vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

ROWS_A_PRODUCT = 256  # the weight is read once for so many positions
_CACHED_NUMBERS = 1 << 19  # fp32 numbers that the elementwise work may touch at a time: what a core's cache holds

Scores = tuple[Any, ...]


def score_tokens(hidden: torch.Tensor, lm_head: Any, targets: torch.Tensor, outputs: tuple, softcap: Any) -> Scores:
    """(log_probs, entropy, log_sum_sq_probs, mean_logits, is_top1), each [N] or None where `outputs` has no such name.

    hidden: [N, hidden size], the states that predict `targets` [N]. Names and meaning are those of TRL's
    FusedCausalLMOutput; only log_probs has a gradient.
    """
    weight, bias = lm_head.weight, lm_head.bias
    if hidden.device.type != "cpu" or bias is not None or softcap is not None:
        return score_with_trl(hidden, lm_head, targets, outputs, softcap)
    dtype = compute_dtype(hidden)
    hidden, wants_gradient = hidden.to(dtype), torch.is_grad_enabled()
    if wants_gradient and weight.requires_grad:
        return _TrainedHead.apply(hidden, weight, targets, outputs)
    return _FrozenHead.apply(hidden, weight.detach().to(dtype), targets, outputs, wants_gradient)


def score_with_trl(hidden: torch.Tensor, lm_head: Any, targets: torch.Tensor, outputs: tuple, softcap: Any) -> Scores:
    """The same, by TRL's tiles."""
    from trl.kernels import ChunkedLogProbFunction
    from trl.trainer.utils import _CHUNKED_LOGPROB_CHUNK_SIZE as CHUNK

    return ChunkedLogProbFunction.apply(
        hidden, lm_head.weight, lm_head.bias, targets, 1.0, CHUNK, softcap, 1.0, outputs
    )


def compute_dtype(hidden: torch.Tensor) -> torch.dtype:
    """What the run multiplies in: autocast's dtype, else the model's own."""
    device = hidden.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype


class _FrozenHead(torch.autograd.Function):
    """A head that is not trained: d log p / d hidden = W[target] - softmax @ W is formed while the softmax is there."""

    @staticmethod
    def forward(ctx: Any, hidden: Any, weight: Any, targets: Any, outputs: tuple, wants_gradient: bool) -> Scores:
        statistics = _Statistics(hidden, targets, outputs)
        gradient = torch.empty_like(hidden) if wants_gradient else None
        for rows, logits in _products(hidden, weight):
            for start, block in _cached_blocks(logits):
                exponentials, total = statistics.add(rows.start + start, block)
                if gradient is not None:
                    block.copy_(exponentials.div_(total[:, None]))
            if gradient is not None:
                gradient[rows] = weight[targets[rows]] - logits @ weight
        ctx.save_for_backward(gradient)
        return statistics.result(ctx)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (unit,) = ctx.saved_tensors
        return (unit * gradients[0][:, None]).to(unit.dtype), None, None, None, None


class _TrainedHead(torch.autograd.Function):
    """A head that is trained: the softmax is formed again in the backward, for both gradients.

    There a product is of all positions and some words, so that it gives the gradient of those words' weights whole:
    summed in fp32 by the product itself, rounded once.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Any, weight: Any, targets: Any, outputs: tuple) -> Scores:
        statistics = _Statistics(hidden, targets, outputs)
        for rows, logits in _products(hidden, weight.to(hidden.dtype)):
            for start, block in _cached_blocks(logits):
                statistics.add(rows.start + start, block)
        ctx.save_for_backward(hidden, weight, targets, statistics.log_total)
        return statistics.result(ctx)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        hidden, weight, targets, log_total = ctx.saved_tensors
        to_hidden, to_weight = torch.zeros_like(hidden, dtype=log_total.dtype), torch.empty_like(weight)
        for words, part, logits in _products_by_words(hidden, weight):
            for start, block in _cached_blocks(logits):
                at = slice(start, start + len(block))
                block.copy_(_gradient_of_logits(block, targets[at] - words.start, log_total[at], gradients[0][at]))
            to_hidden += logits @ part
            _product_into(to_weight[words], logits.t(), hidden)
        return to_hidden.to(hidden.dtype), to_weight, None, None


class _Statistics:
    """What is kept of each position's logits."""

    def __init__(self, hidden: torch.Tensor, targets: torch.Tensor, outputs: tuple) -> None:
        self.targets, self.outputs = targets, outputs
        empty = hidden.new_empty(len(targets), dtype=_wide(hidden.dtype))
        self.log_probs, self.log_total = empty.clone(), empty.clone()
        self.entropy, self.log_sum_sq_probs, self.mean_logits = empty.clone(), empty.clone(), empty.clone()
        self.is_top1 = torch.empty_like(targets, dtype=torch.bool)

    def add(self, start: int, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Take in logits [rows, vocabulary] of the positions from `start` on.

        Returns exponentials [rows, vocabulary] and their sums [rows]: the softmax is one over the other.
        """
        rows = slice(start, start + len(logits))
        logits, targets = logits.to(self.log_probs.dtype, copy=True), self.targets[rows]
        if "mean_logits" in self.outputs:
            self.mean_logits[rows] = logits.mean(1)
        top, at = logits.max(1)  # the first of equal ones, as TRL counts
        self.is_top1[rows] = at == targets
        logits -= top[:, None]
        at_target = logits.gather(1, targets[:, None])[:, 0]
        exponentials = logits.exp()
        total = exponentials.sum(1)
        log_total = total.log()
        self.log_probs[rows], self.log_total[rows] = at_target - log_total, top + log_total
        if "entropy" in self.outputs:
            self.entropy[rows] = log_total - torch.linalg.vecdot(exponentials, logits) / total
        if "log_sum_sq_probs" in self.outputs:
            self.log_sum_sq_probs[rows] = torch.linalg.vecdot(exponentials, exponentials).log() - 2 * log_total
        return exponentials, total

    def result(self, ctx: Any) -> Scores:
        names = ("entropy", "log_sum_sq_probs", "mean_logits", "is_top1")
        rest = tuple(getattr(self, name) if name in self.outputs else None for name in names)
        ctx.mark_non_differentiable(*(part for part in rest if part is not None))
        return self.log_probs, *rest


def _gradient_of_logits(logits: Any, targets: Any, log_total: Any, upstream: Any) -> torch.Tensor:
    """upstream * (one-hot(target) - softmax), [rows, words]. Targets outside [0, words) are other blocks' words."""
    words = logits.shape[1]
    here = upstream.where((targets >= 0) & (targets < words), 0)
    gradient = (logits.to(log_total.dtype) - log_total[:, None]).exp_().mul_(-upstream[:, None])
    return gradient.scatter_add_(1, targets.clamp(0, words - 1)[:, None], here[:, None])


def _products(hidden: torch.Tensor, weight: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]]:
    """(rows, their logits [rows, vocabulary]); the next ones overwrite them."""
    buffer = hidden.new_empty(min(ROWS_A_PRODUCT, len(hidden)), len(weight))
    for rows in _blocks(len(hidden), ROWS_A_PRODUCT):
        yield rows, torch.mm(hidden[rows], weight.t(), out=buffer[: rows.stop - rows.start])


def _product_into(result: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> None:
    if result.dtype == left.dtype:
        torch.mm(left, right, out=result)
    else:
        result.copy_(left @ right)


def _products_by_words(hidden: torch.Tensor, weight: torch.Tensor) -> Iterator[tuple[slice, Any, torch.Tensor]]:
    """(words, their weight in hidden's dtype, the logits [N, words]); the next ones overwrite these."""
    size = max(1, min(len(weight), ROWS_A_PRODUCT * len(weight) // max(1, len(hidden))))
    buffer = hidden.new_empty(len(hidden) * size)
    for words in _blocks(len(weight), size):
        part, count = weight[words].to(hidden.dtype), words.stop - words.start
        yield words, part, torch.mm(hidden, part.t(), out=buffer[: len(hidden) * count].view(-1, count))


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def _blocks(length: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, length)) for start in range(0, length, size)]


def _cached_blocks(logits: torch.Tensor) -> list[tuple[int, torch.Tensor]]:
    """(first row, rows) of blocks so small that one pass after the other finds them in the cache."""
    rows = max(1, _CACHED_NUMBERS // logits.shape[1])
    return [(block.start, logits[block]) for block in _blocks(len(logits), rows)]
