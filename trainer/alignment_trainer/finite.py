"""Is the training still sound? The true loss and gradient norm of every step, before any filter.

`logging_nan_inf_filter` (on by default) hides a NaN loss from the logs; the run would go on and end with exit 0. The
losses stay on the device until the optimizer step is over: to read one makes the host wait for the GPU.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from .exits import Diverged

MAX_SKIPPED_IN_A_ROW = 50  # the fp16 scaler halves from 65536: sound runs skip far fewer


class FiniteGuard:
    """Watches a transformers Trainer. Call `check_step` after every optimizer step."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer
        self.applied_steps = 0
        self._skipped = 0
        self._loss: torch.Tensor | None = None  # the first non-finite loss since the last step, else the newest
        self._grad_norm: Any = 0.0
        self._wrap()

    def _wrap(self) -> None:
        training_step, get_grad_norm = self.trainer.training_step, self.trainer._get_grad_norm

        def watched_step(*args: Any, **kwargs: Any) -> Any:
            loss = training_step(*args, **kwargs)
            self._loss = first_broken(self._loss, torch.as_tensor(loss).detach().float())
            return loss

        def watched_norm(*args: Any, **kwargs: Any) -> Any:
            self._grad_norm = get_grad_norm(*args, **kwargs)
            return self._grad_norm

        self.trainer.training_step, self.trainer._get_grad_norm = watched_step, watched_norm

    def check_step(self, step: int) -> None:
        """Raises Diverged if step `step` was applied with a NaN or infinite loss or gradient."""
        loss, self._loss = 0.0 if self._loss is None else float(self._loss), None
        norm = float(self._grad_norm) if self._grad_norm is not None else 0.0
        if getattr(self.trainer.accelerator, "optimizer_step_was_skipped", False):  # the fp16 scaler threw it away
            self._skipped += 1
            if self._skipped > MAX_SKIPPED_IN_A_ROW:
                raise diverged(step, f"the fp16 scaler skipped {self._skipped} steps in a row")
            return
        self._skipped = 0
        self.applied_steps += 1
        if not math.isfinite(loss):
            raise diverged(step, f"the loss is {loss}")
        if not math.isfinite(norm):
            raise diverged(step, f"the gradient norm is {norm}")


def first_broken(kept: torch.Tensor | None, loss: torch.Tensor) -> torch.Tensor:
    """`kept` if it is NaN or infinite, else `loss`: scalars on the loss's device, none of them read."""
    return loss if kept is None else torch.where(torch.isfinite(kept), loss, kept)


def diverged(step: int, why: str) -> Diverged:
    return Diverged(
        f"Training diverged at step {step}: {why}.",
        cure="Lower spec.training.learningRate, set spec.training.maxGradNorm, or use bf16 instead of fp16.",
    )
