"""The proof, once for each model, on rows of its first micro-batch: the fast forward gives TRL's numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .decisions import COMPLETION_HEAD, PACKED_PAIRS, Decisions

# Mean difference of a token's log-probability. Two orders of the same sums differ by less in each dtype (SmolLM2-135M:
# 2e-6 in fp32, 0.026 in bf16, as far as TRL's own forward in bf16 is from fp32); attention to wrong tokens by more
TOLERANCES = {"float64": 1e-4, "float32": 1e-4, "float16": 2e-2, "bfloat16": 1e-1}
_ROWS = 2  # of each half of the batch: two pairs show whether one pair sees the other
_WINDOW, _LEAD = 64, 24  # tokens of each row, and how many of them come before the first scored one


class FirstBatch:
    """Turns off, for good, the pieces with which the first micro-batch comes out differently."""

    def __init__(self, decisions: Decisions) -> None:
        self.decisions, self.is_checked = decisions, False

    def check(self, model: Any, stock: Callable[..., Any], fast: Callable[..., Any], batch: dict[str, Any]) -> None:
        """Compares without gradients and without dropout; in a fraction of a step, and of its memory."""
        rows = _few_tokens(_few_rows(batch))
        if self.is_checked or not (rows["labels"][:, 1:] != -100).any():
            return
        self.is_checked = True
        with _undisturbed(model, rows["input_ids"].device.type) as dtype:
            expected = stock(fused_lm_head=True, **rows)
            for name in filter(self.decisions.is_on, (PACKED_PAIRS, COMPLETION_HEAD)):
                reason = _difference(fast(**rows), expected, TOLERANCES[dtype])
                if reason is None:
                    return
                self.decisions.turn_off(name, reason)


def _few_rows(batch: dict[str, Any]) -> dict[str, Any]:
    """The first rows of both halves: of a batch of pairs that is two pairs, of any other it is any four rows."""
    half = len(batch["input_ids"]) // 2
    chosen = list(range(min(_ROWS, half))) or [0]
    rows = chosen + [row + half for row in chosen if half]
    return {name: batch[name][rows] for name in ("input_ids", "attention_mask", "labels")}


def _few_tokens(rows: dict[str, Any]) -> dict[str, Any]:
    """[rows, length] -> [rows, at most _WINDOW]: a short end of the prompt and the first scored tokens.

    Whole rows would cost nearly half a step on the CPU. Both sides of a pair begin at the same token of their prompt.
    """
    import torch

    labels, length = rows["labels"], rows["labels"].shape[1]
    start = ((labels != -100).long().argmax(1) - _LEAD).clamp(min=0)
    if len(start) % 2 == 0:
        start = start.view(2, -1).amin(0).repeat(2)
    index = start[:, None] + torch.arange(min(_WINDOW, length), device=labels.device)
    beyond = index >= length
    cut = {name: tensor.gather(1, index.clamp(max=length - 1)) for name, tensor in rows.items()}
    cut["attention_mask"] = cut["attention_mask"].masked_fill(beyond, 0)
    cut["labels"] = cut["labels"].masked_fill(beyond, -100)
    return cut


def _difference(got: Any, expected: Any, allowed: float) -> str | None:
    """None when the mean over the scored tokens is within `allowed`; a NaN is not."""
    difference = (got.log_probs - expected.log_probs)[expected.label_mask].abs().mean().item()
    if difference <= allowed:
        return None
    return f"log-probabilities of the first micro-batch differ from TRL's by {difference:.2g} (allowed: {allowed:.2g})"


@contextmanager
def _undisturbed(model: Any, device: str) -> Iterator[str]:
    """No gradients, no dropout, nothing left in autocast's cache; yields the name of the dtype of the products.

    autocast keeps each weight that it has cast until its end: cast here, without gradient, a weight would be taken
    from there by the step that follows, and would never learn.
    """
    import torch

    was_training, autocasts, low = model.training, torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)
    model.eval()
    try:
        with torch.no_grad(), torch.autocast(device, dtype=low, enabled=autocasts, cache_enabled=False):
            yield str(low if autocasts else model.dtype).removeprefix("torch.")
    finally:
        model.train(was_training)
