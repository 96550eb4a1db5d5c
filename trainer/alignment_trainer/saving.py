"""Makes the Trainer's checkpoints atomic (checkpoint.py) without changing what is in them."""

from __future__ import annotations

import time
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
        # Ours alone to delete: at the end of training, also of a stopped one, transformers would delete the checkpoint
        # to resume from if it is not the best
        self.limit, trainer.args.save_total_limit = trainer.args.save_total_limit, None
        self._save = trainer._save_checkpoint
        trainer._save_checkpoint = self.save

    def save(self, model: Any, trial: Any) -> None:
        trainer, args = self.trainer, self.trainer.args
        folder = Path(trainer._get_output_dir(trial=trial))
        path = folder / f"checkpoint-{trainer.state.global_step}"
        self.attempt.phase("Saving")
        if group.from_first(self._is_there(path)):  # a stop at the end of an epoch asks twice
            return
        if self.attempt.first:
            checkpoint.begin(path)
        group.barrier()
        only_model = args.save_only_model
        if self.attempt.stopping:
            args.save_only_model = False  # asked for a small checkpoint, not to lose the work of a preempted attempt
        try:
            self._save(model, trial)
            resumable = not args.save_only_model
        finally:
            args.save_only_model = only_model
        group.barrier()
        if self.attempt.first:
            tokens = getattr(trainer, "_total_train_tokens", None)
            checkpoint.seal(path, resumable=resumable, totalTrainTokens=tokens)
            checkpoint.rotate(folder, self.limit, best=trainer.state.best_model_checkpoint)
        group.barrier()

    def _is_there(self, path: Path) -> bool:
        """Whether this step's checkpoint is complete and holds all that is wanted (only rank 0 looks)."""
        if not self.attempt.first or checkpoint.defect(path) is not None:
            return False
        wants_all = self.attempt.stopping or not self.trainer.args.save_only_model
        complete = checkpoint.complete(path.parent)
        return not wants_all or any(found.path == path and found.resumable for found in complete)


def save_amid_evaluation(trainer: Any) -> None:
    """Log and save the step that is being evaluated: a stop neither waits for an evaluation nor loses steps to it."""
    trainer.model.train()  # TRL's log takes the mode for the question which metrics are meant
    trainer.control.should_log = trainer.control.should_save = True
    trainer.control.should_evaluate = False
    trainer._maybe_log_save_evaluate(
        trainer._tr_loss, None, trainer.model_wrapped, None, trainer.state.epoch, None, time.time()
    )
