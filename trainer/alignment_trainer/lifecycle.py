"""What train.py needs of whoever runs it: a place to resume from, callbacks, and somebody to tell.

train.py stays one straight page because everything about attempts (journal, checkpoints, signals, progress) is behind
this protocol. Outside a pod `NoLifecycle` stands in, so that train.py runs by itself in a test or a notebook.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from transformers import Trainer, TrainerCallback

Phase = Literal["Loading", "Precomputing", "Training", "Evaluating", "Saving", "Merging", "Pushing", "Finished"]


class Lifecycle(Protocol):
    """The life of one attempt, in the order in which train.py calls it. Any method may raise to end the attempt."""

    def phase(self, phase: Phase) -> None:
        """The run enters a phase (docs/contract/progress.schema.json)."""

    def already_trained(self) -> bool:
        """True if an earlier attempt saved the model (marker `trained`): only merge and push remain."""

    def precomputed(self, split: str, done: int, total: int, remaining_seconds: int | None) -> None:
        """In the phase Precomputing: `done` of `total` batches of a split have the reference's log-probabilities."""

    def dataset_report(self, rows: int | None, dropped: int | None, truncated: int | None) -> None:
        """Rows read from the train split, of those the rows whose completion `max_length` would cut off, or cuts short.

        None: not known (a streamed dataset has no length; a packed one no longer has rows; SFT, ORPO and CPO cut while
        they tokenize).
        """

    def callbacks(self, trainer: Trainer) -> list[TrainerCallback]:
        """Callbacks to add to the trainer before it starts."""

    def resume_from(self) -> str | None:
        """Path of the checkpoint to resume from; None starts at step 0."""

    def check(self, trainer: Trainer) -> None:
        """Called when `trainer.train()` has returned: raises if it was stopped, diverged or fell short of its steps."""

    def trained(self, trainer: Trainer) -> None:
        """The model is saved at the top of the output folder: wait for every process, then write the marker."""

    def finished(self, artifacts: dict[str, str]) -> None:
        """All is done. `artifacts`: kind (adapter, model, merged, repository) -> path relative to the output folder."""


class NoLifecycle:
    """Trains from step 0 and tells nobody."""

    def __init__(self) -> None:
        self.trainer: Any = None
        self.rows: int | None = None
        self.dropped: int | None = None
        self.truncated: int | None = None
        self.artifacts: dict[str, str] = {}

    def phase(self, phase: Phase) -> None:
        pass

    def already_trained(self) -> bool:
        return False

    def precomputed(self, split: str, done: int, total: int, remaining_seconds: int | None) -> None:
        pass

    def dataset_report(self, rows: int | None, dropped: int | None, truncated: int | None) -> None:
        self.rows, self.dropped, self.truncated = rows, dropped, truncated

    def callbacks(self, trainer: Trainer) -> list[TrainerCallback]:
        return []

    def resume_from(self) -> str | None:
        return None

    def check(self, trainer: Trainer) -> None:
        self.trainer = trainer

    def trained(self, trainer: Trainer) -> None:
        pass

    def finished(self, artifacts: dict[str, str]) -> None:
        self.artifacts = artifacts
