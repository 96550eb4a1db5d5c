"""The forward that TRL's trainers call for log-probabilities, with the pieces that are on.

TRL's `add_fused_lm_head` gives a model a forward that answers `fused_lm_head=True` with per-token log-probabilities in
the layout of the labels. Ours answers the same question in the same layout, so that everything TRL makes of it (losses,
metrics, the reference) stays TRL's own code. TRL's forward stays underneath for all that ours does not do.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .attention import packed_mask, use_packed_attention
from .completion_head import score_tokens, score_with_trl
from .decisions import COMPLETION_HEAD, PACKED_PAIRS, Decisions
from .first_batch import FirstBatch

if TYPE_CHECKING:
    import torch

    from .packed_rows import PackedRows

Pack = Callable[["torch.Tensor", "torch.Tensor"], "PackedRows"]
_PER_TOKEN = ("log_probs", "entropy", "log_sum_sq_probs", "mean_logits", "is_top1")
_UNDERSTOOD = {"input_ids", "attention_mask", "labels", "num_items_in_batch", "use_cache"}


class FastForward:
    """Answers `fused_lm_head=True` for one model; `pack` lays out its batches (packed_rows.py)."""

    def __init__(self, model: Any, decisions: Decisions, pack: Pack, outputs: tuple[str, ...]) -> None:
        text_config = model.config.get_text_config()
        self.decisions, self.pack, self.outputs = decisions, pack, outputs
        self.attention = text_config._attn_implementation
        self.softcap = getattr(text_config, "final_logit_softcapping", None)
        if decisions.is_on(PACKED_PAIRS) and self.attention == "sdpa":
            use_packed_attention(model)

    def answers(self, arguments: dict[str, Any]) -> bool:
        """Is this a call that the pieces which are on can answer? Padding-free batches, for one, have no mask."""
        is_on = self.decisions.is_on(COMPLETION_HEAD) or self.decisions.is_on(PACKED_PAIRS)
        return (
            is_on and arguments.keys() <= _UNDERSTOOD and {"input_ids", "attention_mask", "labels"} <= arguments.keys()
        )

    def __call__(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        labels: torch.Tensor,
        num_items_in_batch: Any = None,
        use_cache: bool = False,
    ) -> Any:
        """TRL's FusedCausalLMOutput: per-token fields [rows, length - 1], zero where the next label is -100."""
        from trl.trainer.utils import FusedCausalLMOutput

        labels = labels[:, 1:]
        wanted = labels != -100
        scored = wanted if self.decisions.is_on(COMPLETION_HEAD) else wanted.new_ones(wanted.shape)
        hidden = self._hidden(model, input_ids, attention_mask, scored)
        score = score_tokens if self.decisions.is_on(COMPLETION_HEAD) else score_with_trl
        scores = score(hidden, model.get_output_embeddings(), labels[scored].clamp(min=0), self.outputs, self.softcap)
        fields = {name: _spread(part, scored, wanted) for name, part in zip(_PER_TOKEN, scores, strict=True)}
        count = wanted.sum().clamp(min=1) if num_items_in_batch is None else num_items_in_batch
        return FusedCausalLMOutput(loss=-fields["log_probs"].sum() / count, label_mask=wanted, **fields)

    def _hidden(self, model: Any, input_ids: Any, attention_mask: Any, scored: Any) -> torch.Tensor:
        """The last hidden states [scored positions, hidden size] that predict the scored tokens."""
        if not self.decisions.is_on(PACKED_PAIRS):
            states = model.base_model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False)
            return states.last_hidden_state[:, :-1][scored]
        rows = self.pack(input_ids, attention_mask)
        states = model.base_model(
            input_ids=rows.input_ids,
            position_ids=rows.position_ids,
            attention_mask=packed_mask(self.attention, rows.lengths, input_ids.device),
            use_cache=False,
        )
        return states.last_hidden_state[0][rows.index[:, :-1][scored]]


def add_fast_forward(
    model: Any, decisions: Decisions, pack: Pack, add_trl_forward: Callable[..., None], **options: Any
) -> None:
    """Give `model` TRL's forward and ours over it. `options` are those of TRL's `add_fused_lm_head`."""
    add_trl_forward(model, **options)
    stock = model.forward
    fast = FastForward(model, decisions, pack, options.get("outputs", ("log_probs",)))
    first_batch = FirstBatch(decisions)

    @functools.wraps(type(model).forward)  # `generate` reads the signature
    def forward(self: Any, *args: Any, fused_lm_head: bool = False, **kwargs: Any) -> Any:
        given = {name: value for name, value in kwargs.items() if value is not None}  # PEFT passes all that it knows
        if fused_lm_head and not args and fast.answers(given):
            first_batch.check(self, stock, functools.partial(fast, self), given)
            if fast.answers(given):
                return fast(self, **given)
        return stock(*args, **({"fused_lm_head": True} if fused_lm_head else {}), **kwargs)

    model.forward = types.MethodType(forward, model)


def _spread(part: Any, scored: torch.Tensor, wanted: torch.Tensor) -> Any:
    """[scored positions] -> the labels' layout; connected to the graph even when nothing is scored."""
    if part is None:
        return None
    return part.new_zeros(scored.shape).masked_scatter(scored, part).masked_fill(~wanted, 0)
