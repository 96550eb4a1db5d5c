"""What is done faster than TRL does it, with equal losses: its `_compute_loss` runs unchanged, what it calls does less.

completion_head.py  the LM head on the positions that predict a scored token, and nowhere else
packed_rows.py      a padded batch as one row without padding; a prompt that two rows share is there once
attention.py        attention over such a row; row_attention.py: on the CPU
adapter_casts.py    LoRA layers without the casts that autocast undoes
adapter_sum.py      LoRA layers that add the adapter's product as it is made
selective.py        checkpointed layers that keep what is dear to compute
wide_products.py    bf16 products on CPUs without instructions for them
circumstances.py    when each may be on; decisions.py: what was decided, and why
first_batch.py      the proof, on the first micro-batch, that both ways give the same log-probabilities
forward.py          the pieces put together: the forward that TRL's trainers call
optimized.py        the trainers that use it; odds.py: ORPO and CPO
"""

from __future__ import annotations

from .odds import OptimizedOdds
from .optimized import Optimized, OptimizedLayers, OptimizedPairs, OptimizedRows

_BY_TRAINER = {
    "DPOTrainer": OptimizedPairs,
    "KTOTrainer": OptimizedRows,
    "SFTTrainer": OptimizedRows,
    "ORPOTrainer": OptimizedOdds,
    "CPOTrainer": OptimizedOdds,
    "RewardTrainer": OptimizedLayers,
}


def optimized_for(trainer_class: type) -> type[Optimized]:
    """The addition to TRL's trainer class."""
    return _BY_TRAINER[trainer_class.__name__]
