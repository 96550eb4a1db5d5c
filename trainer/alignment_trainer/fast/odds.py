"""ORPO and CPO with the fast forward: TRL's trainers build the logits of every position, of which they need few."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .decisions import COMPLETION_HEAD, PACKED_PAIRS
from .optimized import Optimized

if TYPE_CHECKING:
    import torch


class OptimizedOdds(Optimized):
    """Before TRL's ORPOTrainer and CPOTrainer: their `concatenated_forward`, which everything else of theirs reads.

    The metrics `logits/chosen` and `logits/rejected` are means over the scored tokens here; TRL's are means over all
    positions, padding included.
    """

    layout = "pack_pairs"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.add_forward(self.bare_policy(), outputs=("log_probs", "mean_logits"))

    def concatenated_forward(self, model: Any, batch: dict[str, Any]) -> tuple[torch.Tensor, ...]:
        """(chosen log-probs, rejected log-probs, chosen mean logits, rejected mean logits, NLL of the chosen)."""
        policy = self.decisions[0]
        if not (policy.is_on(COMPLETION_HEAD) or policy.is_on(PACKED_PAIRS)):
            return super().concatenated_forward(model, batch)  # type: ignore[misc]
        inputs: dict[str, torch.Tensor] = self.concatenated_inputs(  # type: ignore[attr-defined]
            batch,
            padding_value=self._padding_value,
            device=self.accelerator.device,  # type: ignore[attr-defined]
        )
        completion = inputs["concatenated_labels"]
        labels = self._scored(inputs, pairs=len(batch["chosen_labels"]))
        outputs = model(
            input_ids=inputs["concatenated_input_ids"],
            attention_mask=inputs["concatenated_attention_mask"],
            labels=labels,
            use_cache=False,
            fused_lm_head=True,
        )
        in_completion = completion[:, 1:] != -100
        logps = self._of_sequences(outputs.log_probs, in_completion)
        mean_logits = [
            half[seen] for half, seen in zip(outputs.mean_logits.chunk(2), in_completion.chunk(2), strict=True)
        ]
        return *logps.chunk(2), *mean_logits, self._nll(outputs.log_probs, labels)

    def _of_sequences(self, log_probs: torch.Tensor, in_completion: torch.Tensor) -> torch.Tensor:
        """Log-probabilities [rows, tokens] -> their sums, or means, over the completions [rows]."""
        sums = (log_probs * in_completion).sum(-1)
        return sums / in_completion.sum(-1) if self._averages else sums

    def _scored(self, inputs: dict[str, torch.Tensor], pairs: int) -> torch.Tensor:
        """Labels of the completions; ORPO's NLL also reads the prompt before the chosen one."""
        labels = inputs["concatenated_labels"].clone()
        if self._is_orpo:
            ids, mask = inputs["concatenated_input_ids"][:pairs], inputs["concatenated_attention_mask"][:pairs]
            labels[:pairs] = ids.masked_fill(mask == 0, -100)
        return labels

    def _nll(self, log_probs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        if not self._is_orpo and self.cpo_alpha == 0:  # type: ignore[attr-defined]
            return log_probs.new_zeros(())
        chosen = labels.chunk(2)[0][:, 1:] != -100
        return -log_probs.chunk(2)[0][chosen].mean()

    @property
    def _is_orpo(self) -> bool:
        return not hasattr(self, "cpo_alpha")

    @property
    def _averages(self) -> bool:
        return self._is_orpo or self.loss_type in ("ipo", "simpo")  # type: ignore[attr-defined]

    @property
    def _padding_value(self) -> int:
        return self.padding_value if self._is_orpo else self.pad_token_id  # type: ignore[attr-defined]
