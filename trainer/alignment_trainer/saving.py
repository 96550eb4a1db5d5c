"""Makes the Trainer's checkpoints atomic (checkpoint.py) without changing what is in them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import checkpoint, group

if TYPE_CHECKING:
    from .attempt import RunningAttempt


class AtomicSaving:
    """Wraps `trainer._save_checkpoint`: sentinel, write, everyone done, flush, marker, then delete old ones.

    transformers would delete old checkpoints before the new one is on the disk, and keep broken ones in their place.
    """

    def __init__(self, trainer: Any, attempt: RunningAttempt) -> None:
        self.trainer, self.attempt = trainer, attempt
        self._save = trainer._save_checkpoint
        trainer._save_checkpoint = self.save

    def save(self, model: Any, trial: Any) -> None:
        trainer, args = self.trainer, self.trainer.args
        folder = Path(trainer._get_output_dir(trial=trial))
        path = folder / f"checkpoint-{trainer.state.global_step}"
        self.attempt.phase("Saving")
        if self.attempt.first and checkpoint.defect(path) is not None:
            checkpoint.begin(path)
        group.barrier()
        limit, only_model = args.save_total_limit, args.save_only_model
        args.save_total_limit = None
        if self.attempt.stopping:
            args.save_only_model = False  # asked for a small checkpoint, not to lose the work of a preempted attempt
        try:
            self._save(model, trial)
            resumable = not args.save_only_model
        finally:
            args.save_total_limit, args.save_only_model = limit, only_model
        group.barrier()
        if self.attempt.first:
            tokens = getattr(trainer, "_total_train_tokens", None)
            checkpoint.seal(path, resumable=resumable, totalTrainTokens=tokens)
            checkpoint.rotate(folder, limit, best=trainer.state.best_model_checkpoint)
        group.barrier()
